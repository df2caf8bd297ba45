"""Run folders, finished, half trained, evaluated and damaged, as a survey tells them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import DataError, InterruptedRun
from melanoma.training.run.survey import find_runs, is_run, summarize_run
from melanoma.training.watchers import Watchers

RESULTS = Path(__file__).resolve().parents[3] / "results"


@pytest.fixture
def half_trained(fit: Any, recipe_of: Any, tmp_path: Path) -> Path:
    """Fold 0 finished, fold 1 stopped after its first epoch of two."""

    def stop(_: Any) -> None:
        raise InterruptedRun("stop", signal_number=2)

    folder = tmp_path / "weights" / "test"
    fit(recipe_of(), folder / "fold_0")
    with pytest.raises(InterruptedRun):
        fit(recipe_of(), folder / "fold_1", fold=1, watchers=Watchers(epoch=stop))
    return folder


def test_a_half_trained_run_says_where_it_stands(
    half_trained: Path, recipe_of: Callable[..., Any]
) -> None:
    found = summarize_run(half_trained)
    assert not found.damage and not found.evaluated
    assert (found.finished, found.folds_expected) == (1, 2)
    whole, half = found.folds
    assert (whole.finished, whole.epoch, half.finished, half.epoch, half.planned) == (
        True,
        2,
        False,
        1,
        2,
    )
    lines = (half_trained / "fold_0" / "metrics.jsonl").read_text().splitlines()
    assert whole.metric == json.loads(lines[-1])["auroc"]  # the recipe keeps the last
    assert found.recipe_digest == recipe_of().digest()
    assert found.recipe["optimizer"]["rate"] == 0.003
    assert found.created


def test_the_kept_epoch_s_metric_is_told(fit: Any, recipe_of: Any, tmp_path: Path) -> None:
    run = fit(recipe_of(selection={"keep": "best"}), tmp_path / "run" / "fold_0")
    history = [json.loads(line) for line in (run.folder / "metrics.jsonl").open()]
    (run.folder / "metrics.jsonl").write_text(
        "".join(json.dumps({**r, "auroc": r["epoch"] / 10}) + "\n" for r in history)
    )
    facts = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**facts, "best_epoch": 1}))
    [fold] = summarize_run(tmp_path / "run").folds
    assert (fold.metric, fold.epoch) == (0.1, 2)


def test_the_committed_reports_are_read() -> None:
    found = {run.folder.name: run for run in map(summarize_run, find_runs([RESULTS]))}
    assert {"demo", "siim_mobilenet", "siim_mobilenet_jitter"} <= set(found)
    for name, run in found.items():
        report = json.loads((RESULTS / name / "report.json").read_text())
        assert not run.damage
        assert run.value("auroc") == report["metrics"]["auroc"]["value"]
        assert run.folds_digest == report["digests"]["folds_digest"]
        assert run.seconds == pytest.approx(sum(fold["seconds"] for fold in report["folds"]))


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    shutil.copytree(RESULTS / "demo", tmp_path / "demo")
    return tmp_path / "demo"


def test_a_report_of_the_second_format_is_read(evaluated: Path) -> None:
    path = evaluated / "report.json"
    report = json.loads(path.read_text())
    report["format"] = 2
    report["metrics"] = {"macro_auroc": {"value": 0.9, "low": None, "high": None}}
    report["folds"][0]["auroc"] = None
    report["summary"], report["external"] = "words", None
    path.write_text(json.dumps(report))
    found = summarize_run(evaluated)
    assert not found.damage
    assert found.value("macro_auroc") == 0.9 and found.value("auroc") is None


def test_a_leak_is_told(evaluated: Path, call_door: Callable[..., Any]) -> None:
    path = evaluated / "report.json"
    report = json.loads(path.read_text())
    assert not summarize_run(evaluated).leaks
    path.write_text(json.dumps({**report, "warnings": ["LEAK: a patient in two folds"]}))
    assert summarize_run(evaluated).leaks
    listed = call_door("runs", evaluated)
    assert "  LEAK: what was held out had been trained on; the report says which" in listed.out


def test_a_recipe_of_another_version_is_kept_as_it_stands(evaluated: Path) -> None:
    path = evaluated / "recipe.yaml"
    path.write_text(path.read_text() + "later: {key: 1}\n")
    found = summarize_run(evaluated)
    assert not found.damage and found.recipe["later"] == {"key": 1}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("report.json", '{"format": 1, "rec', "report.json is not JSON"),
        ("report.json", "[]", "report.json holds no record"),
        ("report.json", "{}", "KeyError"),
        ("report.json", '{"digests": 3}', "not what a run writes"),
        ("recipe.yaml", "a: [1", "recipe.yaml is not YAML"),
        ("recipe.yaml", "words", "recipe.yaml holds no recipe"),
        ("recipe.yaml", None, "no recipe.yaml"),
    ],
)
def test_damage_is_a_sentence(evaluated: Path, name: str, text: str | None, said: str) -> None:
    (evaluated / name).unlink()
    if text is not None:
        (evaluated / name).write_text(text)
    assert said in summarize_run(evaluated).damage


@pytest.mark.parametrize(
    ("name", "data"),
    [("run.json", b"{"), ("metrics.jsonl", b'{"epoch": 1'), ("metrics.jsonl", b"\xff\xfe")],
)
def test_a_damaged_fold_damages_its_run(half_trained: Path, name: str, data: bytes) -> None:
    (half_trained / "fold_0" / name).write_bytes(data)
    assert f"fold_0/{name}" in summarize_run(half_trained).damage


def test_runs_are_found_below_and_a_fold_or_an_external_report_is_none(
    half_trained: Path, evaluated: Path
) -> None:
    external = half_trained / "external" / "ham"
    external.mkdir(parents=True)
    (external / "report.json").write_text("{}")
    root = half_trained.parents[1]
    assert find_runs([root]) == [evaluated, half_trained]
    assert find_runs([half_trained, root]) == [half_trained, evaluated]
    assert not is_run(half_trained / "fold_0")
    with pytest.raises(DataError, match="no folder"):
        find_runs([root / "absent"])
