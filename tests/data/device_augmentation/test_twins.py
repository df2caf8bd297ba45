"""Each step's batched form gives the processor's image of the same seed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from made_squares import make_squares

from melanoma.data.augmentation import TRANSFORMS, Augmentation
from melanoma.data.device_augmentation.blur import apply_median
from melanoma.data.device_augmentation.clahe import equalize
from melanoma.data.device_augmentation.color_spaces import rgb_to_hsv, rgb_to_lab
from melanoma.data.device_augmentation.device_augmentation import DeviceAugmentation
from melanoma.data.device_augmentation.twins import TWINS
from melanoma.data.images import Pixels

# Gray values: the most that a pixel may differ by, and all on average. Where nothing is said: 1, as
# other arithmetic rounds otherwise, hardly ever. Noise has numbers of its own (see below).
MOST = {"clahe": 4, "color_jitter": 6, "hair": 4, "hue_saturation_value": 2}
MEAN = {"clahe": 0.08, "color_jitter": 0.05, "hair": 0.08, "hue_saturation_value": 0.01}
EXACT = {"flip_horizontal", "flip_vertical", "transpose", "brightness_contrast", "camera_color"}
EXACT |= {"median_blur", "cutout"}
# More than one size of the window, and maps that lead far over the borders.
STRONG: dict[str, dict[str, Any]] = {
    "gaussian_blur": {"blur": 7},
    "median_blur": {"blur": 5},
    "motion_blur": {"blur": 7},
    "shift_scale_rotate": {"shift": 0.4, "scale": 0.5, "rotate": 180},
    "elastic": {"alpha": 60},
    "hue_saturation_value": {"hue": 180, "saturation": 90, "value": 90},
}


@pytest.fixture(scope="module")
def pictures() -> Pixels:
    """Of a side that OpenCV's vectors divide: what is left over of a row it rounds otherwise."""
    return make_squares(10, 64)


def both(steps: Any, pictures: Pixels, first: int = 0) -> tuple[Any, Any]:
    """The processor's images and the device's, by the same seeds."""
    seeds = range(first, first + len(pictures))
    wanted, rest = Augmentation(steps).augment(pictures, seeds)
    same, drawn = DeviceAugmentation(steps).augment(pictures, seeds)
    assert rest is None and drawn is not None and np.array_equal(same, pictures)
    found = drawn.apply(torch.from_numpy(pictures))
    assert found.dtype == torch.uint8 and found.is_contiguous()
    return wanted.astype(int), found.numpy().astype(int)


def test_every_step_has_a_batched_form_but_a_recipe_s_own() -> None:
    assert TRANSFORMS.keys() - TWINS.keys() == {"one_of", "own"}
    assert TWINS.keys() < TRANSFORMS.keys()


@pytest.mark.parametrize("name", sorted(TWINS.keys() - {"gauss_noise"}))
def test_a_seed_gives_the_image_that_it_gives_on_the_processor(name: str, pictures: Pixels) -> None:
    wanted, found = both([{name: {**STRONG.get(name, {}), "p": 1.0}}], pictures)
    assert not np.array_equal(wanted, pictures)
    apart = np.abs(wanted - found)
    assert apart.max() <= (0 if name in EXACT else MOST.get(name, 1))
    assert apart.mean() <= MEAN.get(name, 0.005)


def test_noise_is_normal_with_the_step_s_own_deviation_and_spares_what_follows() -> None:
    gray = np.full((40, 24, 24, 3), 128, np.uint8)
    step = {"gauss_noise": {"std": 0.1, "p": 1.0}}
    wanted, found = both([step], gray)
    assert not np.array_equal(wanted, found)
    for statistic in (np.std, lambda noisy, axis: np.abs(noisy - 128).mean(axis)):
        ratio = statistic(found, axis=(1, 2, 3)) / statistic(wanted, axis=(1, 2, 3))
        assert np.abs(ratio - 1).max() < 0.12  # 5 deviations of a ratio of 1,728 numbers' spreads
    assert abs((found - wanted).mean()) < 0.4
    assert np.unique(found, axis=0).shape == found.shape  # no two alike
    cut = {"cutout": {"size": 0.5, "p": 1.0}}
    after, there = both([step, cut], gray)
    assert np.array_equal(after == 0, there == 0)


def test_a_list_of_steps_gives_the_processor_s_images(pictures: Pixels) -> None:
    blurs = [{"motion_blur": {}}, {"median_blur": {"p": 0.2}}, {"gaussian_blur": {"blur": 3}}]
    nested = {"one_of": {"of": [{"clahe": {}}, {"one_of": {"of": blurs}}], "p": 0.8}}
    steps = [{"transpose": {}}, nested, {"shift_scale_rotate": {"p": 0.7}}, {"cutout": {"p": 0.3}}]
    for first in (0, 100, 200):
        wanted, found = both(steps, pictures, first)
        apart = np.abs(wanted - found)
        assert apart.max() <= MOST["clahe"] and apart.mean() < MEAN["clahe"]


def test_colors_are_opencv_s() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    batch = torch.from_numpy(colors).permute(2, 0, 1)[None]
    for code, convert, most in (
        (cv2.COLOR_RGB2HSV, rgb_to_hsv, 0),
        (cv2.COLOR_RGB2LAB, rgb_to_lab, 1),
    ):
        found = torch.stack(convert(batch), dim=-1)[0].numpy()
        apart = np.abs(found - cv2.cvtColor(colors, code).astype(int))
        assert apart.max() <= most and (apart > 0).mean() < 1e-3


@pytest.mark.parametrize("size", [64, 45])
@pytest.mark.parametrize("limit", [1.0, 2.7, 4.0, 40.0])
def test_equalized_lightness_is_opencv_s(size: int, limit: float) -> None:
    values = np.random.default_rng(1).normal(120, 30, (size, size)).clip(0, 255).astype(np.uint8)
    side = -(-size // 8)
    most = torch.tensor([max(int(limit * side * side / 256), 1)])
    found = equalize(torch.from_numpy(values)[None].int(), most)[0].numpy()
    wanted = cv2.createCLAHE(clipLimit=limit, tileGridSize=(8, 8)).apply(values)
    apart = np.abs(found - wanted)
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01


@pytest.mark.parametrize("side", [3, 5])
def test_the_median_is_opencv_s(side: int) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    found = apply_median(torch.from_numpy(noise).permute(2, 0, 1)[None], side)
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), cv2.medianBlur(noise, side))
