"""How strongly a photograph was compressed: the steps that JPEG leaves between its blocks.

JPEG keeps 8 x 8 pixels together. At low qualities each such block is nearly even, and the picture
jumps from one to the next, whatever the file is saved as afterwards. A lesion's borders and nets
are gone then: its score falls, and the square's own sharpness does not show it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

STRONG = "strong_compression"  # the warning's code
_BLOCK = 8
_LEAST = 48  # pixels a side: fewer blocks tell nothing
_MOST = 1024  # of the shorter side: a larger picture's blocks vanish when it is made small
_STEP = 1.7  # gray levels; benchmarks/quality.py counts what that stops
_BESIDE = 0.35  # of the change between neighbors inside a block


def is_strongly_compressed(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether (H, W, 3) uint8 RGB jumps at every eighth row and column by 1.7 gray levels more
    than anywhere else, and by a third more than there."""
    height, width = pixels.shape[:2]
    if not _LEAST <= min(height, width) < _MOST:
        return False
    gray = cv2.cvtColor(pixels[: 2 * _MOST, : 2 * _MOST], cv2.COLOR_RGB2GRAY)
    return all(_jumps(one) for one in (gray, gray.T))


def compression_warnings(pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """What a caller should be warned of: STRONG, or nothing."""
    return (STRONG,) if is_strongly_compressed(pixels) else ()


def _jumps(gray: npt.NDArray[np.generic]) -> bool:
    left, right = (np.ascontiguousarray(part) for part in (gray[:, :-1], gray[:, 1:]))
    # Whole numbers, so that the mean is numpy's to the last bit, and ten times as fast.
    sums = cv2.reduce(cv2.absdiff(left, right), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    changes = sums[0].astype(np.float64) / len(gray)
    whole = len(changes) // _BLOCK * _BLOCK
    *others, next_largest, largest = np.sort(changes[:whole].reshape(-1, _BLOCK).mean(axis=0))
    step = float(largest - next_largest)
    return step > max(_STEP, _BESIDE * float(np.mean([*others, next_largest])))
