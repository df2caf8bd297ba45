"""python -m melanoma.runs: the list, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melanoma.terminal import table_lines

Door = Callable[..., Any]
RESULTS = Path(__file__).resolve().parents[2] / "results"
PAIR = ["two/first", "two/second"]


@pytest.fixture
def two(tmp_path: Path) -> None:
    """The demo's results twice; the second at another rate, its PR-AUC another."""
    for name in ("first", "second"):
        shutil.copytree(RESULTS / "demo", tmp_path / "two" / name)
    folder = tmp_path / "two" / "second"
    recipe = (folder / "recipe.yaml").read_text()
    assert "  rate: 0.001\n" in recipe
    (folder / "recipe.yaml").write_text(recipe.replace("  rate: 0.001\n", "  rate: 0.02\n"))
    _change_report(folder, pr_auc={"value": 0.5, "low": 0.4, "high": 0.625})


def _change_report(folder: Path, **metrics: Any) -> None:
    path = folder / "report.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "metrics": {**report["metrics"], **metrics}}))


def test_every_run_is_a_line_of_at_most_a_hundred_characters(call_door: Door) -> None:
    answer = call_door("runs", RESULTS)
    assert answer.code == 0
    head, *lines = answer.out.splitlines()
    assert head.split()[:2] == ["run", "backbone"]
    assert {"AUROC", "macro", "time"} <= set(head.split())
    runs = [line for line in lines if not line.startswith(" ")]  # a run's remarks are indented
    assert len(runs) == len(list(RESULTS.glob("*/report.json")))
    assert all(len(line) <= 100 for line in (head, *lines))
    auroc = json.loads((RESULTS / "demo/report.json").read_text())["metrics"]["auroc"]
    spoken = f"{auroc['value']:.3f} ({auroc['low']:.3f}-{auroc['high']:.3f})"
    assert any("demo" in line and spoken in line and "5/5" in line for line in lines)


def test_the_best_comes_first_when_it_is_asked_for(call_door: Door) -> None:
    found = json.loads(call_door("runs", RESULTS, "--sort", "auroc", "--json").out)
    values = [run["metrics"]["auroc"]["value"] for run in found]
    assert values == sorted(values, reverse=True) and len(values) > 2
    dates = [
        r["created"] for r in json.loads(call_door("runs", RESULTS, "--sort=date", "--json").out)
    ]
    assert dates == sorted(dates)


def test_without_a_folder_weights_and_results_are_looked_in(
    call_door: Door, tmp_path: Path
) -> None:
    assert "no runs" in call_door("runs").out
    shutil.copytree(RESULTS / "demo", tmp_path / "results" / "a")
    shutil.copytree(RESULTS / "demo", tmp_path / "elsewhere" / "b")
    assert "results/a" in call_door("runs").out
    out = call_door("runs", "--weights-root", "elsewhere").out
    assert "elsewhere/b" in out and "results/a" in out


def test_an_unfinished_run_says_where_it_stands(
    call_door: Door, tiny_recipe: Callable[..., Path], phantom_set: Path
) -> None:
    options = ["--config", tiny_recipe(), "--data", phantom_set, "--device", "cpu"]
    assert call_door("train", *options, "--fold", "1").code == 0
    folder = Path("weights/tiny/fold_2")
    shutil.copytree("weights/tiny/fold_1", folder)
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "fold": 2, "finished": False}))
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(lines[0])
    out = call_door("runs").out
    assert "1/3" in out
    assert "fold 2: epoch 1 of 2 done" in out
    assert "fold 0: not trained" in out


def test_a_damaged_folder_is_one_line_and_no_failure(call_door: Door, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(RESULTS / "demo", tmp_path / "w" / name)
    (tmp_path / "w" / "b" / "report.json").write_text("{")
    answer = call_door("runs", "w")
    assert answer.code == 0 and answer.err == ""
    [line] = [line for line in answer.out.splitlines() if "damaged" in line]
    assert line == "w/b: damaged: report.json is not JSON"
    found = json.loads(call_door("runs", "w", "--json").out)
    assert [bool(run["damage"]) for run in found] == [False, True]


@pytest.mark.usefixtures("two")
def test_many_classes_have_columns_of_their_own(call_door: Door) -> None:
    values = {"macro_auroc": 0.75, "balanced_accuracy": 0.5, "auroc": None}
    metrics = {key: {"value": value, "low": None, "high": None} for key, value in values.items()}
    _change_report(Path(PAIR[1]), **metrics)
    head, first, drawn, second, _ = call_door("runs", "two").out.splitlines()
    assert drawn.strip().startswith("trained on drawings")
    assert "macro" in head and "bal.acc" in head
    assert "0.750  0.500" in second and "0.750" not in first


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["absent"], 3, "no folder absent"),
        (["--sort", "size"], 2, "name, date, auroc"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    call_door: Door, arguments: list[Any], code: int, said: str
) -> None:
    answer = call_door("runs", *arguments)
    assert answer.code == code
    [line] = answer.err.splitlines()
    assert line.startswith("error:") and said in line


def test_a_table_is_cut_where_it_may_be_and_paths_at_their_front() -> None:
    rows = [["results/some_long_name", "a backbone", "7"], ["b", "c", "1234567"]]
    assert table_lines(rows, least={0: 4, 1: 4}, paths=(0,), width=100) == [
        "results/some_long_name  a backbone  7",
        "b                       c           1234567",
    ]
    assert table_lines(rows, least={0: 6, 1: 6}, paths=(0,), width=30) == [
        "…ong_name  a backbone  7",
        "b          c           1234567",
    ]
    narrow = table_lines(rows, least={0: 6, 1: 6}, paths=(0,), width=5)
    assert narrow[0] == "…_name  a bac…  7"


def test_versions_are_listed_by_number(tmp_path: Path, call_door: Door) -> None:
    for version in (10, 2, 9, 1):
        shutil.copytree(RESULTS / "demo", tmp_path / "many" / f"demo_v{version}")
    listed = json.loads(call_door("runs", "many", "--json").out)
    names = [Path(run["folder"]).name for run in listed]
    assert names == ["demo_v1", "demo_v2", "demo_v9", "demo_v10"]
    # Equal AUROCs: by their numbers too.
    listed = json.loads(call_door("runs", "many", "--json", "--sort", "auroc").out)
    assert [Path(run["folder"]).name for run in listed] == names
