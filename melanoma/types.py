"""Names of types that many modules share: arrays of numbers, and what shows progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
# An iterable that shows how far it is: progress(parts, desc="score", unit="images").
Progress = Callable[..., Iterable[Any]]
