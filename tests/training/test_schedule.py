"""Rates over time against torch's own and at known points; stopping by a scripted sequence."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from melanoma.recipe.find_recipe import find_recipe
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.sections import Schedule, Selection
from melanoma.training.epoch_metrics import watched
from melanoma.training.schedule import CURVES, EarlyStopping, RateSchedule


def _factors(schedule: RateSchedule, aurocs: list[float]) -> list[float]:
    found = []
    for epoch, auroc in enumerate(aurocs, start=1):
        schedule.observe(auroc)
        found.append(schedule.factor(epoch))
    return found


def _torch_factors(
    rules: Schedule, aurocs: list[float], *, mode: Literal["min", "max"] = "max"
) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = ReduceLROnPlateau(
        optimizer,
        mode=mode,
        factor=rules.factor,
        patience=rules.patience,
        threshold=rules.threshold,
        threshold_mode=rules.threshold_mode,
        eps=0.0,
    )
    found = []
    for auroc in aurocs:
        plateau.step(auroc)
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("threshold", [0.0, 1e-3, 0.02])
def test_plateau_is_torch_s_reduce_on_plateau(patience: int, threshold: float) -> None:
    rules = Schedule(name="plateau", factor=0.5, patience=patience, threshold=threshold)
    rng = np.random.default_rng(patience)
    for _ in range(50):
        # Steps of a thousandth, so that many gains meet the threshold exactly.
        walk = 0.7 + rng.integers(-4, 6, 30).cumsum() / 1000
        aurocs = [float(a) for a in walk]
        expected = _torch_factors(rules, aurocs)
        assert _factors(RateSchedule(rules, 30), aurocs) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("threshold", [1e-4, 0.02])
def test_a_relative_threshold_is_torch_s_default_for_scores_and_losses(threshold: float) -> None:
    rules = Schedule(
        name="plateau", factor=0.5, patience=1, threshold=threshold, threshold_mode="rel"
    )
    rng = np.random.default_rng(1)
    for _ in range(50):
        scores = [float(s) for s in 0.7 + rng.integers(-4, 6, 30).cumsum() / 500]
        found = _factors(RateSchedule(rules, 30), scores)
        assert found == pytest.approx(_torch_factors(rules, scores), rel=1e-12)
        losses = [1.4 - score for score in scores]
        found = _factors(RateSchedule(rules, 30), [-loss for loss in losses])
        assert found == pytest.approx(_torch_factors(rules, losses, mode="min"), rel=1e-12)


def test_dermnet_s_plateau_is_torch_s_with_every_default() -> None:
    rules = load_recipe(find_recipe(Path("dermnet_resnet152"))).schedule
    asked = inspect.signature(ReduceLROnPlateau).parameters
    for name in ("factor", "patience", "threshold", "threshold_mode"):
        assert getattr(rules, name) == asked[name].default
    assert (rules.name, rules.metric, asked["mode"].default) == ("plateau", "loss", "min")


def test_a_plateau_on_the_loss_waits_for_it_to_fall() -> None:
    rules = Schedule(name="plateau", factor=0.5, patience=1, threshold=0.01, metric="loss")
    schedule, found = RateSchedule(rules, 10), []
    # The metric that judges rises throughout; only the loss decides.
    for epoch, loss in enumerate([0.9, 0.8, 0.795, 0.81, 0.7, 0.7, 0.7], start=1):
        schedule.observe(watched(rules, {"valid_loss": loss, "auroc": epoch / 10}, epoch / 10))
        found.append(schedule.factor(epoch))
    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert watched(Schedule(), {"valid_loss": 0.3, "auroc": 0.9}, 0.9) == 0.9


def test_plateau_drops_after_more_than_its_patience() -> None:
    rules = Schedule(name="plateau", factor=0.1, patience=3, threshold=1e-3)
    # The gain of half a thousandth is none; the fourth epoch without one drops the rate.
    aurocs = [0.70, 0.80, 0.8005, 0.79, 0.80, 0.80, 0.90, 0.90]
    expected = [1, 1, 1, 1, 1, 0.1, 0.1, 0.1]
    assert _factors(RateSchedule(rules, 25), aurocs) == pytest.approx(expected)


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_a_restored_schedule_goes_on_as_if_nothing_had_been(cut: int) -> None:
    rules = Schedule(name="plateau", factor=0.5, patience=1)
    aurocs = [0.7, 0.69, 0.68, 0.67, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.95]
    whole = _factors(RateSchedule(rules, 12), aurocs)
    first, second = RateSchedule(rules, 12), RateSchedule(rules, 12)
    _factors(first, aurocs[:cut])
    second.restore(first.state())
    for epoch, auroc in enumerate(aurocs[cut:], start=cut + 1):
        second.observe(auroc)
        assert second.factor(epoch) == whole[epoch - 1]


@pytest.mark.parametrize(
    ("rules", "known"),
    [
        ({"name": "constant"}, {0: 1, 5.5: 1, 10: 1}),
        ({"name": "step", "every": 4}, {0: 1, 3.99: 1, 4: 0.1, 7.99: 0.1, 8: 0.01, 10: 0.01}),
        ({"name": "cosine", "final_share": 0.0}, {0: 1, 5: 0.5, 10: 0}),
        ({"name": "cosine", "final_share": 0.2}, {0: 1, 5: 0.6, 10: 0.2, 99: 0.2}),
        (
            {"name": "cosine", "final_share": 0.0, "warmup_epochs": 2},
            {0: 0.1, 1: 0.55, 2: 1, 6: 0.5, 10: 0},
        ),
        ({"name": "one_cycle", "final_share": 0.01}, {0: 0.04, 1.5: 0.52, 3: 1, 10: 0.01}),
        ({"name": "one_cycle", "warmup_epochs": 5}, {0: 0.04, 2.5: 0.52, 5: 1, 7.5: 0.505}),
        ({"name": "constant", "warmup_epochs": 2}, {0: 0.1, 1: 0.55, 2: 1, 9: 1}),
        ({"name": "plateau", "warmup_epochs": 0.5}, {0: 0.1, 0.25: 0.55, 0.5: 1, 9: 1}),
        (
            {"name": "step", "every": 4, "warmup_epochs": 5},
            {0: 0.1, 2: 0.46, 3.99: 0.8182, 4: 0.082, 5: 0.1, 8: 0.01},
        ),
    ],
)
def test_a_rate_passes_through_its_known_points(
    rules: dict[str, Any], known: dict[float, float]
) -> None:
    schedule = RateSchedule(Schedule(**rules), 10)
    assert {time: schedule.factor(time) for time in known} == pytest.approx(known, abs=1e-9)


@pytest.mark.parametrize("epochs", [3, 7, 12, 25, 49])
def test_a_step_falls_at_the_first_batch_of_its_epoch(epochs: int) -> None:
    schedule = RateSchedule(Schedule(name="step", every=3, factor=0.5), epochs)
    assert [schedule.factor(e) for e in range(epochs)] == [0.5 ** (e // 3) for e in range(epochs)]


def test_one_cycle_is_torch_s() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=0.3, final_div_factor=4, div_factor=25
    )
    # Torch peaks at step 0.3 * 101 - 1 and ends at step 100.
    ours = RateSchedule(Schedule(name="one_cycle", warmup_epochs=29.3, final_share=0.01), 100)
    for step in range(101):
        assert ours.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        if step < 100:
            theirs.step()


@pytest.mark.parametrize("name", list(CURVES))
def test_no_curve_leaves_its_range_or_jumps_up(name: str) -> None:
    schedule = RateSchedule(Schedule(name=name, final_share=0.01), 20)  # type: ignore[arg-type]
    factors = np.array([schedule.factor(time) for time in np.linspace(0, 20, 2001)])
    assert 0 < factors.min() <= factors.max() <= 1
    assert np.diff(factors).max() < 0.01


def test_every_schedule_that_a_recipe_may_name_has_a_curve() -> None:
    assert set(get_args(Schedule.model_fields["name"].annotation)) == set(CURVES)


def _run(stopping: EarlyStopping, aurocs: list[float]) -> list[bool]:
    """Whether each epoch was the best so far, until it stopped."""
    found = []
    for epoch, auroc in enumerate(aurocs):
        found.append(stopping.observe(epoch, auroc))
        if stopping.stopped:
            break
    return found


def test_stopping_waits_for_its_patience_and_marks_the_best_epoch() -> None:
    stopping = EarlyStopping.by(Selection(patience=5, min_delta=1e-4))
    # The gain of .00005 at epoch 4 is less than min_delta; five epochs later it is over.
    aurocs = [0.70, 0.75, 0.74, 0.80, 0.80005, 0.79, 0.78, 0.80009, 0.80, 0.99]
    assert _run(stopping, aurocs) == [True, True, False, True] + [False] * 5
    assert (stopping.best_epoch, stopping.best) == (3, 0.80)


def test_a_gain_resets_the_waiting() -> None:
    stopping = EarlyStopping(patience=2, min_delta=0.0)
    found = _run(stopping, [0.5, 0.4, 0.6, 0.5, 0.7, 0.6, 0.7, 0.9])
    assert found == [True, False, True, False, True, False, False]
    assert stopping.best_epoch == 4


def test_without_patience_it_never_stops_and_an_equal_epoch_is_no_better() -> None:
    stopping = EarlyStopping.by(Selection(patience=None, min_delta=0.0))
    _run(stopping, [0.6] * 100)
    assert (stopping.waited, stopping.stopped, stopping.best_epoch) == (99, False, 0)


def test_stopping_is_taken_up_from_its_state() -> None:
    first = EarlyStopping(patience=3, min_delta=0.01)
    _run(first, [0.5, 0.6, 0.605])
    second = EarlyStopping(patience=3, min_delta=0.01)
    second.restore(first.state())
    assert second == first
    assert _run(second, [0.6, 0.6, 0.7]) == [False, False]
