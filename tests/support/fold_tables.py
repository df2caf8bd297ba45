"""Lesion tables and fold rules that several tests of splits share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma.data.folds import FoldTable
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


def rules(k: int = 5, seed: int = 0, group_by: Literal["patient", "none"] = "patient") -> Folds:
    return Folds(name="test", k=k, seed=seed, group_by=group_by)


def random_lesions(seed: int) -> tuple[LesionTable, int]:
    """Between 60 and 400 images of patients with one or many, and folds that they can fill."""
    rng = np.random.default_rng(seed)
    count, k = int(rng.integers(60, 400)), int(rng.integers(2, 8))
    patients = int(rng.integers(4 * k, count))
    patient = rng.integers(0, patients, count)
    target = (rng.random(count) < rng.uniform(0.1, 0.5)).astype(np.int64)
    names = ["" if rng.random() < 0.1 else f"p{p}" for p in patient]
    lesion = [f"l{rng.integers(count)}" if rng.random() < 0.2 else "" for _ in range(count)]
    return lesions(target, names, lesion), k


def split_groups(folds: FoldTable, column: str) -> int:
    known = folds.frame[folds.frame[column] != ""]
    return int((known.groupby(column)["fold"].nunique() > 1).sum())


def random_classes(seed: int) -> tuple[LesionTable, int]:
    """Four classes, of 4 to 70 %, in patients with one image or many."""
    rng = np.random.default_rng(seed)
    count, k = int(rng.integers(300, 600)), int(rng.integers(2, 6))
    target = rng.choice(4, count, p=[0.7, 0.14, 0.12, 0.04])
    patient = [f"p{p}" for p in rng.integers(0, count // 2, count)]
    return lesions(target, patient), k


def parted(part: list[str], **columns: Any) -> LesionTable:
    table = lesions([row % 2 for row in range(len(part))], **columns)
    return LesionTable(table.frame.assign(part=part), Path("somewhere"))
