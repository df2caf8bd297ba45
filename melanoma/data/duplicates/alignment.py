"""Two photographs laid over each other at 64 px: the motion between them, and their likeness."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from melanoma.data.duplicates.fingerprints import (
    SIDE,
    VIEWS,
    WINDOWS,
    Floats32,
    View,
    flatten_light,
)
from melanoma.data.images import Pixels

_WORTH_FITTING = 0.30  # correlation before the motion is fitted
_FIRST_STEPS = 2
_WORTH_MORE_STEPS = 0.52  # after those; of ten strangers seven have less
_WORTH_COMPARING = 0.60  # and at the end; nearly all planted copies have 0.75
_BORDER = 3  # pixels that a crop's edge may spoil
_STEPS = 25


class Fit(NamedTuple):
    """How alike an image and its neighbor are once it is seen in `view` and moved by `motion`."""

    similarity: float
    view: View
    motion: Floats32


class Laid(NamedTuple):
    """An image's grey levels, and its shapes (to fit a motion to)."""

    grey: Floats32
    shapes: Floats32

    @classmethod
    def of(cls, levels: Pixels) -> Laid:
        grey = levels.astype(np.float32)
        blurred = cv2.GaussianBlur(grey, (0, 0), 0.7)
        return cls(grey, flatten_light(blurred, reach=3, floor=4))


def _detail(grey: Floats32) -> Floats32:
    # Blurred first: the finest that JPEG leaves is its own. Then a short reach and a low floor: two
    # round moles on bare skin have the same outline, and only what is inside tells them apart.
    return flatten_light(cv2.GaussianBlur(grey, (0, 0), 1.0), reach=2, floor=2)


def lay_over(image: Laid, target: Laid, guesses: list[int]) -> Fit | None:
    """How `target` comes out of `image`; None where it plainly does not.

    `guesses` number the views and windows to begin with: view * windows + window.
    """
    best, view, motion = -1.0, VIEWS[0], _motion_of(WINDOWS[0])
    for guess in guesses:
        seen, window = VIEWS[guess // len(WINDOWS)], WINDOWS[guess % len(WINDOWS)]
        moved = _motion_of(seen.window(window))
        alike = _correlation(_moved(seen.of(image.shapes), moved), target.shapes)
        if alike > best:
            best, view, motion = alike, seen, moved
    if best < _WORTH_FITTING:
        return None
    shapes = view.of(image.shapes)
    begun = _fitted(shapes, target.shapes, motion, steps=_FIRST_STEPS)
    if _correlation(_moved(shapes, begun), target.shapes) < _WORTH_MORE_STEPS:
        return None
    motion = _fitted(shapes, target.shapes, motion, steps=_STEPS)
    if _correlation(_moved(shapes, motion), target.shapes) < _WORTH_COMPARING:
        return None
    detail = _detail(_moved(view.of(image.grey), motion))
    return Fit(_correlation(detail, _detail(target.grey)), view, motion)


def _fitted(image: Floats32, target: Floats32, motion: Floats32, *, steps: int) -> Floats32:
    """The motion that lays `image` over `target` best; as it was where there is none."""
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-3)
    try:
        # OpenCV's stubs forget that there may be no mask.
        _, fitted = cv2.findTransformECC(  # type: ignore[call-overload]
            target, image, motion.copy(), cv2.MOTION_AFFINE, until, None, 3
        )
    except cv2.error:
        return motion  # it did not converge
    return fitted.astype(np.float32, copy=False) if _is_plain(fitted) else motion


def _motion_of(window: tuple[float, float, float]) -> Floats32:
    """(2, 3): from a pixel of the target to the pixel of the image that it shows."""
    top, left, share = window
    edge = (share - 1) / 2
    return np.array(
        [[share, 0, left * SIDE + edge], [0, share, top * SIDE + edge]], dtype=np.float32
    )


def _is_plain(motion: Floats32) -> bool:
    """A crop of one photograph neither shears, nor turns, nor grows."""
    scales, turns = (motion[0, 0], motion[1, 1]), (motion[0, 1], motion[1, 0])
    return all(0.7 < s < 1.1 for s in scales) and all(abs(t) < 0.08 for t in turns)


def _moved(image: Floats32, motion: Floats32) -> Floats32:
    return cv2.warpAffine(
        image,
        motion,
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    ).astype(np.float32, copy=False)


def _correlation(one: Floats32, other: Floats32) -> float:
    inner = slice(_BORDER, -_BORDER)
    return float(cv2.computeECC(one[inner, inner], other[inner, inner]))  # 0 where one is flat


_TURNS = {
    (False, False, False): "",
    (False, False, True): "mirrored",
    (False, True, False): "mirrored and rotated 180",
    (False, True, True): "rotated 180",
    (True, False, False): "mirrored and rotated 270",
    (True, False, True): "rotated 90",
    (True, True, False): "rotated 270",
    (True, True, True): "mirrored and rotated 90",
}


def relation_of(fit: Fit) -> str:
    """What was done to the first to get the second (or, where it was cropped, the reverse)."""
    share = float(np.sqrt(abs(fit.motion[0, 0] * fit.motion[1, 1])))
    crop = f"cropped to {share:.0%}".replace("%", " %") if share < 0.985 else ""
    return ", ".join(part for part in (_TURNS[fit.view], crop) if part) or "re-saved"
