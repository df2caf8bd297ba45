"""Each figure of the table of runs in results/README.md is one of the folder that its row names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from melanoma.workflows.compare import compare_runs_in

RESULTS = Path(__file__).resolve().parents[1] / "results"
BEFORE = "dermoscopy_mobilenet/before.json"
LINK = re.compile(r"\]\(([^)]+)\)")
FIGURE = re.compile(r"(-?\d\.\d{3})\*{0,2} \((-?\d\.\d{3}) to (-?\d\.\d{3})")
OTHER_RUN = re.compile(r"less (the run above|MobileNetV2|`\w+`) (-?[\d.]+ \([^)]*\))")
COUNT = re.compile(r"([\d,]+) (?:images|melanomas)\b")
NO_RUN = {"benchmarks", "demo"}

Triple = tuple[str, ...]


class Row(NamedTuple):
    """A row's cells, what its first one links to, and the folder of the row above."""

    link: str
    data: str
    auroc: str
    pr_auc: str
    rest: str
    above: str

    @property
    def text(self) -> str:
        return " | ".join((self.data, self.auroc, self.pr_auc, self.rest))

    @property
    def folder(self) -> Path:
        place = RESULTS / self.link
        return place if place.is_dir() else place.parents[1]


def table_rows() -> list[Row]:
    lines = (RESULTS / "README.md").read_text().splitlines()
    start = lines.index("| run | data, folds | AUROC | PR-AUC | time | date, commit |") + 2
    rows: list[Row] = []
    for line in lines[start : lines.index("", start)]:
        first, data, auroc, pr_auc, *rest = (cell.strip() for cell in line.strip("| ").split(" | "))
        (link,) = LINK.findall(first)
        above = rows[-1].link if rows else ""
        rows.append(Row(link, data, auroc, pr_auc, " | ".join(rest), above))
    return rows


ROWS = {row.link: row for row in table_rows()}


def values_in(value: Any) -> Iterator[Any]:
    """Every part of a JSON value."""
    yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, dict | list):
            yield from values_in(part)
        else:
            yield part


def as_text(measured: dict[str, Any]) -> Triple:
    return tuple(f"{measured[key]:.3f}" for key in ("value", "low", "high"))


@cache
def known_to(link: str) -> tuple[frozenset[Triple], frozenset[int]]:
    """The figures with an interval, and the whole numbers, of the JSON files that a row names."""
    row = ROWS[link]
    files = [*row.folder.glob("*.json"), *row.folder.glob("test/*.json")]
    files += [RESULTS / name for name in LINK.findall(row.text) if name.endswith(".json")]
    files += [RESULTS / BEFORE] if "less the model before" in row.text else []
    parts = [part for file in files for part in values_in(json.loads(file.read_text()))]
    figures = {
        as_text(part)
        for part in parts
        if isinstance(part, dict) and all(part.get(k) is not None for k in ("value", "low", "high"))
    }
    return frozenset(figures), frozenset(part for part in parts if isinstance(part, int))


@pytest.mark.parametrize("link", ROWS)
def test_a_row_s_figures_are_those_of_its_folder(link: str) -> None:
    row = ROWS[link]
    figures, counts = known_to(link)
    told = FIGURE.findall(OTHER_RUN.sub("", row.text))
    assert told
    assert [found for found in told if found not in figures] == []
    for number in COUNT.findall(" ".join((row.data, row.auroc, row.pr_auc))):
        assert int(number.replace(",", "")) in counts, number


@pytest.mark.parametrize("link", ROWS)
def test_a_row_begins_with_its_auroc_and_its_pr_auc(link: str) -> None:
    row = ROWS[link]
    report = json.loads((row.folder / "report.json").read_text())
    metrics = report["metrics"]
    if "/sources/" in link:
        (source,) = [one for one in report["sources"] if link.endswith(f"/{one['name']}.csv.gz")]
        metrics = source["held_out"]
    assert FIGURE.findall(row.auroc)[0] == as_text(metrics["auroc"])
    pr_auc = FIGURE.findall(row.pr_auc)
    if pr_auc:
        assert pr_auc[0] == as_text(metrics["pr_auc"])


COMPARED = [(link, *found) for link, row in ROWS.items() for found in OTHER_RUN.findall(row.text)]


@pytest.mark.parametrize(("link", "other", "difference"), COMPARED)
def test_a_row_s_difference_from_another_run_is_what_compare_says(
    link: str, other: str, difference: str
) -> None:
    named = {"the run above": ROWS[link].above, "MobileNetV2": link.removesuffix("_lite2/")}
    second = RESULTS / named.get(other, other.strip("`"))
    compared = compare_runs_in(ROWS[link].folder, second).metrics["auroc"].difference
    assert FIGURE.findall(difference) == [as_text(compared.model_dump())]


def test_each_run_in_results_is_told_of() -> None:
    text = (RESULTS / "README.md").read_text()
    runs = [path.name for path in RESULTS.iterdir() if path.is_dir() and path.name not in NO_RUN]
    assert [name for name in runs if f"]({name}/)" not in text] == []


def test_what_varied_colors_bring_and_cost_is_what_was_measured() -> None:
    found = json.loads((RESULTS / "benchmarks" / "varied.json").read_text())["variants"]
    told = " ".join((RESULTS / "README.md").read_text().split())
    for variant, name, words in (
        ("without_isic2017_train", "isic2017_train", "left out, better by {value:.3f}"),
        ("without_isic2017_train", "held out at home", "held-out fold worse by {value:.3f}"),
        ("without_siim2020_test", "siim2020", "left out, worse by {value:.3f}"),
        ("without_siim2020_test", "held out at home", "HAM10000's by {value:.3f}"),
    ):
        less = found[variant]["fold_0"][name]["0.5"]["difference"]
        if "better" not in words:
            less = {"value": -less["value"], "low": -less["high"], "high": -less["low"]}
        assert f"{words} ({{low:.3f}} to {{high:.3f}})".format(**less) in told, name
