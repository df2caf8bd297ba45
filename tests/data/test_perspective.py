"""A photograph seen from a slant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from melanoma.data.augmentation import Augmentation
from melanoma.data.phantoms.drawing import draw_phantom

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return draw_phantom(melanoma=True, rng=np.random.default_rng(8), size=128)


def _ramp(side: int) -> Pixels:
    """Red is the column, green the row: a pixel says where it came from."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_the_corners_of_a_perspective_lie_inward_by_up_to_half_its_distortion() -> None:
    side, ramp = 200, _ramp(200)
    augment = Augmentation([{"perspective": {"distortion": 0.5, "p": 1}}])
    shown = [augment(ramp, seed=seed).astype(int) for seed in range(200)]
    found = []
    for picture in shown:
        for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            red, green = picture[row, column, :2]
            found += [red if column == 0 else side - 1 - red]
            found += [green if row == 0 else side - 1 - green]
    assert min(found) >= 0
    assert max(found) <= 50
    # torchvision draws uniformly: a quarter of the side at most, an eighth on average.
    assert max(found) >= 47
    assert np.mean(found) == pytest.approx(25, abs=2)
    assert np.array_equal(
        Augmentation([{"perspective": {"distortion": 0, "p": 1}}])(ramp, seed=0), ramp
    )
