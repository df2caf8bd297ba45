"""What README promises exists: commands, their options, make targets, linked files."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from sklearn.metrics import roc_auc_score

from api.responses import PredictAnswer
from benchmarks import cost_page, shipped, speed_table
from melanoma import Scorer, load_bundle

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SAMPLE = ROOT / "api/page/samples/phantom_5.jpg"
RESULTS = (ROOT / "results/README.md").read_text()
COMING = (ROOT / "docs/coming-from.md").read_text()
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "results/README.md",
    "folds/README.md",
    "docs/coming-from.md",
)
# A command may go on after a backslash at the line's end.
COMMANDS = re.findall(r"python -m (melanoma\.\w+)([^\n]*(?:\\\n[^\n]*)*)", README + COMING)


@pytest.mark.parametrize(("module", "line"), COMMANDS)
def test_every_command_in_the_readme_has_the_options_it_is_given(module: str, line: str) -> None:
    door = typer.main.get_command(importlib.import_module(module).app)
    known = {name for parameter in door.params for name in parameter.opts}
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line.partition("#")[0]))
    assert given <= known


@pytest.mark.parametrize(
    "page",
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / "configs").glob("*.yaml"), ROOT / "README.md"],
    ids=lambda path: path.name,
)
def test_each_external_evaluation_names_the_arrays_that_it_means(page: Path) -> None:
    """`--arrays` of an external test are the training's: otherwise no photograph is compared."""
    for line in re.findall(r"melanoma\.evaluate[^\n]*--external [^\n]*", page.read_text()):
        assert " --arrays" not in line


def test_every_make_target_in_the_readme_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "test", "setup"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


@pytest.mark.parametrize(
    ("target", "bundles"),
    [
        ("serve", ["weights/dermoscopy_mobilenet"]),
        ("demo", ["weights/dermoscopy_mobilenet", "weights/demo"]),
    ],
)
def test_the_model_that_comes_along_is_served_first(target: str, bundles: list[str]) -> None:
    # Without what the outer make hands on: these are told, not run.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "WEIGHTS"}
    asked = ["make", "-n", "-C", str(ROOT), target]
    told = subprocess.run(asked, env=inherited, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in told.splitlines() if "melanoma.serve" in line]
    assert re.findall(r"--weights (\S+)", line) == bundles


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_is_there(page: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text())
    folder = (ROOT / page).parent
    assert [link for link in links if not (folder / link).exists()] == []


def test_the_readme_s_answer_has_every_field_of_an_answer_and_no_other() -> None:
    schema = PredictAnswer.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    known = {name for part in parts for name in part.get("properties", {})}
    example = README.partition('    {"success": true')[2].partition("\n\n")[0]
    shown = {"success", *re.findall(r'"(\w+)":', example)}
    assert set(PredictAnswer.model_fields) <= shown
    assert shown - {"melanoma", "benign", "malignant", "premalignant"} <= known


def test_the_readme_s_answer_is_that_of_the_model_that_ships() -> None:
    answer = Scorer(load_bundle(shipped.WEIGHTS)).score(SAMPLE.read_bytes()).as_dict()
    text = README.partition('    {"success": true')[2].partition("\n\n")[0]
    text = re.sub(r": \{\.\.\.\}|: \[\.\.\.\]|: \.\.\.", ": null", f'{{"success": true{text}')
    stated = json.loads(text.replace(", ...}", "}"))
    beside = {"success", "explanation", "model", "request_id", "milliseconds", "disclaimer"}
    assert stated.keys() - answer.keys() <= beside
    require_stated({key: stated[key] for key in stated.keys() - beside}, answer)


def require_stated(stated: Any, answer: Any, place: str = "answer") -> None:
    """Whatever is stated, null aside, is in the answer: numbers as they are rounded there."""
    if isinstance(stated, dict):
        for key, value in stated.items():
            require_stated(value, answer[key], f"{place}.{key}")
    elif isinstance(stated, list):
        assert len(stated) == len(answer), place
        for number, value in enumerate(stated):
            require_stated(value, answer[number], f"{place}.{number}")
    elif isinstance(stated, float):
        digits = len(str(stated).partition(".")[2])
        # Another processor may round the other way.
        assert answer == pytest.approx(stated, abs=0.6 * 10**-digits), place
    elif stated is not None:
        assert stated == answer, place


def test_the_table_of_speed_is_that_of_the_results() -> None:
    assert speed_table.with_table(README) == README, "run python -m benchmarks.speed_table"


def figures_of(run: str) -> dict[str, str]:
    """What its report says, as a row says it: the words before a figure, and the figure."""
    metrics = json.loads((ROOT / "results" / run / "report.json").read_text())["metrics"]
    names = {"AUROC": "auroc", "macro": "macro_auroc", "balanced accuracy": "balanced_accuracy"}
    return {
        words: f"{metrics[name]['value']:.3f}" for words, name in names.items() if name in metrics
    }


def said_in(row: str) -> dict[str, str]:
    """The figures of a table's row, each the first behind its words."""
    plain = row.replace("*", "").replace("macro AUROC", "macro")
    found = {
        "AUROC": re.search(r"(?:\| |AUROC )(0\.\d{3}) \(", plain),
        "macro": re.search(r"macro (0\.\d+)", plain),
        "balanced accuracy": re.search(r"balanced accuracy (0\.\d+)", plain),
    }
    return {words: one[1] for words, one in found.items() if one}


ROWS = re.findall(r"^(\| \[[^]]+\]\((\w+)/\).*)$", RESULTS, re.MULTILINE)


@pytest.mark.parametrize(("row", "run"), ROWS, ids=[run for _, run in ROWS])
def test_a_run_s_row_says_what_its_report_says(row: str, run: str) -> None:
    said = said_in(row)
    assert "AUROC" in said
    assert said.items() <= figures_of(run).items()


@pytest.mark.parametrize("run", ["skin22_on_ham10000_folders", "dermnet_on_ham10000_folders"])
def test_a_row_s_difference_is_that_of_the_aurocs_beside_it(run: str) -> None:
    (row,) = [row for row, name in ROWS if name == f"{run}_lite2"]
    with_it, without = (
        json.loads((ROOT / "results" / name / "report.json").read_text())["metrics"]["auroc"]
        for name in (f"{run}_lite2", run)
    )
    assert f"less MobileNetV2 {with_it['value'] - without['value']:.3f} (" in row


def test_the_readme_says_of_the_shipped_model_what_its_report_says() -> None:
    (row,) = [line for line in README.splitlines() if line.startswith("| the model that ships:")]
    assert said_in(row) == figures_of(shipped.NAME)


@pytest.mark.parametrize(
    "folder", sorted((shipped.RESULTS / "external").glob("without_*")), ids=lambda path: path.name
)
def test_what_is_said_of_elsewhere_is_what_its_report_says(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    auroc = report["metrics"]["auroc"]
    said = "{value:.3f}{} ({low:.3f} to {high:.3f})"
    assert said.format("", **auroc) in README
    (row,) = [line for line in RESULTS.splitlines() if f"external/{folder.name}/)" in line]
    assert said.format("**", **auroc) in row
    sealed = json.loads((shipped.WEIGHTS / "report.json").read_text())["external_results"]
    assert auroc in [one["auroc"] for one in sealed if one["without"]]


BEFORE = json.loads((shipped.RESULTS / "before.json").read_text())


@pytest.mark.parametrize(
    ("place", "difference"),
    [
        (f"]({shipped.NAME}/)", BEFORE["at_home"]["metrics"]["auroc"]["difference"]),
        *(
            (f"/{part}/{name}{suffix})", pair["difference"])
            for part, compared, suffix in (
                ("sources", BEFORE["by_fifths"], ".csv.gz"),
                ("external", BEFORE["without_its_like"], "/"),
            )
            for name, pair in compared.items()
        ),
    ],
)
def test_a_row_says_what_the_model_gains_on_the_one_before(
    place: str, difference: dict[str, float]
) -> None:
    (row,) = [line for line in RESULTS.splitlines() if place in line]
    said = "less the model before {value:.3f} ({low:.3f} to {high:.3f})"
    assert said.format(**difference) in row


@pytest.mark.parametrize("source", ["siim2020", "isic2017_train"])
def test_what_is_said_of_a_source_that_was_held_out_is_what_its_scores_give(source: str) -> None:
    report = json.loads((shipped.RESULTS / "report.json").read_text())
    (line,) = [one for one in report["sources"] if one["name"] == source]
    assert "{value:.3f} ({low:.3f} to {high:.3f})".format(**line["held_out"]["auroc"]) in README
    (row,) = [one for one in RESULTS.splitlines() if f"sources/{source}.csv.gz)" in one]
    for name in ("auroc", "sensitivity", "specificity"):
        said = "{value:.3f}{} ({low:.3f} to {high:.3f})"
        assert said.format("**" if name == "auroc" else "", **line["held_out"][name]) in row
    scores = pd.read_csv(shipped.RESULTS / "sources" / f"{source}.csv.gz")
    assert len(scores) == line["held_out"]["images"]
    again = roc_auc_score(scores["melanoma"], scores["prob"])
    assert again == pytest.approx(line["held_out"]["auroc"]["value"], abs=1e-5)
    flagged = scores["prob"] >= line["held_out"]["threshold"]
    caught = flagged[scores["melanoma"] == 1].mean()
    assert caught == pytest.approx(line["held_out"]["sensitivity"]["value"], abs=1e-3)


def test_the_page_of_costs_is_of_the_measured_points() -> None:
    text = cost_page.PAGE.read_text()
    assert cost_page.with_tables(text) == text, "run python -m benchmarks.cost_page"
