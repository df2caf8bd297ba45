"""Augmentation on the device as a whole: its distributions, its seeds, what it refuses."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_squares import make_squares
from scipy.stats import ks_2samp

from melanoma.data.augmentation import Augmentation
from melanoma.data.batches import Batch, Plan, augment_batches, load_batches
from melanoma.data.device_augmentation.device_augmentation import (
    DeviceAugmentation,
    make_augmentation,
)
from melanoma.data.images import Pixels
from melanoma.errors import RecipeError
from melanoma.recipe.find_recipe import find_recipe
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.workflows.train import check_recipe

CPU = torch.device("cpu")
OWN = {"own": {"file": "own.py", "sha256": "-"}}


class Pictures:
    """Sixteen squares of 32 pixels as a source of rows."""

    def __init__(self) -> None:
        self.pixels = make_squares(16, 32)

    def rows(self, rows: Any) -> Pixels:
        return self.pixels[np.asarray(rows)]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures()


def winner() -> Any:
    return load_recipe(find_recipe(Path("siim_seresnext50_best"))).augment


def statistics(images: Pixels) -> Any:
    """(N, 5): mean, deviation, redness, and where the dark of the lesion lies."""
    values = images.astype(float)
    dark = 255 - values.mean(axis=3)
    place = np.arange(images.shape[1])
    total = dark.sum(axis=(1, 2))
    across, down = (dark.sum(axis=axis) @ place / total for axis in (1, 2))
    red = values[..., 0].mean(axis=(1, 2)) - values[..., 2].mean(axis=(1, 2))
    return np.stack(
        [values.mean(axis=(1, 2, 3)), values.std(axis=(1, 2, 3)), red, across, down], axis=1
    )


def test_the_winner_s_list_has_the_same_distributions_on_other_seeds(pictures: Pictures) -> None:
    one = np.repeat(pictures.pixels[:1], 150, axis=0)
    processor, _ = Augmentation(winner()).augment(one, range(150))
    drawn = DeviceAugmentation(winner()).draw(range(1000, 1150), size=32)
    device = drawn.apply(torch.from_numpy(one)).numpy()
    for ours, theirs in zip(statistics(device).T, statistics(processor).T, strict=True):
        assert ks_2samp(ours, theirs).pvalue > 0.01


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_a_step_happens_as_often_as_its_p_says(p: float, pictures: Pictures) -> None:
    steps = [{"flip_vertical": {"p": p}}, {"one_of": {"of": [{"transpose": {}}], "p": p}}]
    drawn = DeviceAugmentation(steps).draw(range(1000), size=32)
    shares = {step.name: len(step.places) / 1000 for step in drawn.steps}
    for name in ("flip_vertical", "transpose"):
        assert abs(shares.get(name, 0.0) - p) <= 4 * np.sqrt(p * (1 - p) / 1000)


def test_an_image_does_not_depend_on_those_beside_it(pictures: Pictures) -> None:
    augmentation, pixels = DeviceAugmentation(winner()), torch.from_numpy(pictures.pixels)
    before, seeds = pixels.clone(), range(40, 56)
    whole = augmentation.draw(seeds, size=32).apply(pixels)
    assert torch.equal(pixels, before)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    for places in (order[:5], order[5:6], order[6:]):
        drawn = augmentation.draw([seeds[int(n)] for n in places], size=32)
        assert torch.equal(pickle.loads(pickle.dumps(drawn)).apply(pixels[places]), whole[places])


def batches_of(pictures: Pictures, *, workers: int = 0, start: int = 0) -> list[Batch]:
    plans = [Plan(np.arange(n, n + 4)) for n in range(0, 16, 4)]
    loaded = load_batches(
        pictures,
        plans,
        workers=workers,
        start=start,
        augmentation=DeviceAugmentation(winner()),
        seed=(3, 1),
    )
    return list(augment_batches(loaded, CPU))


@pytest.mark.parametrize("given", [{"workers": 2}, {"start": 2}])
def test_workers_and_where_an_epoch_goes_on_change_nothing(
    given: dict[str, int], pictures: Pictures
) -> None:
    whole, found = batches_of(pictures), batches_of(pictures, **given)
    for ours, theirs in zip(found, whole[given.get("start", 0) :], strict=True):
        assert torch.equal(ours.pixels, theirs.pixels) and ours.drawn is None
        assert not np.array_equal(ours.pixels.numpy(), pictures.rows(ours.rows))


def recipe_of(*augment: Any, where: str = "device") -> Any:
    return make_recipe(
        {
            "name": "r",
            "data": {"reader": "siim"},
            "folds": {"name": "f"},
            "model": {"backbone": "resnet18"},
            "augment": augment,
            "training": {"augment_on": where},
        }
    )


def test_the_recipe_says_where(pictures: Pictures) -> None:
    flip = {"flip_vertical": {}}
    assert isinstance(make_augmentation(recipe_of(flip)), DeviceAugmentation)
    on_processor = recipe_of(flip, where="processor")
    assert type(make_augmentation(on_processor)) is Augmentation
    assert recipe_of(flip).digest() != on_processor.digest()
    assert "augment_on" not in on_processor.identity()["training"]  # earlier runs keep theirs


def test_steps_without_a_batched_form_are_named_before_any_work_is_done() -> None:
    source = {"own.py": b"def augment(pixels, rng): return pixels"}
    steps = [{"flip_vertical": {}}, OWN, {"one_of": {"of": [{"clahe": {}}, OWN]}}]
    with pytest.raises(RecipeError) as refused:
        check_recipe(recipe_of(*steps).with_own_files(source))
    assert str(refused.value) == (
        "training.augment_on: device, but augment.1.own, augment.2.one_of.1.own can only be done "
        "by the processor; use processor, or leave the step out"
    )
    check_recipe(recipe_of(*steps, where="processor").with_own_files(source))
