"""One fold's task: where it works, which array it reads, what it says, and how it ends.

In this process, with what a task asks of Ray answered here; test_ray_folds has real nodes.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from tiny_backbone import make_tiny_backbone

from melanoma.cluster import fold_task, ray_folds
from melanoma.cluster.fold_task import Order, Outcome, fit_order, stored_fold
from melanoma.cluster.held_array import stored_pixels
from melanoma.data.sources import SourceTable
from melanoma.errors import DivergedError
from melanoma.models.backbones import BACKBONES
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.training.run.run_folder import fold_folder
from melanoma.training.source_rows import SourceRows
from melanoma.workflows.train import select_folds, train_fold

TOKEN = ".ray-token"


@dataclass
class Lines:
    """The actor that gathers what tasks say."""

    told: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def add(self) -> Any:
        return SimpleNamespace(remote=lambda kind, value: self.told.append((kind, value)))

    def epochs(self) -> list[int]:
        return [value["epoch"] for kind, value in self.told if kind == "epoch"]


@pytest.fixture(autouse=True)
def _ray_is_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = SimpleNamespace(get_node_id=lambda: "0123456789abcdef")
    ray = SimpleNamespace(
        get=lambda value: value,
        get_runtime_context=lambda: context,
        util=SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7"),
    )
    monkeypatch.setattr("melanoma.cluster.ray_session.import_ray", lambda: ray)
    monkeypatch.chdir(tmp_path)  # a task goes to its driver's folder


@pytest.fixture(scope="module", autouse=True)
def _tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(BACKBONES, "tiny", make_tiny_backbone(norm=False))
        yield


@dataclass(frozen=True)
class Alone:
    """A recipe, its first fold, and that fold's oof.csv as the command makes it without Ray."""

    recipe: Any
    part: Any
    folder: Path

    @property
    def scores(self) -> bytes:
        return scores_in(self.folder / "alone")


def scores_in(weights: Path) -> bytes:
    return (fold_folder(weights, 0) / "oof.csv").read_bytes()


@pytest.fixture(scope="module")
def alone(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory, _tiny: None) -> Alone:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "tiny.yaml").write_text(
        "name: tiny\ndata: {reader: siim}\nimage: {size: 32}\nfolds: {name: tiny, k: 3}\n"
        "model: {backbone: tiny, pretrained: none}\nschedule: {name: constant}\n"
        "training: {epochs: 2, batch_size: 16, precision: float32}\n"
    )
    recipe = load_recipe(folder / "tiny.yaml")
    arrays, folds = folder / "arrays", folder / "folds.csv"
    part = select_folds(recipe, data=phantom_set, arrays=arrays, folds=folds)[0]
    train_fold(recipe, part, folder / "alone", device="cpu")
    return Alone(recipe, part, folder)


@pytest.fixture
def order(alone: Alone, tmp_path: Path) -> Order:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / TOKEN).touch()
    return Order(
        recipe=alone.recipe,
        part=alone.part,
        weights=weights,
        token=TOKEN,
        states=None,
        arrays=alone.folder / "arrays",
        device="cpu",
        force_resume=False,
        track=None,
        threads=1,
        folder=tmp_path,
    )


def absent_here(order: Order, tmp_path: Path) -> Order:
    """The order as a node has it that does not see the array."""
    array = replace(order.part.array, path=tmp_path / "elsewhere.npy")
    return replace(order, part=replace(order.part, array=array))


def test_a_task_trains_what_the_command_trains_and_says_the_end_last(
    order: Order, alone: Alone
) -> None:
    lines = Lines()
    assert fit_order(order, {}, lines) == Outcome(0)
    assert scores_in(order.weights) == alone.scores
    assert lines.told[0] == ("say", "fold 0: on node 01234567 at 10.0.0.7")
    assert lines.epochs() == [1, 2]
    assert lines.told[-1] == ("end", None)


def test_a_node_without_the_array_says_so_before_it_works_and_trains_from_ray_s_store(
    order: Order, alone: Alone, tmp_path: Path
) -> None:
    there, lines = absent_here(order, tmp_path), Lines()
    assert fit_order(there, {}, lines) == Outcome(0, absent=(0,))
    assert lines.told == []
    assert [path.name for path in order.weights.iterdir()] == [TOKEN]
    pixels = np.array(stored_pixels(alone.part.array))
    assert fit_order(there, {0: pixels}, lines) == Outcome(0)
    assert scores_in(order.weights) == alone.scores


def test_a_node_without_a_source_s_array_gets_that_one_too(
    order: Order, alone: Alone, tmp_path: Path
) -> None:
    elsewhere = replace(alone.part.array, path=tmp_path / "elsewhere.npy")
    source: Any = SimpleNamespace(name="year")
    rows = SourceRows(SourceTable(source, elsewhere, pd.DataFrame()), np.arange(3))
    part = replace(order.part, sources=(rows,))
    # The fold's own array is here: it need not pass through Ray's store.
    assert fit_order(replace(order, part=part), {}, Lines()) == Outcome(0, absent=(1,))
    pixels = np.array(stored_pixels(alone.part.array))
    found = fold_task._with_held(part, {1: pixels})
    assert found.array is part.array
    assert np.array_equal(found.sources[0].table.array.rows([2, 0]), pixels[[2, 0]])
    assert found.sources[0].rows is rows.rows


def test_a_node_that_does_not_see_the_weights_is_told_what_to_name(order: Order) -> None:
    (order.weights / TOKEN).unlink()
    outcome = fit_order(order, {}, Lines())
    assert (outcome.exit_code, outcome.absent) == (2, ())
    assert f"a node does not see {order.weights}" in outcome.error
    assert "--weights" in outcome.error and "--states" in outcome.error
    assert list(order.weights.iterdir()) == []


def test_a_failing_fold_is_an_outcome_with_its_own_exit_code(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: Any, **__: Any) -> None:
        raise DivergedError("the loss is no number")

    monkeypatch.setattr(fold_task, "train_fold", diverge)
    lines = Lines()
    outcome = fit_order(order, {}, lines)
    assert outcome == Outcome(
        0, error="the loss is no number", exit_code=DivergedError("").exit_code
    )
    assert ("end", None) not in lines.told


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the node's temporary folders lie."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_with_states_a_task_works_in_a_copy_that_the_storage_keeps(
    order: Order, alone: Alone, tmp_path: Path, scratch: Path
) -> None:
    stored = tmp_path / "states"
    remote = replace(order, states=f"{stored}/", weights=tmp_path / "not on this node")
    assert fit_order(remote, {}, Lines()) == Outcome(0)
    assert scores_in(stored) == alone.scores
    assert list(scratch.iterdir()) == []
    assert not remote.weights.exists()
    again = Lines()
    shutil.copytree(stored / "fold_0", tmp_path / "before")
    assert fit_order(remote, {}, again) == Outcome(0)
    assert again.epochs() == []  # the fold was finished
    copied = stored_fold(remote, tmp_path / "copied")
    assert copied.address == f"{stored}/fold_0"  # two slashes are another place in a bucket
    copied.pull()
    for path in (tmp_path / "before").rglob("*"):
        if path.is_file():
            name = path.relative_to(tmp_path / "before")
            assert (tmp_path / "copied" / name).read_bytes() == path.read_bytes()


def test_what_a_broken_task_has_reached_is_stored_and_the_next_one_goes_on(
    order: Order,
    alone: Alone,
    tmp_path: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote = replace(order, states=f"memory://{tmp_path.name}")

    class Broken(Lines):
        @property
        def add(self) -> Any:
            def remember(kind: str, value: Any) -> None:
                self.told.append((kind, value))
                if self.epochs() == [1, 2]:
                    raise DivergedError("here")

            return SimpleNamespace(remote=remember)

    first, second = Broken(), Lines()
    assert fit_order(remote, {}, first).error == "here"
    assert list(scratch.iterdir()) == []
    assert not stored_fold(remote, tmp_path / "x").is_empty
    assert fit_order(remote, {}, second) == Outcome(0)
    assert second.epochs() == [2]
    found = stored_fold(remote, fold_folder(tmp_path / "found", 0))
    found.pull()
    assert scores_in(tmp_path / "found") == alone.scores


def test_a_state_is_stored_each_time_that_one_is_saved(
    order: Order, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = replace(order, states=str(tmp_path / "states"))
    seen: list[str] = []

    def train(recipe: Any, part: Any, weights: Path, *, watch: Any, **_: Any) -> None:
        folder = fold_folder(weights, part.fold)
        for text in ("first", "second one"):
            (folder / "state.json").write_text(text)
            watch.saved()
            seen.append((tmp_path / "states/fold_0/state.json").read_text())

    monkeypatch.setattr(fold_task, "train_fold", train)
    assert fit_order(remote, {}, Lines()) == Outcome(0)
    assert seen == ["first", "second one"]


def test_a_task_waits_until_a_lost_node_s_process_has_ended(
    order: Order, alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fold_folder(order.weights, 0)
    folder.mkdir()
    held = FileLock(folder / ".lock", thread_local=False)
    held.acquire()
    release = threading.Timer(0.3, held.release)
    release.start()
    try:
        assert fit_order(order, {}, Lines()) == Outcome(0)
    finally:
        release.join()
    # One that does not end keeps its folder.
    shutil.rmtree(folder)
    folder.mkdir()
    monkeypatch.setattr(fold_task, "_FREE_SECONDS", 0.1)
    with FileLock(folder / ".lock"):
        outcome = fit_order(order, {}, Lines())
    assert "fold_0" in outcome.error


def test_a_recipe_s_paths_and_threads_are_those_of_the_command(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood: list[tuple[Path, int]] = []

    def train(*_: Any, **__: Any) -> None:
        stood.append((Path.cwd(), torch.get_num_threads()))

    monkeypatch.setattr(fold_task, "train_fold", train)
    driver = tmp_path / "driver"
    driver.mkdir()
    fit_order(replace(order, folder=driver, threads=2), {}, Lines())
    fit_order(replace(order, folder=tmp_path / "not here"), {}, Lines())
    assert stood == [(driver, 2), (driver, 1)]


def test_what_was_ordered_reaches_the_training(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def train(recipe: Any, part: Any, weights: Path, **options: Any) -> None:
        asked.update(options, recipe=recipe, part=part, weights=weights)

    monkeypatch.setattr(fold_task, "train_fold", train)
    fit_order(replace(order, force_resume=True, track=["mlflow"]), {}, Lines())
    for name in ("recipe", "part", "weights", "arrays", "device"):
        assert asked[name] == getattr(order, name), name
    assert (asked["force_resume"], asked["track"]) == (True, ["mlflow"])
    assert "resume" not in asked  # a task that is tried again must not forget what it had


def test_to_start_again_forgets_the_runs_of_a_fold_s_seeds(
    order: Order, alone: Alone, tmp_path: Path
) -> None:
    values = alone.recipe.model_dump(mode="json", exclude_defaults=True)
    recipe = make_recipe({**values, "seeds": [1, 2], "training": {"epochs": 1}})
    seeded = replace(order, recipe=recipe, states=str(tmp_path / "states"))
    ray_folds._prepare([seeded], resume=True)
    assert fit_order(seeded, {}, Lines()) == Outcome(0)
    again = Lines()
    ray_folds._prepare([seeded], resume=True)
    assert (fit_order(seeded, {}, again), again.epochs()) == (Outcome(0), [])
    local = fold_folder(order.weights, 0)
    stored_fold(seeded, local).pull()
    ray_folds._prepare([seeded], resume=False)
    for folder in (local, tmp_path / "states/fold_0"):
        assert not [*folder.rglob("run.json"), *folder.rglob("model.safetensors")]
    assert (fit_order(seeded, {}, again), again.epochs()) == (Outcome(0), [1, 1])
