"""ScoreTable: what a fold's model said of images that it never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma.data.tables import read_table
from melanoma.errors import DataError
from melanoma.storage import write_text

Floats = npt.NDArray[np.float64]
COLUMNS = (
    "image_name",
    "patient_id",
    "group",
    "target",
    "fold",
    "logit",
    "logit_best",
    "logit_last",
)


@dataclass(frozen=True)
class ScoreTable:
    """One row an image, with COLUMNS.

    `logit` belongs to the epoch that is kept for the bundle; `logit_best` to the epoch that had
    this fold's best AUROC, which flatters it; `logit_last` to the last one.
    """

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def target(self) -> npt.NDArray[np.int64]:
        """(N,) of 0 and 1."""
        return self.frame["target"].to_numpy(np.int64)

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """(N,) numbers of the patients (or lesions, or joined duplicates), for the bootstrap."""
        return pd.factorize(self.frame["group"])[0].astype(np.int64)

    def logits(self, column: str = "logit") -> Floats:
        """(N,) float64."""
        return self.frame[column].to_numpy(np.float64)


def concat_scores(tables: Sequence[ScoreTable], names: Sequence[str]) -> ScoreTable:
    """All folds' scores in the order of `names`.

    Raises DataError unless every name is scored exactly once and every logit is finite.
    """
    frame = pd.concat([t.frame for t in tables], ignore_index=True)
    twice = frame["image_name"][frame["image_name"].duplicated()].tolist()
    absent = sorted(set(names) - set(frame["image_name"]))
    foreign = sorted(set(frame["image_name"]) - set(names))
    for found, what in (
        (twice, "scored twice"),
        (absent, "without an out-of-fold score"),
        (foreign, "scored but not in the fold file"),
    ):
        if found:
            raise DataError(f"{len(found)} images {what}: {', '.join(found[:5])}")
    frame = frame.set_index("image_name").loc[list(names)].reset_index()
    if not np.isfinite(frame[["logit", "logit_best", "logit_last"]].to_numpy(np.float64)).all():
        raise DataError("the out-of-fold scores hold a number that is not finite")
    return ScoreTable(frame[list(COLUMNS)])


def save_scores(scores: ScoreTable, path: Path) -> None:
    """Write the table as CSV, with every digit that a float32 logit has."""
    write_text(path, scores.frame.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def load_scores(path: Path) -> ScoreTable:
    """The table that save_scores wrote. Raises DataError when it is not one."""
    frame = read_table(path, needed=COLUMNS)
    try:
        types = {
            "target": int,
            "fold": int,
            "logit": float,
            "logit_best": float,
            "logit_last": float,
        }
        return ScoreTable(frame.astype(types))
    except ValueError as error:
        raise DataError(f"{path} holds a score that is no number: {error}") from error
