"""albumentations' elastic transform, drawn as what its blur leaves of the noise."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

_Field = npt.NDArray[np.float32]
SIGMA = 50.0  # pixels, albumentations' default
_NOTHING = 1e-6  # of the largest singular value: less than a float32 of the field shows


class Elastic(A.ElasticTransform):  # type: ignore[misc]
    """The same in distribution: normal noise, divided by its largest value, blurred by a Gaussian.

    A Gaussian of 50 pixels over a square of 128 leaves a dozen shapes of the field. Their weights
    are normal numbers as the noise itself is, for the shapes are orthonormal; so they are drawn in
    the place of 32,768 numbers and a convolution with 401 a pixel and axis. The largest value is
    drawn from its own distribution: that it depends on a dozen sums of all numbers is neglected.
    """

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """The two maps of cv2.remap."""
        height, width = params["shape"][:2]
        fields = self.draw_left(height, width) @ shapes(width, self.sigma).T
        x, y = _grid(height, width)
        return {"map_x": fields[:height] + x, "map_y": fields[height:] + y}

    def draw_left(self, height: int, width: int) -> _Field:
        """(2 height, r): times shapes(width).T it is both fields, one under the other."""
        # As albumentations does, both fields are blurred as one picture of twice the height.
        down, across = (shapes(length, self.sigma) for length in (2 * height, width))
        weights = self.random_generator.standard_normal(
            (down.shape[1], across.shape[1]), dtype=np.float32
        )
        most = _largest(2 * height * width, self.random_generator.random())
        left: _Field = down @ (weights * np.float32(self.alpha / most))
        return left


def _largest(count: int, share: float) -> float:
    """The quantile of the largest of so many normal numbers' absolute values."""
    return NormalDist().inv_cdf((1 + max(share, 1e-12) ** (1 / count)) / 2)


@lru_cache(maxsize=16)
def _grid(height: int, width: int) -> tuple[_Field, _Field]:
    down, across = np.mgrid[:height, :width].astype(np.float32)
    return across, down


@lru_cache(maxsize=16)
def shapes(length: int, sigma: float) -> _Field:
    """(length, r): what is left of a line of normal numbers is this times r normal numbers."""
    u, s, _ = np.linalg.svd(_blur_matrix(length, sigma))
    rank = int((s > _NOTHING * s[0]).sum())
    factor: _Field = (u[:, :rank] * s[:rank]).astype(np.float32)
    return factor


def _blur_matrix(length: int, sigma: float) -> npt.NDArray[np.float64]:
    """(length, length): cv2.GaussianBlur of a line of floats, its borders replicated."""
    size = round(sigma * 8 + 1) | 1  # what OpenCV takes for floats
    kernel = cv2.getGaussianKernel(size, sigma)[:, 0]
    reach = np.arange(length)[:, None] + np.arange(size) - size // 2
    rows = np.broadcast_to(np.arange(length)[:, None], reach.shape)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (rows, reach.clip(0, length - 1)), np.broadcast_to(kernel, reach.shape))
    return matrix
