"""melanoma.sweep: one command searches and, broken off, goes on; it ends with what to train."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_backbone import make_tiny_backbone

from melanoma.cluster.trials import Sweep
from melanoma.errors import InterruptedRun
from melanoma.models.backbones import BACKBONES

SPACE = "trials: 2\nspace: {optimizer.rate: {low: 1.0e-4, high: 1.0e-2, log: true}}\n"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "tiny", make_tiny_backbone(norm=False))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def recipe(tiny_recipe: Callable[..., Path]) -> Path:
    return tiny_recipe(model={"backbone": "tiny"}, training={"epochs": 1})


def test_a_broken_sweep_goes_on_and_says_what_an_unbroken_one_says(
    recipe: Path,
    phantom_set: Path,
    prepared: Path,
    tmp_path: Path,
    call_door: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    options = [
        *("--config", recipe, "--data", phantom_set, "--arrays", prepared / "arrays"),
        *("--folds", prepared / "folds.csv", "--space", tmp_path / "space.yaml", "--outer", "0"),
    ]
    whole = call_door("sweep", *options, "--out", tmp_path / "whole", "--json")
    assert whole.code == 0, whole.err
    fit, calls = Sweep._fit, iter(range(100))

    def breaking(self: Sweep, *arguments: Any) -> Any:
        if next(calls) in (1, 4, 9):
            raise InterruptedRun("enough", signal_number=15)
        return fit(self, *arguments)

    monkeypatch.setattr(Sweep, "_fit", breaking)
    for _ in range(3):
        assert call_door("sweep", *options, "--out", tmp_path / "broken").code == 143
    ended = call_door("sweep", *options, "--out", tmp_path / "broken")
    assert ended.code == 0, ended.err
    results = [
        json.loads((tmp_path / name / "sweep.json").read_text()) for name in ("whole", "broken")
    ]
    assert results[0] == results[1]
    result = results[0]
    assert result["nested"] == result["outer"][0]["last"]
    assert f"nested estimate: auroc {result['nested']:.4f} (fold 0" in ended.out
    assert "python -m melanoma.train" in ended.out.splitlines()[-1]
    assert "--set optimizer.rate=" in ended.out.splitlines()[-1]
    (tmp_path / "space.yaml").write_text(SPACE.replace("1.0e-4", "1.0e-5"))
    other = call_door("sweep", *options, "--out", tmp_path / "broken")
    assert other.code == 2
    assert "holds a sweep of another space" in other.err


def test_without_optuna_one_line_says_what_to_install(
    recipe: Path, tmp_path: Path, call_door: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.setitem(sys.modules, "optuna", None)
    ended = call_door("sweep", "--config", recipe, "--space", tmp_path / "space.yaml")
    assert ended.code == 2
    assert "pip install 'melanoma[sweep]'" in ended.err


def test_settings_without_an_estimate_are_printed_as_such(
    recipe: Path,
    phantom_set: Path,
    prepared: Path,
    tmp_path: Path,
    call_door: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heads = "model.head: [{hidden: [4, 4]}]"
    (tmp_path / "space.yaml").write_text(SPACE.replace("space: {", f"space: {{{heads}, "))
    scored: list[str] = []

    def score(self: Sweep, search: str, settings: Any, report: Any, watchers: Any) -> float:
        scored.append(search)
        report(1, 0.5)
        return 0.5 + settings["optimizer.rate"]

    monkeypatch.setattr(Sweep, "score", score)
    command = (
        *("sweep", "--config", recipe, "--data", phantom_set, "--arrays", prepared / "arrays"),
        *("--folds", prepared / "folds.csv", "--space", "space.yaml", "--trials", "3"),
        *("--outer", "none", "--json", "--set", "augment=[]", "--seed", "4"),
    )
    done = call_door(*command)
    assert done.code == 0, done.err
    assert scored == ["all"] * 3  # --trials, in the place of the space's own number
    assert (tmp_path / "sweeps/tiny_space/sweep.json").is_file()
    *lines, last = done.out[: done.out.index("\n{\n")].splitlines()
    result = json.loads(done.out[done.out.index("\n{\n") :])
    assert result["nested"] is None
    assert not any("nested estimate" in line for line in lines)
    rate = result["settings"]["optimizer.rate"]
    given = "--set 'augment=[]' --seed 4"  # without them another recipe is trained
    found = f"""--set 'model.head={{"hidden": [4, 4]}}' --set optimizer.rate={rate}"""
    places = f"--data {phantom_set} --arrays {prepared / 'arrays'} --folds {prepared / 'folds.csv'}"
    assert last.endswith(f"--config {recipe} {places} --fold all {given} {found}")
    seeds = ("--set", "seeds=[1,2]", "--out", tmp_path / "seeds")
    several = call_door(*command, *seeds)
    assert several.code == 0 and "--seed" not in several.out  # which train refuses beside them
    assert result["promised"] == 0.5 + rate
