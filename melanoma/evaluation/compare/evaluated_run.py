"""Evaluated runs, read back from their folders: oof.csv and report.json, no weights, no images."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.data.csv_tables import read_table, require_columns
from melanoma.errors import DataError, FoldError, WeightsError
from melanoma.evaluation.calibration import by_class
from melanoma.evaluation.score_table import find_out_of_fold
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.storage import read_text
from melanoma.types import Floats, Integers

_NEEDED = ("image_name", "group", "target", "fold")
_BINARY = ("other", "melanoma")


class TableImages(ScoredImages):
    """Images as a table has them: melanoma and its probabilities are columns, digit for digit."""

    @cached_property
    def positive(self) -> Integers:
        """(N,) 1 for a melanoma."""
        column = "melanoma" if "melanoma" in self.table else "target"
        return self.table[column].to_numpy(np.int64)

    @cached_property
    def probability(self) -> Floats:
        """(N,) melanoma probabilities of the bundle."""
        return self.table["prob"].to_numpy(np.float64)

    @cached_property
    def crossfit_probability(self) -> Floats:
        """(N,) melanoma probabilities by the cross-fitted calibration."""
        return self.table["prob_crossfit"].to_numpy(np.float64)


@dataclass(frozen=True)
class EvaluatedRun:
    """A run's out-of-fold table and what its report says of itself.

    `frame` has oof.csv's columns, scores as numbers; `leaks` are the report's warnings of them.
    """

    folder: Path
    name: str
    folds_digest: str
    frame: pd.DataFrame
    leaks: tuple[str, ...] = ()

    @property
    def target(self) -> Integers:
        """(N,) numbers of the classes."""
        return self.frame["target"].to_numpy(np.int64)

    @property
    def melanoma(self) -> Integers | None:
        """(N,) of 0 and 1: oof.csv's `melanoma`, or with two classes the target; None without."""
        if "prob" not in self.frame:
            return None
        column = "melanoma" if "melanoma" in self.frame else "target"
        return self.frame[column].to_numpy(np.int64)

    @property
    def groups(self) -> Integers:
        """(N,) numbers of what the bootstrap draws."""
        return pd.factorize(self.frame["group"])[0].astype(np.int64)

    @cached_property
    def images(self) -> ScoredImages:
        """The run's scores as those that a report is measured on.

        Raises DataError where the table lacks probabilities.
        """
        names = tuple(
            column.removeprefix("prob_")
            for column in map(str, self.frame)
            if column.startswith("prob_") and not column.startswith("prob_crossfit")
        )
        columns = [f"prob_{name}" for name in names] or ["prob"]
        crossfit = [column.replace("prob", "prob_crossfit", 1) for column in columns]
        require_columns(self.frame.columns, columns + crossfit, origin=str(self.folder / "oof.csv"))
        classes, melanoma = names or _BINARY, _BINARY[1:]
        if names:
            own = self.target[self.melanoma == 1] if self.melanoma is not None else self.target[:0]
            melanoma = tuple(names[number] for number in np.unique(own))
        counts = np.bincount(self.target, minlength=len(classes))
        return TableImages(
            self.frame,
            classes,
            melanoma,
            by_class(self.frame[columns].to_numpy(np.float64)),
            by_class(self.frame[crossfit].to_numpy(np.float64)),
            tuple((counts / len(self.frame)).tolist()),
        )

    def column(self, name: str) -> Floats:
        """(N,) of a column of scores."""
        return self.frame[name].to_numpy(np.float64)


def load_evaluated(folder: Path) -> EvaluatedRun:
    """The run that was evaluated into `folder`.

    Raises WeightsError naming what is absent or broken, DataError for a table that is no oof.csv.
    """
    path = find_out_of_fold(folder)
    for file in (path, folder / "report.json"):
        if not file.is_file():
            raise WeightsError(
                f"{folder} has no {file.name}; run python -m melanoma.evaluate first"
            )
    try:
        report: dict[str, Any] = json.loads(read_text(folder / "report.json"))
        name, digest = str(report["recipe"]), str(report["digests"]["folds_digest"])
        leaks = tuple(w for w in report["warnings"] if w.startswith("LEAK"))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder / 'report.json'} is damaged or not of an out-of-fold run "
            f"({type(error).__name__}: {error}); run python -m melanoma.evaluate again"
        ) from error
    frame = read_table(path, needed=_NEEDED)
    whole = ("target", "melanoma", "fold")
    numbers = [c for c in map(str, frame) if c in whole or c.startswith("prob")]
    for column in numbers:
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
        if not np.isfinite(frame[column]).all():
            raise DataError(f"{path}: column {column} holds a value that is no number")
    return EvaluatedRun(folder, name, digest, frame, leaks)


def pair_runs(first: EvaluatedRun, second: EvaluatedRun) -> tuple[EvaluatedRun, EvaluatedRun]:
    """Both runs with their rows in the first one's order, image by image.

    Raises FoldError when they were held out by different folds, DataError when other images (or
    the same ones with other targets, or other classes counted as melanoma) were scored: their
    difference would mean nothing.
    """
    if first.folds_digest != second.folds_digest:
        raise FoldError(
            f"{first.folder} and {second.folder} were trained on different folds (digests "
            f"{first.folds_digest[:12]} and {second.folds_digest[:12]}); train one of them again "
            "with the other's --folds"
        )
    names, others = first.frame["image_name"], second.frame["image_name"]
    odd = sorted(set(names) ^ set(others))
    if odd or len(names) != len(others) or names.duplicated().any():
        raise DataError(
            f"{first.folder} and {second.folder} did not score the same images: {len(names):,} "
            f"and {len(others):,} rows, {len(odd):,} images in one of them only "
            f"({', '.join(odd[:3])})"
        )
    frame = second.frame.set_index("image_name", drop=False).loc[names].reset_index(drop=True)
    for column in ("target", "group"):
        if (frame[column] != first.frame[column]).any():
            raise DataError(f"{first.folder} and {second.folder} differ in {column}")
    paired = replace(second, frame=frame)
    ours, theirs = first.melanoma, paired.melanoma
    if ours is not None and theirs is not None and (ours != theirs).any():
        raise DataError(
            f"{first.folder} and {second.folder} do not count the same classes as melanoma: "
            f"{int(ours.sum()):,} and {int(theirs.sum()):,} images of {len(ours):,}"
        )
    return first, paired
