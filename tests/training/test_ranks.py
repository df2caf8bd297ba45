"""One fold by several processes: what a single one gives, and an end that all of them share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_ranks import Failed, in_ranks
from safetensors.torch import load_file
from tiny_backbone import make_tiny_backbone

from melanoma.data.augmentation import Augmentation
from melanoma.data.batches import Plan, load_batches, plan_epoch
from melanoma.data.folds import FoldTable
from melanoma.errors import RecipeError
from melanoma.models.backbones import BACKBONES
from melanoma.models.classifier import make_classifier
from melanoma.training import loop
from melanoma.training.batchnorm import renew_statistics
from melanoma.training.fit import describe_run, fit_fold
from melanoma.training.fold_data import select_fold
from melanoma.training.ranks import Ranks
from melanoma.training.run.run_folder import FoldRun
from melanoma.training.same_start import require_same_start
from melanoma.training.watchers import Watchers

# Batches of 7 and 6 images: no process has half of one. 32 held-out images, 33 in the third shard.
SHARED: dict[str, Any] = {
    "model": {"dropout": 0.0},
    "training": {"epochs": 2, "batch_size": 7, "accumulate": 2, "ema_decay": 0.8},
    "selection": {"keep": "best", "patience": 3},
    "optimizer": {"rate": 0.01, "clip_norm": 1.0, "sam_rho": 0.05},
    "stages": [{"epochs": 1, "frozen": True}, {"epochs": 1}],
}


@pytest.fixture
def fit_in(place: Any, tmp_path: Path) -> Callable[..., Any]:
    """fit_fold in each of several processes."""

    def run(recipe: Any, folder: Path, *, world: int = 2, **options: Any) -> list[Any]:
        def work(ranks: Ranks) -> Any:
            torch.set_num_threads(1)
            given = {"watchers": watchers(ranks)} if watchers else {}
            run = fit_fold(
                recipe,
                place.data(0),
                folder,
                device=torch.device("cpu"),
                imagenet=tmp_path,
                ranks=ranks,
                **given,
            )
            return run.scores.logits().tolist()

        watchers = options.get("watchers")
        return in_ranks(work, world=world)

    return run


@pytest.fixture
def alone(fit: Any, recipe_of: Any, tmp_path_factory: pytest.TempPathFactory) -> FoldRun:
    """SHARED by a single process; trained once."""
    if not _ALONE:
        _ALONE.append(fit(recipe_of(**SHARED), tmp_path_factory.mktemp("alone")))
    return _ALONE[0]


_ALONE: list[FoldRun] = []


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _assert_close(ours: Path, theirs: Path, *, within: float = 1e-5) -> None:
    weights = [load_file(folder / "model.safetensors") for folder in (ours, theirs)]
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        assert torch.allclose(value, weights[1][key], atol=within, rtol=0), key
    for mine, other in zip(_lines(ours), _lines(theirs), strict=True):
        for key in ("loss", "valid_loss", "auroc", "best", "rates"):
            assert mine[key] == pytest.approx(other[key], abs=within), key


def test_the_parts_of_a_batch_are_the_batch(place: Any, recipe_of: Any) -> None:
    data, recipe = place.data(0), recipe_of(**SHARED)
    targets = data.targets[data.training]
    plans = plan_epoch(
        data.training, targets, sampler=recipe.sampler, batch_size=7, accumulate=2, seed=(5, 0, 0)
    )
    augmentation = Augmentation(recipe.augment, {})
    options: dict[str, Any] = {"workers": 0, "augmentation": augmentation, "seed": (5, 0, 0)}
    whole = list(load_batches(data.array, plans, **options))
    shared = [Ranks(rank, 3).share_out(plans) for rank in range(3)]
    parts = [list(load_batches(data.array, plan, **options)) for plan in shared]
    for batch, *pieces in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat([piece.pixels for piece in pieces]), batch.pixels)
        assert np.concatenate([piece.rows for piece in pieces]).tolist() == batch.rows.tolist()
        assert sum(piece.part for piece in pieces) == pytest.approx(1)
        assert {piece.images for piece in pieces} == {len(batch.rows)}
        assert {piece.closes for piece in pieces} == {batch.closes}
        # Their plain mean weighs every image alike.
        each = [piece.share / 3 / len(piece.rows) for piece in pieces]
        assert each == pytest.approx([batch.share / len(batch.rows)] * 3)


def test_a_batch_of_fewer_images_than_processes_is_refused() -> None:
    with pytest.raises(RecipeError, match="2 images cannot be shared by 3 processes"):
        Ranks(0, 3).share_out([Plan(np.arange(2))])


def test_processes_that_share_the_batches_give_what_one_gives(
    alone: FoldRun, fit_in: Any, recipe_of: Any, tmp_path: Path
) -> None:
    found = fit_in(recipe_of(**SHARED), tmp_path / "shared")
    assert all(logits == found[0] for logits in found)
    assert np.allclose(found[0], alone.scores.logits(), atol=1e-5, rtol=0)
    _assert_close(tmp_path / "shared", alone.folder)
    assert sorted(p.name for p in (tmp_path / "shared").glob("*")) == sorted(
        p.name for p in alone.folder.glob("*")
    )


def test_the_renewed_statistics_of_batchnorm_are_those_of_one_process(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "tiny", make_tiny_backbone(norm=True))

    def statistics(ranks: Ranks) -> list[float]:
        torch.manual_seed(3)
        network = make_classifier("tiny", outputs=1)
        rows, options = np.arange(30), {"normalize": "imagenet", "batch_size": 4}
        renew_statistics(network, place.array, rows, ranks=ranks, **options)
        (norm,) = (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return [*norm.running_mean.tolist(), *norm.running_var.tolist()]

    alone = statistics(Ranks())
    for found in in_ranks(statistics, world=3):
        assert found == pytest.approx(alone, rel=1e-5)


def test_a_killed_process_ends_all_and_the_same_command_resumes(
    alone: FoldRun, fit_in: Any, recipe_of: Any, tmp_path: Path
) -> None:
    def dying(ranks: Ranks) -> Watchers:
        steps = iter(range(100))

        def advance() -> None:
            step = next(steps)
            if step == 3:  # before the loop asks whether a save is due
                loop._SAVE_SECONDS, loop._SAVE_SHARE = 0.0, float("inf")
            elif step == 4 and ranks.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        return Watchers(bar=lambda *_: advance)

    recipe = recipe_of(**SHARED)
    first, second = fit_in(recipe, tmp_path / "shared", watchers=dying)
    assert second is None
    assert isinstance(first, Failed)
    assert (first.kind, first.code) == ("InterruptedRun", 143)
    assert "another process of this run has ended" in first.text
    assert (tmp_path / "shared/state.json").is_file()
    assert not (tmp_path / "shared/model.safetensors").exists()
    fit_in(recipe, tmp_path / "shared")
    _assert_close(tmp_path / "shared", alone.folder)


def test_a_signal_to_one_process_stops_all_at_one_step_and_more_of_them_go_on(
    alone: FoldRun, fit_in: Any, recipe_of: Any, tmp_path: Path
) -> None:
    def stopping(ranks: Ranks) -> Watchers:
        steps = iter(range(100))

        def advance() -> None:
            if next(steps) == 3 and ranks.rank == 1:
                signal.raise_signal(signal.SIGTERM)

        return Watchers(bar=lambda *_: advance)

    recipe = recipe_of(**SHARED)
    first, second = fit_in(recipe, tmp_path / "shared", watchers=stopping)
    assert (first.kind, first.code) == ("InterruptedRun", 143)
    assert "the state is saved" in first.text
    assert (second.kind, second.code) == ("SystemExit", 143)
    # The plan of batches is the same for any number of processes.
    fit_in(recipe, tmp_path / "shared", world=3)
    _assert_close(tmp_path / "shared", alone.folder)


def test_a_finished_run_is_read_and_what_the_first_process_refuses_ends_all(
    alone: FoldRun, fit_in: Any, recipe_of: Any, tmp_path: Path
) -> None:
    shutil.copytree(alone.folder, tmp_path / "run")
    for found in fit_in(recipe_of(**SHARED), tmp_path / "run"):
        assert np.allclose(found, alone.scores.logits(), atol=1e-6)
    first, second = fit_in(recipe_of(seed=9), tmp_path / "run")
    assert (first.kind, first.code) == ("WeightsError", 5)
    assert (second.kind, second.code) == ("SystemExit", 5)


def test_a_machine_with_another_fold_file_array_or_recipe_is_refused(
    place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    recipe, data = recipe_of(**SHARED), place.data(0)
    start = describe_run(recipe, data, torch.device("cpu"))
    same = in_ranks(lambda ranks: require_same_start(recipe, data, start, ranks))
    assert same == [None, None]
    parts = {0: 1, 1: 0}
    otherwise = FoldTable(place.folds.frame.assign(fold=place.folds.frame["fold"].map(parts)))
    reversed_rows = FoldTable(place.folds.frame[::-1].reset_index(drop=True))
    pixels = replace(place.array, row_digests=place.array.row_digests[::-1])
    others = {
        "another fold file than": (recipe, select_fold(place.array, otherwise, 0)),
        # The digest is the same, and the batches are not.
        "another fold file than ": (recipe, select_fold(place.array, reversed_rows, 0)),
        "another array than": (recipe, replace(data, array=pixels)),
        "another recipe than": (recipe_of(**{**SHARED, "loss": {"name": "focal"}}), data),
    }
    for said, second_machine in others.items():

        def work(ranks: Ranks, second: tuple[Any, Any] = second_machine) -> None:
            own_recipe, own = second if ranks.rank else (recipe, data)
            cpu = torch.device("cpu")
            fit_fold(own_recipe, own, tmp_path / "run", device=cpu, imagenet=tmp_path, ranks=ranks)

        first, second = in_ranks(work)
        assert (first.kind, second.kind, second.code) == ("DataError", "SystemExit", 3)
        assert f"process 1 of torchrun, on {socket.gethostname()}, has {said}" in first.text
        assert not (tmp_path / "run").exists()
