"""The steps of a recipe's list: independent of each other, decided by the seed, fast ones equal."""

from __future__ import annotations

import pickle
from collections import Counter

import albumentations as A
import cv2
import numpy as np
import pytest

from melanoma.data.augmentation import Augmentation
from melanoma.data.elastic import Elastic, _blur_matrix, _largest
from melanoma.errors import RecipeError

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
def test_the_blur_of_the_elastic_field_is_that_of_opencv(sigma: float) -> None:
    field = np.random.default_rng(0).standard_normal((24, 20)).astype(np.float32)
    theirs = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    ours = _blur_matrix(24, sigma) @ field @ _blur_matrix(20, sigma).T
    assert np.abs(theirs - ours).max() < 1e-4 * np.abs(field).max()


def test_the_elastic_field_has_albumentations_own_distribution() -> None:
    """Spread at a corner and in the middle, and how two places and the two directions go along."""
    found = {}
    for kind in (A.ElasticTransform, Elastic):
        step = kind(alpha=60.0, sigma=6.0, p=1.0)
        step.set_random_seed(5)
        grid = step.get_params_dependent_on_data
        maps = [grid({"shape": (12, 12, 3)}, {}) for _ in range(1500)]
        moved = np.array(
            [[m["map_x"][0, 0], m["map_x"][6, 6] - 6, m["map_x"][6, 9] - 9] for m in maps]
        )
        down = np.array([m["map_y"][6, 6] - 6 for m in maps])
        spread = moved.std(axis=0)
        along = np.corrcoef(moved.T)[1, 2], np.corrcoef(moved[:, 1], down)[0, 1]
        found[kind] = spread, along, np.abs(moved.mean(axis=0) / spread).max()
    (theirs, with_theirs, _), (ours, with_ours, mean) = found.values()
    assert np.allclose(ours / theirs, 1, atol=0.08)  # 4 deviations of a ratio of 1,500 draws
    assert np.allclose(with_theirs, with_ours, atol=0.1) and mean < 0.11


def test_the_largest_of_many_numbers_is_drawn_as_it_falls() -> None:
    rng = np.random.default_rng(0)
    drawn = np.sort([np.abs(rng.standard_normal(500)).max() for _ in range(800)])
    made = np.sort([_largest(500, share) for share in rng.random(800)])
    assert np.abs(drawn - made)[80:-80].max() < 0.1  # of 3.1 on average


def test_arguments_that_are_no_mapping_are_refused_where_they_stand() -> None:
    for step in ({"flip_horizontal": None}, {"one_of": {"of": [{"flip_horizontal": None}]}}):
        with pytest.raises(RecipeError, match=r"flip_horizontal: arguments are a mapping"):
            Augmentation([step])
