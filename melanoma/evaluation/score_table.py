"""ScoreTable: what a fold's model said of images that it never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.data.csv_tables import read_table, require_columns
from melanoma.data.readers.labels import names_of
from melanoma.errors import DataError
from melanoma.storage import write_text
from melanoma.types import Floats, Integers

COLUMNS = ("image_name", "patient_id", "group", "label", "target", "fold")
LOGITS = ("logit", "logit_best", "logit_last")
OUT_OF_FOLD = "oof.csv"


@dataclass(frozen=True)
class ScoreTable:
    """One row an image: COLUMNS, then the logits.

    `target` is the number of `label` in `classes`. `logit` belongs to the epoch that is kept for
    the bundle; `logit_best` to the epoch that had this fold's best metric, which flatters it;
    `logit_last` to the last one. With one output they are columns of these names, with several one
    column a class: logit_NAME, logit_best_NAME, logit_last_NAME.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def target(self) -> Integers:
        """(N,) class numbers."""
        return self.frame["target"].to_numpy(np.int64)

    @property
    def groups(self) -> Integers:
        """(N,) numbers of the patients (or lesions, or joined duplicates), for the bootstrap."""
        return pd.factorize(self.frame["group"])[0].astype(np.int64)

    def columns(self, column: str = "logit") -> list[str]:
        """The columns of one of LOGITS: one an output."""
        return [column] if column in self.frame else logit_columns(column, self.classes)

    def logits(self, column: str = "logit") -> Floats:
        """(N, outputs) float64: one of the second of two classes, or one a class."""
        return self.frame[self.columns(column)].to_numpy(np.float64)


def find_out_of_fold(folder: Path) -> Path:
    """A run's oof.csv: as evaluate writes it, or oof.csv.gz, as it is published.

    Raises DataError where both are there: one of them is not the report's.
    """
    plain, packed = folder / OUT_OF_FOLD, folder / f"{OUT_OF_FOLD}.gz"
    if plain.is_file() and packed.is_file():
        raise DataError(
            f"{folder} holds {plain.name} and {packed.name}; remove the one that is older"
        )
    return packed if packed.is_file() else plain


def logit_columns(column: str, classes: Sequence[str]) -> list[str]:
    """The columns of one of LOGITS where there are several outputs."""
    return [f"{column}_{name}" for name in classes]


def make_scores(
    held_out: pd.DataFrame, classes: Sequence[str], logits: Mapping[str, Floats]
) -> ScoreTable:
    """The table of a fold's held-out rows; `logits` has each of LOGITS as (N, outputs)."""
    columns: dict[str, Floats] = {}
    for name, values in ((name, logits[name]) for name in LOGITS):
        own = [name] if values.shape[1] == 1 else logit_columns(name, classes)
        columns |= dict(zip(own, values.T, strict=True))
    frame = held_out[list(COLUMNS)].reset_index(drop=True)
    # At once: column by column, pandas warns of a frame of a hundred.
    return ScoreTable(
        pd.concat([frame, pd.DataFrame(columns, frame.index)], axis=1), tuple(classes)
    )


def concat_scores(tables: Sequence[ScoreTable], names: Sequence[str]) -> ScoreTable:
    """All folds' scores in the order of `names`.

    Raises DataError unless every name is scored exactly once, by the same classes, and every logit
    is finite.
    """
    if any(t.classes != tables[0].classes for t in tables):
        raise DataError("the folds were scored by different classes")
    frame = pd.concat([t.frame for t in tables], ignore_index=True)
    twice = frame["image_name"][frame["image_name"].duplicated()].tolist()
    absent = sorted(set(names) - set(frame["image_name"]))
    foreign = sorted(set(frame["image_name"]) - set(names))
    for image_names, what in (
        (twice, "scored twice"),
        (absent, "without an out-of-fold score"),
        (foreign, "scored but not in the fold file"),
    ):
        if image_names:
            raise DataError(f"{len(image_names)} images {what}: {', '.join(image_names[:5])}")
    frame = frame.set_index("image_name").loc[list(names)].reset_index()
    scores = ScoreTable(frame[list(tables[0].frame.columns)], tables[0].classes)
    for column in LOGITS:
        finite = np.isfinite(scores.logits(column).reshape(len(frame), -1)).all(axis=1)
        if not finite.all():
            folds = ", ".join(map(str, np.unique(frame["fold"].to_numpy(np.int64)[~finite])))
            raise DataError(
                f"{int((~finite).sum())} out-of-fold scores ({column}) are not finite, in fold "
                f"{folds}: training diverged, or oof.csv was changed; lower optimizer.rate and "
                "train it again with --resume never"
            )
    return scores


def save_scores(scores: ScoreTable, path: Path) -> None:
    """Write the table as CSV, with every digit that a float32 logit has."""
    write_text(path, scores.frame.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def load_scores(path: Path, classes: Sequence[str]) -> ScoreTable:
    """The table that save_scores wrote. Raises DataError when it is not one of these classes."""
    needed = [column for column in COLUMNS if column != "label"]
    frame = read_table(path, needed=needed)
    # Two classes may have one output or two: the file says which.
    if len(classes) == 2 and "logit" in frame:
        logits = list(LOGITS)
    else:
        logits = [name for column in LOGITS for name in logit_columns(column, classes)]
    require_columns(frame.columns, [*needed, *logits], origin=str(path))
    try:
        frame = frame.astype({"target": int, "fold": int, **dict.fromkeys(logits, float)})
    except ValueError as error:
        raise DataError(f"{path} holds a score that is no number: {error}") from error
    if not frame["target"].between(0, len(classes) - 1).all():
        raise DataError(f"{path} holds a target that is none of {', '.join(classes)}")
    if "label" not in frame:  # as the first version wrote it, for two classes
        frame["label"] = names_of(frame["target"], classes)
    return ScoreTable(frame[[*COLUMNS, *logits]], tuple(classes))
