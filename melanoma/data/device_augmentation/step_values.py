"""What is drawn for a step: arrays and whole numbers by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Images whose whole numbers are equal go through a step together; of arrays each has its own.
Values = dict[str, "npt.NDArray[Any] | np.generic | int"]


def draw_nothing(step: Any, size: int) -> Values:
    """Of a step that happens or does not."""
    return {}
