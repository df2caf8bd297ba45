"""A photograph seen from a slant."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels


class Perspective(A.ImageOnlyTransform):  # type: ignore[misc]
    """The view from a slant: each corner lies inward by up to `distortion` of half the side.

    The distances are torchvision's RandomPerspective; but what lies between the corners fills the
    square, where torchvision shrinks the picture into them and leaves black wedges.
    """

    def __init__(self, distortion: float, *, p: float) -> None:
        super().__init__(p=p)
        self.distortion = distortion

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Four corners, and the matrix that spreads them over the square."""
        height, width = params["shape"][:2]
        square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (width - 1, height - 1)
        inward = self.random_generator.uniform(0, self.distortion / 2, (4, 2)) * (width, height)
        corners = square + inward * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
        matrix = cv2.getPerspectiveTransform(corners.astype("f4"), square.astype("f4"))
        return {"matrix": matrix}

    def apply(self, img: Pixels, matrix: npt.NDArray[np.float64], **_: Any) -> Pixels:
        """The picture through the matrix."""
        height, width = img.shape[:2]
        warped = cv2.warpPerspective(img, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, dtype=np.uint8)
