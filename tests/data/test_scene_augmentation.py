"""What another camera or another skin would have made of a picture, each step by its own rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from melanoma.data.augmentation import Augmentation

Pixels = npt.NDArray[np.uint8]


def shown(step: str, picture: Pixels, seed: int, **arguments: Any) -> npt.NDArray[np.int64]:
    augment = Augmentation([{step: {**arguments, "p": 1}}])
    return augment(picture, seed=seed).astype(np.int64)


def test_another_frame_keeps_the_middle_and_the_area() -> None:
    """Red is the column, green the row: how far both move a pixel is the stretch of each side."""
    rows, columns = np.mgrid[:101, :101]
    ramp = np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)
    ratios = []
    for seed in range(60):
        found = shown("aspect", ramp, seed, least=0.5)
        assert found[50, 50, :2].tolist() == [50, 50]
        across = np.ptp(found[50, 40:61, 0]) / 20
        down = np.ptp(found[40:61, 50, 1]) / 20
        assert across * down == pytest.approx(1, abs=0.12)
        ratios.append(across / down)
    assert 0.45 < min(ratios) < 0.6 and 1.65 < max(ratios) < 2.2
    assert np.median(np.log(ratios)) == pytest.approx(0, abs=0.25)  # as likely either way


def test_another_camera_has_one_gain_a_color_and_one_exponent() -> None:
    levels = np.arange(30, 121, dtype=np.uint8)
    picture = np.stack([np.stack([levels] * 3, axis=-1)] * 4)
    gains, exponents = [], []
    for seed in range(60):
        found = shown("camera_color", picture, seed, gain=0.2, gamma=0.3)[0]
        fits = [np.polyfit(np.log(levels / 255), np.log(found[:, c] / 255), 1) for c in range(3)]
        assert np.ptp([slope for slope, _ in fits]) < 0.05
        exponents += [slope for slope, _ in fits]
        gains += [offset for _, offset in fits]
    assert np.abs(gains).max() < 0.23 and np.abs(gains).max() > 0.17
    assert np.abs(np.log(exponents)).max() < 0.33 and np.abs(np.log(exponents)).max() > 0.25
    assert np.ptp(gains[:3]) > 0.01  # each color its own


def test_only_the_corners_are_darkened_and_no_more_than_is_said() -> None:
    white = np.full((81, 81, 3), 200, np.uint8)
    corners = []
    for seed in range(60):
        found = shown("vignette", white, seed, darkness=0.6)
        assert found.max() <= 200 and (found[..., 0] == found[..., 2]).all()
        assert (found[25:56, 25:56] == 200).all()
        corners.append(found[[0, 0, -1, -1], [0, -1, 0, -1]].min())
    assert min(corners) >= 0.4 * 200 and min(corners) < 0.55 * 200


def test_hairs_are_dark_thin_lines_and_the_skin_between_stays() -> None:
    skin = np.full((96, 96, 3), (210, 170, 150), np.uint8)
    shares = []
    for seed in range(40):
        found = shown("hair", skin, seed, most=6)
        drawn = (found != skin).any(axis=2)
        shares.append(drawn.mean())
        assert (found <= skin).all()
        assert found[drawn].min() < 120
    assert min(shares) > 0 and max(shares) < 0.15
    assert np.mean(shares) > 2 * min(shares)  # one hair or several
