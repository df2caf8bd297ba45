"""Measures of a square: each moves with what it is meant for, and with little else."""

import cv2
import numpy as np
import pytest

from melanoma.data.square_quality import _SCALES, _blurs, measure_square

SIZE = 128


def draw_lesion(*, radius: float = 0.22, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Skin lit from one side, with a brown mottled lesion; lengths in sides."""
    rng = np.random.default_rng(0)
    axis = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    x, y = np.meshgrid(axis, axis)
    skin = np.array([205.0, 165.0, 140.0]) * (1 + 0.1 * x)[..., None]
    inside = np.hypot(x - right, y - down) < radius
    mottled = cv2.resize(rng.uniform(0.6, 1.2, (40, 40)), (SIZE, SIZE))[..., None]
    skin[inside] = (np.array([110.0, 70.0, 50.0]) * mottled)[inside]
    return (skin + rng.normal(0, 3, skin.shape)).clip(0, 255).astype(np.uint8)


GOOD = measure_square(draw_lesion())


def test_a_blurred_square_is_less_sharp():
    blurred = cv2.GaussianBlur(draw_lesion(), (0, 0), 2.0)
    assert measure_square(blurred).sharpness < GOOD.sharpness - 10


@pytest.mark.parametrize("angle", [0, 45, 90])
def test_a_movement_in_one_direction_counts_as_blur(angle):
    kernel = np.zeros((15, 15), np.float32)
    end = (7 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])).round().astype(int)
    cv2.line(kernel, tuple((7 - end).tolist()), tuple((7 + end).tolist()), 1.0)
    moved = cv2.filter2D(draw_lesion(), -1, kernel / kernel.sum())
    assert measure_square(moved).sharpness < GOOD.sharpness - 6


def test_a_file_that_was_enlarged_is_not_sharp():
    tiny = cv2.resize(draw_lesion(), (16, 16), interpolation=cv2.INTER_AREA)
    large = cv2.resize(tiny, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    assert measure_square(large).sharpness < GOOD.sharpness - 10


def test_less_light_is_darker_and_as_sharp():
    dark = measure_square((draw_lesion() * 0.3).astype(np.uint8))
    assert dark.brightness < 0.4 * GOOD.brightness
    assert dark.sharpness == pytest.approx(GOOD.sharpness, abs=3)


def test_burnt_out_skin_is_counted():
    bright = (draw_lesion().astype(float) * 2).clip(0, 255).astype(np.uint8)
    assert GOOD.white_share == 0
    assert measure_square(bright).white_share > 0.5


def test_a_lesion_far_away_takes_a_smaller_share_and_is_less_coarse():
    far = measure_square(draw_lesion(radius=0.04))
    assert GOOD.lesion_share == pytest.approx(np.pi * 0.22**2 / (np.pi / 4), rel=0.2)
    assert far.lesion_share < 0.03
    assert far.coarse_contrast < GOOD.coarse_contrast - 3


def test_a_lesion_near_the_edge_is_off_the_middle():
    assert GOOD.lesion_offset < 0.05
    assert measure_square(draw_lesion(right=-0.3, down=0.25)).lesion_offset > 0.2


def test_dark_corners_say_nothing_of_light_and_place():
    axis = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    corners = np.hypot(*np.meshgrid(axis, axis)) > 0.52
    cornered = draw_lesion()
    cornered[corners] = 0
    found = measure_square(cornered)
    assert found.brightness == GOOD.brightness
    assert found.lesion_offset == pytest.approx(GOOD.lesion_offset, abs=0.02)
    assert found.lesion_share == pytest.approx(GOOD.lesion_share, abs=0.03)


@pytest.mark.parametrize("color", [0, 128, 255])
def test_one_color_has_finite_measures(color):
    assert np.isfinite(measure_square(np.full((64, 64, 3), color, np.uint8)).as_row()).all()


def test_a_blur_by_a_matrix_is_opencvs_filter():
    plane = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for scale, blur in zip(_SCALES, _blurs(), strict=True):
        theirs = cv2.GaussianBlur(plane, (0, 0), scale, borderType=cv2.BORDER_CONSTANT)
        assert blur @ plane @ blur.T == pytest.approx(theirs, abs=1e-5)
