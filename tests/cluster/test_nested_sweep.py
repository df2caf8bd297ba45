"""A sweep: no search sees its outer fold, and the same settings are trained once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_backbone import make_tiny_backbone

from melanoma.cluster.nested_sweep import begin_sweep, doubt_estimate, outer_folds, trainings
from melanoma.cluster.trials import ALL, Sweep
from melanoma.data.folds import FoldTable
from melanoma.errors import FoldError, RecipeError
from melanoma.models.backbones import BACKBONES
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.space import Space
from melanoma.training.source_rows import SourceRows
from melanoma.training.watchers import Watchers
from melanoma.workflows.train import select_folds

pytestmark = pytest.mark.slow


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


def test_a_sweep_of_other_starting_weights_sources_or_columns_is_another(
    sweep: Sweep, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space.model_validate({"trials": 1, "space": {"optimizer.rate": [0.1, 0.01]}})
    start = tmp_path / "start.safetensors"
    start.write_bytes(b"the first")
    overrides = (f"model.pretrained={start}", "loss.auxiliary={column: sex}")
    ours = replace(sweep, overrides=overrides)
    ours.folder.mkdir()
    begin_sweep(ours, space)
    begin_sweep(ours, space)
    start.write_bytes(b"another")
    with pytest.raises(RecipeError, match=r"another model\.pretrained; name another --out"):
        begin_sweep(ours, space)
    start.write_bytes(b"the first")
    sexes = {"male": "female", "female": "male"}
    frame = ours.parts[0].folds.whole
    table = FoldTable(frame.assign(sex=frame["sex"].replace(sexes)))
    swapped = tuple(replace(part, folds=table) for part in ours.parts)
    with pytest.raises(RecipeError, match=r"another loss\.auxiliary;"):
        begin_sweep(replace(ours, parts=swapped), space)
    # What an earlier version began knows four things, and goes on.
    known = json.loads((ours.folder / "of.json").read_text())
    early = {key: known[key] for key in ("recipe", "space", "folds", "array")}
    (ours.folder / "of.json").write_text(json.dumps(early))
    begin_sweep(replace(ours, parts=swapped), space)


def test_starting_weights_that_are_not_at_hand_are_no_other_ones(
    sweep: Sweep, tmp_path: Path
) -> None:
    """Without them the sweep ends at its first trial, and says to put the file there."""
    space = Space.model_validate({"trials": 1, "space": {"optimizer.rate": [0.1, 0.01]}})
    start = tmp_path / "start.safetensors"
    ours = replace(sweep, overrides=(f"model.pretrained={start}",))
    ours.folder.mkdir()
    begin_sweep(ours, space)
    start.write_bytes(b"the first")
    begin_sweep(ours, space)
    start.unlink()
    begin_sweep(ours, space)
    start.write_bytes(b"another")
    with pytest.raises(RecipeError, match=r"another model\.pretrained; name another --out"):
        begin_sweep(ours, space)


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


def test_what_shows_a_fold_s_patients_is_no_source_of_the_search_without_it(sweep: Sweep) -> None:
    table: Any = SimpleNamespace(source=SimpleNamespace(name="year"))
    # Row n of the source shows what fold n holds out; row 3 nobody.
    parts = tuple(
        replace(part, sources=(SourceRows(table, np.setdiff1d(np.arange(4), [part.fold])),))
        for part in sweep.parts
    )
    for outer in parts:
        for part in replace(sweep, parts=parts).inner(str(outer.fold)):
            (source,) = part.sources
            assert source.rows.tolist() == sorted({0, 1, 2, 3} - {outer.fold, part.fold})
    empty = tuple(
        replace(part, sources=(SourceRows(table, np.array([part.fold])),)) for part in sweep.parts
    )
    with pytest.raises(FoldError, match="source year: every row shows what fold 0 or 1"):
        replace(sweep, parts=empty).inner("0")


def test_a_start_of_each_fold_s_own_is_said_to_flatter(recipe: Path) -> None:
    plain = load_recipe(recipe)
    assert doubt_estimate(plain) == []
    model = plain.model.model_copy(update={"pretrained": "A/fold_{fold}/model.safetensors"})
    (line,) = doubt_estimate(plain.model_copy(update={"model": model}))
    assert line.startswith("warning: model.pretrained ") and "flatters" in line


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
