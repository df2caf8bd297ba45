"""python -m melanoma.runs: the list, the comparison, the pictures, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

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
    both = call_door("runs", "w/a", "w/b")
    assert both.code == 0 and "damaged" in both.out and "nothing to compare" in both.out


@pytest.mark.usefixtures("two")
def test_two_runs_are_compared_field_by_field(call_door: Door) -> None:
    answer = call_door("runs", *PAIR)
    assert answer.code == 0
    assert "  optimizer.rate: 0.001 -> 0.02\n" in answer.out
    assert "schedule" not in answer.out  # in which the two recipes do not differ
    assert "python -m melanoma.compare two/first two/second" in answer.out
    [line] = [line for line in answer.out.splitlines() if line.startswith("pr_auc")]
    assert line.endswith("0.500 (0.400-0.625)") and line.count("(") == 2


@pytest.mark.usefixtures("two")
def test_other_folds_are_said_to_allow_no_paired_test(call_door: Door) -> None:
    path = Path("two/second/report.json")
    report = json.loads(path.read_text())
    report["digests"]["folds_digest"] = "another"
    path.write_text(json.dumps(report))
    answer = call_door("runs", *PAIR)
    assert "melanoma.compare" not in answer.out
    assert "not held out by the same folds" in answer.out
    assert json.loads(call_door("runs", *PAIR, "--json").out)["same_folds"] is False


@pytest.mark.usefixtures("two")
def test_the_comparison_for_machines_has_runs_and_differences(call_door: Door) -> None:
    found = json.loads(call_door("runs", *PAIR, PAIR[0], "--json").out)
    assert [run["folder"] for run in found["runs"]] == PAIR
    assert found["same_folds"] is True
    assert found["differences"] == [
        {"from": PAIR[0], "to": PAIR[1], "fields": ["optimizer.rate: 0.001 -> 0.02"]}
    ]


@pytest.mark.usefixtures("two")
def test_many_classes_have_columns_of_their_own(call_door: Door) -> None:
    values = {"macro_auroc": 0.75, "balanced_accuracy": 0.5, "auroc": None}
    metrics = {key: {"value": value, "low": None, "high": None} for key, value in values.items()}
    _change_report(Path(PAIR[1]), **metrics)
    head, first, second = call_door("runs", "two").out.splitlines()
    assert "macro" in head and "bal.acc" in head
    assert "0.750  0.500" in second and "0.750" not in first


@pytest.mark.usefixtures("two")
def test_the_run_itself_alone_is_listed_not_compared(call_door: Door) -> None:
    out = call_door("runs", PAIR[0]).out
    assert len(out.splitlines()) == 2 and "compare" not in out


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["absent"], 3, "no folder absent"),
        (["--sort", "size"], 2, "name, date, auroc"),
        ([RESULTS, "--pictures", "out"], 2, "name one run's folder"),
        ([*PAIR, "--pictures", "out"], 2, "name one run's folder"),
        ([PAIR[0], "--pictures", "out"], 3, "no array of 64 px in arrays"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    call_door: Door, arguments: list[Any], code: int, said: str
) -> None:
    answer = call_door("runs", *arguments)
    assert answer.code == code
    [line] = answer.err.splitlines()
    assert line.startswith("error:") and said in line
    assert not Path("out").exists()


def test_a_run_s_mistakes_are_drawn_on_request(
    call_door: Door, tiny_recipe: Callable[..., Path], phantom_set: Path
) -> None:
    config = tiny_recipe()
    assert call_door("prepare", "--config", config, "--data", phantom_set).code == 0
    names = pd.read_csv(phantom_set / "train.csv")
    rng = np.random.default_rng(0)
    folder = Path("results/tiny")
    shutil.copytree(RESULTS / "demo", folder)
    recipe = yaml.safe_load(config.read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    table = {
        "image_name": names["image_name"],
        "patient_id": names["patient_id"],
        "group": names["patient_id"],
        "target": names["target"],
        "fold": 0,
        "prob": rng.random(len(names)),
        "prob_crossfit": 0.5,
    }
    pd.DataFrame(table).to_csv(folder / "oof.csv", index=False)
    answer = call_door("runs", folder, "--pictures", "out")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "confusion.png",
        "largest_losses.png",
        "mistakes_confident.png",
        "mistakes_unsure.png",
        "wrong_confidence.png",
    ]
    assert "license" in answer.err


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
