"""What another camera or another skin would have made of a picture: frame, color, corners, hair."""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels

Params = dict[str, Any]
HAIR_TINT = (1.0, 0.8, 0.7)  # red, green and blue of a shade: brown to black


class Aspect(A.ImageOnlyTransform):  # type: ignore[misc]
    """Another frame squashed into the square: one side shorter against the other.

    The ratio is drawn from `least` to 1 / `least`, as likely either way; the area stays, and
    borders are mirrored.
    """

    def __init__(self, least: float, *, p: float) -> None:
        super().__init__(p=p)
        self.least = least

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        """The matrix about the middle."""
        height, width = params["shape"][:2]
        most = -np.log(self.least)
        stretch = float(np.exp(self.random_generator.uniform(-most, most) / 2))
        x, y = (width - 1) / 2, (height - 1) / 2
        across, down = stretch, 1 / stretch
        matrix = np.array([[across, 0, x - across * x], [0, down, y - down * y]], np.float64)
        return {"matrix": matrix}

    def apply(self, img: Pixels, matrix: npt.NDArray[np.float64], **_: Any) -> Pixels:
        """The picture through the matrix."""
        height, width = img.shape[:2]
        border = cv2.BORDER_REFLECT_101
        warped = cv2.warpAffine(img, matrix, (width, height), borderMode=border)
        return np.asarray(warped, dtype=np.uint8)


class CameraColor(A.ImageOnlyTransform):  # type: ignore[misc]
    """Another camera's color: a gain for red, green and blue each, and one exponent for all."""

    def __init__(self, gain: float, gamma: float, *, p: float) -> None:
        super().__init__(p=p)
        self.gain, self.gamma = gain, gamma

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        """(256, 3) what becomes of each value."""
        gains = np.exp(self.random_generator.uniform(-self.gain, self.gain, 3))
        exponent = np.exp(self.random_generator.uniform(-self.gamma, self.gamma))
        levels = (np.arange(256) / 255)[:, None] ** exponent * gains
        return {"table": np.clip(np.round(levels * 255), 0, 255).astype(np.uint8)}

    def apply(self, img: Pixels, table: npt.NDArray[np.uint8], **_: Any) -> Pixels:
        """The picture by the table."""
        return np.stack([table[:, c][img[..., c]] for c in range(3)], axis=-1)


class Vignette(A.ImageOnlyTransform):  # type: ignore[misc]
    """Dark corners, as of a lens (a soft edge) or of a dermatoscope's ring (a sharp one)."""

    def __init__(self, darkness: float, *, p: float) -> None:
        super().__init__(p=p)
        self.darkness = darkness

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        """(H, W, 1) by what each pixel is multiplied."""
        height, width = params["shape"][:2]
        x0, y0, start, soft, depth = self.draw_ring()
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        edge = (np.hypot(x - x0, y - y0) - start) / soft
        shade = 1 - depth * np.clip(edge, 0, 1)
        return {"shade": shade[..., None].astype(np.float32)}

    def draw_ring(self) -> tuple[float, float, float, float, float]:
        """Its middle (x, y), where the shade starts, how wide it grows, and how deep it is."""
        draw = self.random_generator.uniform
        return (
            *(draw(-0.1, 0.1), draw(-0.1, 0.1)),
            *(draw(0.85, 1.15), draw(0.03, 0.5), draw(0, self.darkness)),
        )

    def apply(self, img: Pixels, shade: npt.NDArray[np.float32], **_: Any) -> Pixels:
        """The picture under the shade."""
        return np.asarray(np.round(img * shade), dtype=np.uint8)


class Hair(A.ImageOnlyTransform):  # type: ignore[misc]
    """Up to `most` hairs: bent lines from border to border, mostly dark, a pixel or so wide."""

    def __init__(self, most: int, *, p: float) -> None:
        super().__init__(p=p)
        self.most = most

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        """Of each hair its points, shade and width."""
        height, width = params["shape"][:2]
        rng = self.random_generator
        along = np.linspace(0, 1, 12)[:, None]
        hairs = []
        for _ in range(int(rng.integers(1, self.most + 1))):
            angle, middle = rng.uniform(0, np.pi), rng.uniform(0.1, 0.9, 2)
            reach = rng.uniform(0.2, 0.8) * np.array([np.cos(angle), np.sin(angle)])
            first, last = middle - reach, middle + reach
            bend = middle + rng.uniform(-0.3, 0.3, 2)
            curve = (1 - along) ** 2 * first + 2 * along * (1 - along) * bend + along**2 * last
            points = np.round(curve * (width, height)).astype(np.int32)
            hairs.append(
                (points, rng.uniform(10, 90), int(rng.integers(1, 1 + max(1, width // 96))))
            )
        return {"hairs": hairs}

    def apply(self, img: Pixels, hairs: list[Any], **_: Any) -> Pixels:
        """The picture with the hairs over it."""
        drawn = np.ascontiguousarray(img).copy()
        for points, shade, width in hairs:
            color = tuple(shade * share for share in HAIR_TINT)
            cv2.polylines(drawn, [points], False, color, width, lineType=cv2.LINE_AA)
        return drawn
