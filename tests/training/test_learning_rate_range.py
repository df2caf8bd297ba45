"""The range test: the curve, what it suggests, and whether the suggestion trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from melanoma.errors import DivergedError, RecipeError
from melanoma.models import losses
from melanoma.models.classifier import Classifier
from melanoma.recipe.overrides import make_recipe
from melanoma.training.learning_rate_range import (
    RateSweep,
    smooth_losses,
    suggest_rates,
    sweep_rates,
)
from melanoma.training.watchers import Watchers

# Whole epochs as batches: on 32 images, which ones are in a batch decides more than the rate.
CALM: dict[str, Any] = {"augment": [], "model": {"dropout": 0.0}, "training": {"batch_size": 32}}


@pytest.fixture
def sweep(place: Any, tmp_path: Path) -> Callable[..., RateSweep]:
    def run(recipe: Any, **limits: Any) -> RateSweep:
        wanted = {"low": 1e-5, "high": 1.0, "steps": 60, **limits}
        return sweep_rates(
            recipe, place.data(0), device=torch.device("cpu"), imagenet=tmp_path, **wanted
        )

    return run


def _losses_at(rate: float, fit: Any, recipe_of: Any, folder: Path) -> list[float]:
    """The training loss of each epoch at this rate."""
    history: list[dict[str, Any]] = []
    recipe = recipe_of(
        **{**CALM, "training": {"batch_size": 8, "epochs": 5}, "optimizer": {"rate": rate}}
    )
    fit(recipe, folder, watchers=Watchers(epoch=history.append))
    return [record["loss"] for record in history]


def test_the_suggested_rate_trains_and_a_hundred_times_it_does_not(
    sweep: Any, recipe_of: Any, tmp_path: Path, fit: Any
) -> None:
    found = sweep(recipe_of(**CALM))
    assert found.suggestion == found.tenth is not None
    start = found.losses[:6].mean()
    assert _losses_at(found.suggestion, fit, recipe_of, tmp_path / "a")[-1] < 0.8 * start
    assert _losses_at(100 * found.suggestion, fit, recipe_of, tmp_path / "b")[-1] > 0.95 * start


def test_the_rate_grows_by_one_factor_from_low_to_high(sweep: Any, recipe_of: Any) -> None:
    found = sweep(recipe_of(**CALM), low=1e-6, high=1e-3, steps=30)
    assert not found.diverged
    assert np.allclose(found.rates, np.geomspace(1e-6, 1e-3, 30), rtol=1e-9)


def test_groups_by_depth_keep_their_ratio_to_the_head(sweep: Any, recipe_of: Any) -> None:
    found = sweep(recipe_of(**CALM, optimizer={"depth_decay": 0.5}), steps=20, high=1e-2)
    assert np.array_equal(found.by_group["head"], found.rates)
    assert np.allclose(found.by_group["stage_1"], 0.5 * found.rates)
    assert np.allclose(found.by_group["stage_0"], 0.25 * found.rates)


def test_accumulated_batches_make_one_step(sweep: Any, recipe_of: Any, place: Any) -> None:
    recipe = recipe_of(**{**CALM, "training": {"batch_size": 4, "accumulate": 2}})
    found = sweep(recipe, low=1e-6, high=1e-4, steps=24)
    assert len(found.losses) == 24
    assert found.rates[-1] == pytest.approx(1e-4)


def test_one_seed_gives_one_curve(sweep: Any, recipe_of: Any) -> None:
    ours = sweep(recipe_of(), steps=20)
    torch.manual_seed(99)  # what the generators held before does not matter
    assert np.array_equal(ours.losses, sweep(recipe_of(), steps=20).losses)
    assert not np.array_equal(ours.losses, sweep(recipe_of(seed=6), steps=20).losses)


def test_it_stops_when_the_loss_has_left_its_minimum_far_behind(sweep: Any, recipe_of: Any) -> None:
    found = sweep(recipe_of(**CALM, optimizer={"name": "sgd"}), high=1e4)
    assert found.diverged and len(found.losses) < 60
    recent = [found.losses[i - 6 : i].mean() for i in range(6, len(found.losses) + 1)]
    assert all(r <= 4 * min(recent[: i + 1]) for i, r in enumerate(recent[:-1]))


def test_a_loss_that_is_not_finite_ends_the_sweep(
    sweep: Any, recipe_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(logits: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return logits.mean() * torch.nan

    monkeypatch.setitem(losses.LOSSES, "bce", losses.LossEntry(broken))
    with pytest.raises(DivergedError, match="lower --low"):
        sweep(recipe_of(**CALM))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"low": 0.0}, "0 < low < high"),
        ({"low": 1.0, "high": 0.1}, "0 < low < high"),
        ({"steps": 19}, "at least 20"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(
    sweep: Any, recipe_of: Any, limits: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        sweep(recipe_of(), **limits)


def test_several_outputs_are_swept_with_their_own_loss(
    place: Any, recipe_of: Any, sweep: Any
) -> None:
    # Two classes with no melanoma among them have two outputs and cross-entropy.
    values = recipe_of(**CALM).model_dump(mode="json") | {
        "data": {"reader": "csv_folder"},
        "melanoma": [],
        "loss": {"name": "cross_entropy"},
    }
    recipe = make_recipe(values)
    assert recipe.outputs == 2
    # A network that starts at the classes' shares has about their entropy as its first loss.
    share = place.data(0).class_counts / place.data(0).class_counts.sum()
    found = sweep(recipe, low=1e-8, high=1e-7, steps=20)
    assert found.losses.mean() == pytest.approx(-(share * np.log(share)).sum(), abs=0.1)


def test_a_loss_still_falling_at_the_last_rate_suggests_nothing() -> None:
    rates, values = _curve()
    cut = rates < 1e-3
    assert suggest_rates(rates[cut], values[cut], smooth_losses(values[cut])) is None


# The suggestions alone, on curves whose answer is known


def _curve(noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Level at 1, steepest at 1e-4, lowest at 1e-2, then rising."""
    rates = np.geomspace(1e-7, 1.0, 141)
    decade = np.log10(rates)
    falling = 1 - 0.8 / (1 + np.exp(-4 * (decade + 4)))
    rising = np.where(decade > -2, (decade + 2) ** 2, 0)
    drawn = np.random.default_rng(0).normal(0, noise, len(rates)) if noise else 0
    return rates, falling + rising + drawn


def test_the_steepest_and_the_lowest_rate_are_found() -> None:
    rates, values = _curve()
    steepest, tenth = suggest_rates(rates, values, smooth_losses(values)) or (0, 0)
    assert abs(np.log10(steepest) + 4) < 0.1
    assert abs(np.log10(tenth) + 3) < 0.5


def test_noise_before_the_fall_is_not_taken_for_it() -> None:
    rates, values = _curve(noise=0.15)
    steepest, tenth = suggest_rates(rates, values, smooth_losses(values)) or (0, 0)
    assert abs(np.log10(steepest) + 4) < 1
    assert abs(np.log10(tenth) + 3) < 0.7


@pytest.mark.parametrize("seed", range(10))
def test_noise_alone_suggests_nothing(seed: int) -> None:
    rates = np.geomspace(1e-7, 1.0, 100)
    values = 1 + np.random.default_rng(seed).normal(0, 0.2, 100)
    assert suggest_rates(rates, values, smooth_losses(values)) is None


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    rates = np.geomspace(1e-7, 1.0, 100)
    values = 1 + np.linspace(0, 3, 100)
    assert suggest_rates(rates, values, smooth_losses(values)) is None


def test_an_explosion_does_not_move_the_minimum() -> None:
    rates, values = _curve()
    exploded = values.copy()
    exploded[-20:] = 1e9
    quiet = suggest_rates(rates, values, smooth_losses(values))
    assert suggest_rates(rates, exploded, smooth_losses(exploded)) == quiet


@pytest.mark.parametrize("dent", [1e-4, 1e-3, 8e-3])
def test_a_valley_s_last_rate_counts_wherever_its_lowest_point_lies(dent: float) -> None:
    rates = np.geomspace(1e-7, 1.0, 141)
    decade = np.log10(rates)
    # Falls around 1e-5, is level from 1e-4 to 1e-2, then rises.
    values = 1 - 0.8 / (1 + np.exp(-6 * (decade + 5))) + np.clip(decade + 2, 0, None)
    values -= 0.03 * np.exp(-(((decade - np.log10(dent)) / 0.2) ** 2))
    _, tenth = suggest_rates(rates, values, smooth_losses(values)) or (0, 0)
    assert abs(np.log10(tenth) + 3) < 0.3


def test_a_staged_recipe_is_swept_as_in_its_first_stage(place: Any, recipe_of: Any) -> None:
    """The limits are the head's rates whatever the stage states, and a frozen backbone has none."""
    stages = [{"epochs": 1, "frozen": True, "optimizer": {"rate": 0.5}}, {"epochs": 1}]
    recipe = recipe_of(
        model={"head": {"hidden": [6]}}, training={"epochs": 2, "batch_size": 4}, stages=stages
    )
    sweep = sweep_rates(
        recipe,
        place.data(0),
        device=torch.device("cpu"),
        imagenet=Path(),
        low=1e-5,
        high=1e-2,
        steps=20,
    )
    assert (sweep.rates[0], sweep.rates[-1]) == pytest.approx((1e-5, 1e-2), rel=1e-6)
    assert {name.removesuffix("_no_decay") for name in sweep.by_group} == {"head"}


def test_a_first_stage_of_smaller_squares_is_swept_on_them(
    sweep: Any, recipe_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    embed = Classifier.embed

    def watched(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        seen.add(images.shape[-1])
        return embed(self, images)

    monkeypatch.setattr(Classifier, "embed", watched)
    recipe = recipe_of(stages=[{"epochs": 1}, {"epochs": 1}])
    # The phantoms' array is of 32 px, the smallest that a recipe may name.
    first = recipe.stages[0].model_copy(update={"size": 16})
    sweep(recipe.model_copy(update={"stages": (first, recipe.stages[1])}), steps=20)
    assert seen == {16}


def test_a_batch_of_one_image_is_refused_as_in_training(sweep: Any, recipe_of: Any) -> None:
    recipe = recipe_of(model={"backbone": "tiny_resnet"}, training={"batch_size": 1})
    with pytest.raises(RecipeError, match=r"one image.*training\.batch_size"):
        sweep(recipe, steps=20)
