"""albumentations' elastic transform, its smooth field made some ten times faster."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

_Field = npt.NDArray[np.float32]
_NOTHING = 1e-6  # of the largest singular value: less than a float32 of the field shows


class Elastic(A.ElasticTransform):  # type: ignore[misc]
    """The same noise, blurred by the same Gaussian to rounding.

    A Gaussian of 50 pixels over a square of 128 leaves a dozen shapes of the field, so that the
    blur is two thin matrix products instead of a convolution with 401 numbers a pixel and axis.
    """

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """The two maps of cv2.remap."""
        height, width = params["shape"][:2]
        noise = self.random_generator.standard_normal((2, height, width), dtype=np.float32)
        noise /= max(float(np.abs(noise).max()), 1e-6)
        # As albumentations does, both fields are blurred as one picture of twice the height.
        fields = _blur(noise.reshape(2 * height, width), self.sigma)
        fields *= self.alpha
        across, down = _grid(height, width)
        return {"map_x": fields[:height] + across, "map_y": fields[height:] + down}


@lru_cache(maxsize=16)
def _grid(height: int, width: int) -> tuple[_Field, _Field]:
    down, across = np.mgrid[:height, :width].astype(np.float32)
    return across, down


def _blur(field: _Field, sigma: float) -> _Field:
    """cv2.GaussianBlur(field, (0, 0), sigma) with replicated borders."""
    (left, down), (right, across) = (_factors(n, sigma) for n in field.shape)
    found: _Field = left @ (down @ field @ across.T) @ right.T
    return found


@lru_cache(maxsize=16)
def _factors(length: int, sigma: float) -> tuple[_Field, _Field]:
    """(length, r) and (r, length), whose product blurs a line of that length."""
    size = round(sigma * 8 + 1) | 1  # what OpenCV takes for floats
    kernel = cv2.getGaussianKernel(size, sigma)[:, 0]
    reach = np.arange(length)[:, None] + np.arange(size) - size // 2
    matrix = np.zeros((length, length))
    rows = np.broadcast_to(np.arange(length)[:, None], reach.shape)
    np.add.at(matrix, (rows, reach.clip(0, length - 1)), np.broadcast_to(kernel, reach.shape))
    u, s, v = np.linalg.svd(matrix)
    rank = int((s > _NOTHING * s[0]).sum())
    return (u[:, :rank] * s[:rank]).astype(np.float32), v[:rank].astype(np.float32)
