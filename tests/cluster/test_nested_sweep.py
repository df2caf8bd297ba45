"""A sweep: no search sees its outer fold, a broken one goes on, and the estimate stands beside."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_backbone import make_tiny_backbone

from melanoma.cluster.nested_sweep import outer_folds, trainings
from melanoma.cluster.trials import ALL, Sweep
from melanoma.errors import FoldError, InterruptedRun, RecipeError
from melanoma.models.backbones import BACKBONES
from melanoma.recipe.overrides import load_recipe
from melanoma.training.watchers import Watchers
from melanoma.workflows.train import select_folds

pytestmark = pytest.mark.slow
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


@pytest.fixture
def sweep(recipe: Path, phantom_set: Path, prepared: Path, tmp_path: Path) -> Sweep:
    parts = select_folds(
        load_recipe(recipe),
        data=phantom_set,
        arrays=prepared / "arrays",
        folds=prepared / "folds.csv",
    )
    cpu = torch.device("cpu")
    return Sweep(recipe, (), None, tuple(parts), tmp_path / "out", cpu, prepared / "arrays")


def test_a_search_without_a_fold_never_sees_its_images(sweep: Sweep) -> None:
    assert sweep.inner(ALL) == list(sweep.parts)
    for outer in sweep.parts:
        inner = sweep.inner(str(outer.fold))
        assert [part.fold for part in inner] == [f for f in range(3) if f != outer.fold]
        for part in inner:
            seen = np.concatenate([part.training, part.validation])
            assert not np.isin(seen, outer.validation).any()
            assert len(np.unique(seen)) == len(seen)
            everything = len(outer.training)
            assert len(seen) == everything


def test_a_fold_that_leaves_a_class_less_is_refused(sweep: Sweep) -> None:
    first, second, _ = sweep.parts
    outer = replace(first, validation=second.training)
    lacking = replace(sweep, parts=(outer, second))
    with pytest.raises(FoldError, match="without fold 0, fold 1 has a class less"):
        lacking.inner("0")


def test_the_same_settings_are_trained_once(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, float]] = []

    def report(folds: int, value: float) -> bool:
        told.append((folds, value))
        return False

    value = sweep.score(ALL, {"optimizer.rate": 0.001}, report, Watchers())
    assert [folds for folds, _ in told] == [1, 2, 3]
    assert told[-1][1] == value
    assert not list(sweep.folder.rglob("model.safetensors"))
    assert sweep.tried(ALL) == [({"optimizer.rate": 0.001}, value)]
    monkeypatch.setattr(Sweep, "_fit", None)
    assert sweep.score(ALL, {"optimizer.rate": 0.001}, report, Watchers()) == value
    assert told[3:] == told[:3]
    # Given up after the first fold: the mean of what it had by then.
    assert sweep.score(ALL, {"optimizer.rate": 0.001}, lambda *_: True, Watchers()) == told[0][1]


@pytest.mark.parametrize(
    ("text", "known", "found"),
    [("all", [0, 1, 2], [0, 1, 2]), ("none", [0], []), ("0,2", [0, 1, 2], [0, 2])],
)
def test_outer_folds_are_read(text: str, known: list[int], found: list[int]) -> None:
    assert outer_folds(text, known) == found
    assert trainings(3, 3, 10) == 10 * (3 + 3 * 2) + 3


@pytest.mark.parametrize(("text", "known"), [("5", [0, 1, 2]), ("x", [0, 1, 2]), ("all", [0, 1])])
def test_outer_folds_that_are_not_there_are_refused(text: str, known: list[int]) -> None:
    with pytest.raises(RecipeError):
        outer_folds(text, known)


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
