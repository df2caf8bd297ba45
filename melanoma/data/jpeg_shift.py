"""A shift of brightness in the middle of a JPEG, which damaged data leaves behind.

Each block's brightness is stored as its difference from the block before. Bytes that are wrong and
still decode, without a word from libjpeg, shift every block that follows: a step along the top of
the rest of one row of blocks and of the beginning of the next. No edge in a photograph runs so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from melanoma.types import Floats

# benchmarks/jpeg_shift.py: no sound photograph of 24,370 reaches 2.7, half of the damaged ones do.
MIN_CLEARNESS = 3.5
_MIN_LEVELS = 3.0  # of the step; less is no harm
_LIKELY = 1.5  # levels, in the mean; steps below are not looked at
_MOST = 10.0
_MIN_BLOCKS = 16  # along a row; in smaller pictures a drawn line may run so


def clearest_step(blocks: npt.NDArray[np.uint8], *, rows: int) -> float:
    """How clear the clearest step is: its height over whatever else is there, 0 where none is.

    `blocks` (h, w) are the mean brightness of a JPEG's blocks, of which `rows` rows are coded
    together.
    """
    levels = blocks.astype(np.float64)
    height, width = levels.shape
    # The slopes are those next to it, where the next step is not already.
    gap = 2 if rows == 1 else 1
    tops = np.arange(rows, height - gap, rows)
    tops = tops[tops > gap]
    if len(tops) < 2 or width < _MIN_BLOCKS:
        return 0.0
    down = np.diff(levels, axis=0)
    # Less the slope on both sides of it, which a photograph has everywhere.
    steps = down[tops - 1] - (down[tops - 1 - gap] + down[tops - 1 + gap]) / 2
    sums = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
    edge = max(2, width // 16)
    cuts = np.arange(edge, width - edge + 1)
    # Along the right part of a row and the left part of the next, and along the two other parts.
    along = sums[:-1, -1:] - sums[:-1, cuts] + sums[1:, cuts]
    beside = sums[:-1, cuts] + sums[1:, -1:] - sums[1:, cuts]
    likely = (np.abs(along) - np.abs(beside)) / width
    best = likely.argmax(axis=1)
    rows_of = np.flatnonzero(likely.max(axis=1) >= _LIKELY)
    clearness = [_clearness(steps[n], steps[n + 1], int(cuts[best[n]])) for n in rows_of]
    return max(clearness, default=0.0)


def _clearness(one: Floats, below: Floats, cut: int) -> float:
    """Of the step along `one`, (w,), from `cut` on and along `below` up to there."""
    left, right = below[:cut], one[cut:]
    stepped, others = np.concatenate([left, right]), np.concatenate([one[:cut], below[cut:]])
    size = float(np.median(stepped))
    near = abs(size) / 2
    if abs(size) < _MIN_LEVELS or any(abs(np.median(p) - size) >= near for p in (left, right)):
        return 0.0
    spread = max(float(np.median(np.abs(stepped - size))), float(np.median(np.abs(others)))) + 0.5
    share = min(np.mean(np.abs(stepped - size) < near), np.mean(np.abs(others) < near))
    return float(share) * min(abs(size) / spread, _MOST)
