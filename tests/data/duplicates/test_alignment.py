"""Two photographs laid over each other: the view, the crop and the likeness that are planted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from melanoma.data.duplicates.alignment import Fit, Laid, lay_over, relation_of
from melanoma.data.duplicates.fingerprints import SIDE, VIEWS, WINDOWS, View
from melanoma.data.duplicates.near import THRESHOLD
from melanoma.data.images import Pixels

WHOLE_IN_EACH_VIEW = [number * len(WINDOWS) for number in range(len(VIEWS))]
EVERY_GUESS = list(range(len(VIEWS) * len(WINDOWS)))
ENLARGED = 10
# What was done to a square, by NumPy's own turns, which go against the clock.
DONE = {
    "re-saved": lambda square: square,
    **{f"rotated {90 * n}": lambda square, n=n: np.rot90(square, -n) for n in (1, 2, 3)},
    "mirrored": np.fliplr,
    **{
        f"mirrored and rotated {90 * n}": lambda square, n=n: np.rot90(np.fliplr(square), -n)
        for n in (1, 2, 3)
    },
}


def spots(seed: int, *, side: int = SIDE, sigma: float = 2.0) -> Pixels:
    """Soft spots of `sigma` pixels of SIDE, without any symmetry."""
    noise = np.random.default_rng(seed).normal(0, 1, (side, side)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), sigma * side / SIDE)
    return (128 + 40 * soft / soft.std()).clip(0, 255).astype(np.uint8)


def crop_of(large: Pixels, window: tuple[float, float, float]) -> Pixels:
    top, left, side = (round(part * len(large)) for part in window)
    part = large[top : top + side, left : left + side]
    return cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def laid(square: Pixels) -> Laid:
    return Laid.of(np.ascontiguousarray(square))


def fitted(image: Pixels, target: Pixels, guesses: list[int]) -> Fit:
    fit = lay_over(laid(image), laid(target), guesses)
    assert fit is not None
    return fit


@pytest.mark.parametrize("relation", DONE)
@pytest.mark.parametrize("order", [1, -1])
def test_of_all_views_that_of_the_copy_is_found_and_named(relation: str, order: int) -> None:
    square = spots(0)
    fit = fitted(square, DONE[relation](square), WHOLE_IN_EACH_VIEW[::order])
    assert relation_of(fit) == relation
    assert fit.similarity == pytest.approx(1, abs=1e-4)
    assert fit.motion == pytest.approx(np.eye(3)[:2], abs=0.01)


@pytest.mark.parametrize(
    "window", [(0.02, 0.05, 0.93), (0.06, 0.0, 0.93), (0.05, 0.05, 0.90), (0.1, 0.1, 0.84)]
)
def test_a_crop_is_found_where_it_was_cut(window: tuple[float, float, float]) -> None:
    large = spots(1, side=SIDE * ENLARGED)
    fit = fitted(crop_of(large, (0, 0, 1)), crop_of(large, window), list(range(len(WINDOWS))))
    top, left, share = window
    # The middle of a target's first pixel, and of its last, in pixels of the image.
    for place in (0, SIDE - 1):
        across, down = fit.motion @ (place, place, 1)
        assert across == pytest.approx((place + 0.5) * share + left * SIDE - 0.5, abs=0.35)
        assert down == pytest.approx((place + 0.5) * share + top * SIDE - 0.5, abs=0.35)
    assert fit.similarity > 0.99
    said = relation_of(fit)
    assert said.startswith("cropped to ") and said.endswith(" %")
    assert int(said.split()[2]) == pytest.approx(100 * share, abs=1)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("window", range(1, len(WINDOWS)))
def test_a_guess_names_the_window_of_the_image_before_it_is_turned(view: View, window: int) -> None:
    """Spots so fine that a motion begun elsewhere does not find its way."""
    large = spots(2, side=SIDE * ENLARGED, sigma=1.0)
    turned = view.of(crop_of(large, WINDOWS[window]).astype(np.float32)).astype(np.uint8)
    guess = VIEWS.index(view) * len(WINDOWS) + window
    fit = fitted(crop_of(large, (0, 0, 1)), turned, [guess])
    assert fit.view == view
    assert fit.similarity > 0.95


def test_strangers_are_laid_over_each_other_in_no_view() -> None:
    images = [laid(spots(seed)) for seed in range(10, 18)]
    found = [lay_over(a, b, EVERY_GUESS) for a in images for b in images if a is not b]
    assert found == [None] * 56


def test_a_copy_is_not_found_by_the_guess_of_another_view() -> None:
    square = spots(3)
    target = laid(np.fliplr(square))
    right = WHOLE_IN_EACH_VIEW[VIEWS.index(View(False, False, True))]
    for guess in WHOLE_IN_EACH_VIEW:
        assert (lay_over(laid(square), target, [guess]) is not None) == (guess == right)


def test_what_has_nothing_to_see_is_like_nothing() -> None:
    flat, image = laid(np.full((SIDE, SIDE), 90, np.uint8)), laid(spots(4))
    for one, other in ((flat, flat), (flat, image), (image, flat)):
        assert lay_over(one, other, EVERY_GUESS) is None


def test_light_is_no_part_of_the_likeness() -> None:
    square = spots(5)
    y, x = np.indices((SIDE, SIDE)) / SIDE - 0.5
    dark_corners = square * (1 - 0.9 * (x * x + y * y))
    for other in (dark_corners, 0.8 * square + 40, 0.7 * square):
        assert fitted(square, other.astype(np.uint8), [0]).similarity > 0.95


def test_two_lesions_of_one_outline_are_told_apart_by_what_is_inside() -> None:
    down, across = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    inside = (np.hypot(across * 1.2, down) < 20).astype(np.float32)
    outline = cv2.GaussianBlur(inside, (0, 0), 1.0)

    def lesion(seed: int) -> Pixels:
        pattern = 0.4 * (spots(seed, sigma=1.2).astype(np.float32) - 128)
        return (190 - (90 - pattern) * outline).astype(np.uint8)

    for first in (20, 22, 24):
        one, other = lesion(first), lesion(first + 1)
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.94
        strangers = fitted(one, other, [0])  # their outlines fit
        copy = fitted(one, cv2.GaussianBlur(one, (0, 0), 0.5).astype(np.uint8), [0])
        assert strangers.similarity < THRESHOLD < 0.95 < copy.similarity


def test_a_photograph_that_was_tilted_is_no_copy() -> None:
    """No crop turns: a free motion would lay strangers over each other."""
    square = spots(8)
    for degrees, plain in ((3, True), (7, False), (12, False)):
        tilt = cv2.getRotationMatrix2D(((SIDE - 1) / 2,) * 2, degrees, 1)
        tilted = cv2.warpAffine(square, tilt, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
        fit = lay_over(laid(square), laid(tilted), [0])
        assert (fit is not None) == plain, degrees


@pytest.mark.parametrize(
    ("share", "view", "relation"),
    [
        (1.0, View(False, False, False), "re-saved"),
        (0.99, View(False, False, False), "re-saved"),
        (0.95, View(False, False, False), "cropped to 95 %"),
        (0.95, View(True, False, True), "rotated 90, cropped to 95 %"),
        (1.02, View(False, False, True), "mirrored"),
    ],
)
def test_a_relation_is_the_turn_and_the_crop_in_one_line(
    share: float, view: View, relation: str
) -> None:
    motion = np.array([[share, 0, 1], [0, share, 2]], np.float32)
    assert relation_of(Fit(1.0, view, motion)) == relation
