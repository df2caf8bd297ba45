"""The steps of a recipe's list: independent of each other, decided by the seed, fast ones equal."""

from __future__ import annotations

import pickle
from collections import Counter

import albumentations as A
import cv2
import numpy as np
import pytest

from melanoma.data.augmentation import Augmentation
from melanoma.data.elastic import Elastic

FLIPS = [{"flip_horizontal": {"p": 0.5}}, {"flip_vertical": {"p": 0.5}}, {"transpose": {"p": 0.5}}]


def test_steps_happen_independently_of_each_other() -> None:
    square = np.zeros((4, 4, 3), np.uint8)
    square[0, 1] = 255
    augment = Augmentation(FLIPS)
    shown = Counter(
        tuple(np.argwhere(augment(square, seed=seed)[..., 0])[0].tolist()) for seed in range(800)
    )
    assert len(shown) == 8  # all symmetries
    assert all(60 <= count <= 140 for count in shown.values())  # of 100; 4 deviations


def test_amounts_are_drawn_independently_too() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    step = {"brightness_contrast": {"brightness": 0.3, "contrast": 0.0, "p": 1.0}}
    once, twice = Augmentation([step]), Augmentation([step, step])
    alone = np.array([once(grey, seed=s)[0, 0, 0] for s in range(300)], float)
    both = np.array([twice(grey, seed=s)[0, 0, 0] for s in range(300)], float)
    # Deviations add as sqrt(2) where the draws are independent, as 2 where they are the same.
    assert 1.2 < both.std() / alone.std() < 1.65


def test_the_seed_decides_whoever_asks_and_in_whatever_order() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    steps = [*FLIPS, {"gauss_noise": {"std": 0.1, "p": 0.8}}, {"one_of": {"of": FLIPS}}]
    augment = Augmentation(steps)
    first = [augment(pixels, seed=seed) for seed in range(6)]
    other = pickle.loads(pickle.dumps(augment))
    for seed in reversed(range(6)):
        assert np.array_equal(other(pixels, seed=seed), first[seed])
    assert len({one.tobytes() for one in first}) == 6


@pytest.mark.parametrize("sigma", [50.0, 4.0])
def test_the_fast_elastic_field_is_albumentations_own(sigma: float) -> None:
    pixels = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (40, 48, 3), dtype=np.uint8), (0, 0), 2
    )
    found = {}
    for kind in (A.ElasticTransform, Elastic):
        step = kind(alpha=60.0, sigma=sigma, p=1.0)
        step.set_random_seed(5)
        maps = step.get_params_dependent_on_data({"shape": pixels.shape}, {})
        step.set_random_seed(5)
        found[kind] = maps, step(image=pixels)["image"]
    (theirs, one), (ours, two) = found.values()
    for name in ("map_x", "map_y"):
        assert np.abs(theirs[name] - ours[name]).max() < 1e-3
        assert ours[name].dtype == np.float32
    apart = np.abs(one.astype(int) - two.astype(int))
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01
