"""melanoma.evaluate: the options that go together, and what is printed of one or two reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_bundle import TinyRun

from melanoma import evaluate
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.training.run.run_folder import read_recipe

Door = Callable[..., Any]
REFUSED: dict[str, tuple[str, ...]] = {
    "--attach": ("--attach",),
    "--bfloat16": ("--external", "demo", "--bfloat16"),
    "--left-out": ("--external", "demo", "--left-out", "run"),
    "--pretrained": ("--external", "demo", "--pretrained", "imagenet"),
    "--prevalence 0": ("--prevalence", "0"),
    "--prevalence 1.5": ("--prevalence", "1.5"),
    "--set: not with --external": ("--external", "demo", "--set", "evaluation.resamples=107"),
    "--recalibrate": ("--recalibrate", "copy"),
    "--prevalence: not with --external": ("--external", "demo", "--prevalence", "0.1"),
}


@pytest.mark.parametrize("said", REFUSED)
def test_options_that_do_not_go_together_are_refused_before_anything_is_read(
    said: str, call_door: Door, tmp_path: Path
) -> None:
    done = call_door("evaluate", *REFUSED[said], "--weights", "absent")
    assert done.code == 2
    assert said in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def finished(trained: TinyRun, tmp_path: Path) -> tuple[str | Path, ...]:
    """The options of a run that was trained, its folder a copy without report or bundle."""
    base = trained.folder.parent
    shutil.copytree(trained.folder, tmp_path / "run")
    for name in ("report.json", "manifest.json"):
        (tmp_path / "run" / name).unlink()
    return (
        *("--config", tmp_path / "run/recipe.yaml", "--data", base / "data"),
        *("--arrays", base / "arrays", "--folds", base / "folds.csv", "--weights", "run"),
    )


def test_the_report_that_is_printed_is_the_one_that_is_sealed_for_the_place_that_was_named(
    finished: tuple[str | Path, ...], call_door: Door, tmp_path: Path
) -> None:
    done = call_door("evaluate", *finished, "--prevalence", "0.02", "--json")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert json.loads(done.out) == report
    bundle = load_bundle(tmp_path / "run")
    assert bundle.prevalence == 0.02
    assert bundle.report.metrics["auroc"].value == report["metrics"]["auroc"]["value"]
    assert "wrote report.html, report.json and the scores in run" in done.err


def test_a_run_in_weights_is_evaluated_by_its_own_recipe_unless_another_is_named(
    finished: tuple[str | Path, ...], call_door: Door, tmp_path: Path
) -> None:
    """The default one has another fold file, other risks, and another study."""
    run, given = tmp_path / "run", finished[2:]
    asked = load_recipe(run / "recipe.yaml")
    for sealed in (True, False):  # before the first report only the folds have a recipe
        if not sealed:
            (run / "recipe.yaml").unlink()
        done = call_door("evaluate", *given, "--set", "evaluation.resamples=107")
        assert done.code == 0, done.err
        assert "note: reporting what was trained" not in done.err
        expected = asked.model_copy(
            update={"evaluation": asked.evaluation.model_copy(update={"resamples": 107})}
        )
        assert read_recipe(run) == expected
    done = call_door("evaluate", *given, "--config", "siim_seresnext50")
    assert "note: reporting what was trained, not what the command line says" in done.err


def test_a_run_that_was_trained_anew_in_its_folder_is_evaluated_by_what_trained_it(
    finished: tuple[str | Path, ...], call_door: Door, tmp_path: Path
) -> None:
    """The recipe of the report from before has the other's fold file, image type and risks."""
    run, given = tmp_path / "run", finished[2:]
    before = read_recipe(run)
    trained = read_recipe(run / "fold_0")
    longer = before.training.model_copy(update={"epochs": before.training.epochs + 1})
    other = before.model_copy(update={"image_type": "clinical", "training": longer})
    (run / "recipe.yaml").write_text(other.to_yaml())
    done = call_door("evaluate", *given)
    assert done.code == 0, done.err
    assert "note: reporting what was trained" not in done.err
    assert read_recipe(run) == trained


def test_a_leak_of_the_folds_and_the_test_part_is_said_once(
    trained: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    content = load_bundle(trained.folder).report
    leaking = content.model_copy(update={"warnings": ("LEAK: 3 patients", "few images")})
    part = leaking.model_copy(update={"warnings": ("LEAK: 3 patients", "another")})
    reports: Any = [SimpleNamespace(content=one) for one in (leaking, part)]
    evaluate._answer(*reports, json=False)
    lines = capsys.readouterr().out.splitlines()
    assert sum("LEAK: 3 patients" in line for line in lines) == 1
    assert sum("another" in line for line in lines) == 1
