"""The parts that a data set brings along: its own test folder, and its own validation folder."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melanoma.data.readers.table import LesionTable
from melanoma.errors import FoldError
from melanoma.recipe.sections import Folds
from melanoma.types import Flags


def has_own_split(table: LesionTable, rules: Folds) -> bool:
    """Whether the data brings along its validation images, which are then held out, and its test
    images, which are then the test part."""
    own = "part" in table.frame and (table.frame["part"] == "valid").any()
    return bool(own) and rules.own_validation == "split"


def require_own_classes(part: pd.Series, table: LesionTable) -> None:
    """Raise FoldError where the data's own training or validation part lacks a class."""
    if faults := lacking_classes(part, table):
        raise FoldError(f"{table.folder}: {'; '.join(faults)}")


def lacking_classes(part: pd.Series, table: LesionTable) -> list[str]:
    """What is wrong where the data's own training or validation part lacks a class."""
    frame, faults = table.frame.reset_index(drop=True), []
    labeled = frame["target"] >= 0
    for name in ("train", "valid"):
        held = set(frame["target"][part == name])
        lacking = frame["label"][labeled & ~frame["target"].isin(held)].drop_duplicates()
        if len(lacking):
            faults.append(
                f"its own {name} part has no image of {', '.join(lacking)}; "
                "--set folds.own_validation=pooled makes folds of both parts"
            )
    return faults


def own_test(part: pd.Series | None, table: LesionTable) -> Flags:
    """Rows of the data's own test part. Raises FoldError where there is none."""
    if part is None or not (part == "test").any():
        raise FoldError(
            f"folds.holdout: {table.folder} has no test part of its own (train/ and test/, or "
            "HAM10000_images_train/ and HAM10000_images_test/); a share such as 0.2 makes one"
        )
    return (part == "test").to_numpy(dtype=np.bool_)


def describe_own_parts(table: LesionTable, rules: Folds) -> list[str]:
    """What becomes of the data's own parts, a sentence."""
    if "part" not in table.frame:
        return []
    own = table.frame["part"].value_counts()
    if has_own_split(table, rules):
        return [
            f"note: the data's own parts are the split ({own.get('train', 0):,} images to train, "
            f"{own['valid']:,} held out, {own.get('test', 0):,} in the test part), whatever "
            "folds.k says; folds.own_validation=pooled makes folds of them"
        ]
    if rules.holdout in ("folders", "supplied"):
        return []
    return [
        f"note: the data's own test part ({own.get('test', 0):,} images) is among the others here; "
        "folds.holdout=folders keeps it apart"
    ]
