"""Lesion tables and fold rules that several tests of splits share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma.data.readers.table import COLUMNS, LesionTable
from melanoma.recipe.sections import Folds

Ints = npt.NDArray[np.int64]
NAMES = ("benign", "melanoma", "nevus", "a rare one", *(f"class {n}" for n in range(4, 25)))


def lesions(
    target: list[int] | Ints,
    patient: list[str] | None = None,
    lesion: list[str] | None = None,
) -> LesionTable:
    frame = pd.DataFrame({"target": np.asarray(target, np.int64)})
    frame["image_name"] = [f"i{row}" for row in range(len(frame))]
    frame["patient_id"] = patient or [f"p{row}" for row in range(len(frame))]
    frame["lesion_id"] = lesion or ""
    frame["label"] = [NAMES[number] for number in frame["target"]]
    for column in ("sex", "site", "source"):
        frame[column] = ""
    frame["age"] = np.nan
    return LesionTable(frame[list(COLUMNS)], Path())


def held(**options: Any) -> Folds:
    return Folds(name="test", **options)
