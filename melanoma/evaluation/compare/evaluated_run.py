"""Evaluated runs, read back from their folders: oof.csv and report.json, no weights, no images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.data.csv_tables import read_table
from melanoma.errors import DataError, FoldError, WeightsError
from melanoma.evaluation.metrics.bootstrap import Statistic
from melanoma.evaluation.metrics.catalog import (
    auroc,
    average_precision,
    brier_score,
    log_loss,
    macro_auroc,
    sensitivity_at_specificity,
)
from melanoma.types import Floats, Integers

_NEEDED = ("image_name", "group", "target", "fold")


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

    @property
    def by_class(self) -> Floats:
        """(N, C) probabilities in the order of the classes; (N, 0) with one output."""
        names = [
            c for c in map(str, self.frame) if c.startswith("prob_") and "prob_crossfit" not in c
        ]
        return self.frame[names].to_numpy(np.float64)

    def column(self, name: str) -> Floats:
        """(N,) of a column of scores."""
        return self.frame[name].to_numpy(np.float64)


def load_evaluated(folder: Path) -> EvaluatedRun:
    """The run that was evaluated into `folder`.

    Raises WeightsError naming what is absent or broken, DataError for a table that is no oof.csv.
    """
    for name in ("oof.csv", "report.json"):
        if not (folder / name).is_file():
            raise WeightsError(f"{folder} has no {name}; run python -m melanoma.evaluate first")
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
        name, digest = str(report["recipe"]), str(report["digests"]["folds_digest"])
        leaks = tuple(w for w in report["warnings"] if w.startswith("LEAK"))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder / 'report.json'} is damaged or not of an out-of-fold run "
            f"({type(error).__name__}: {error}); run python -m melanoma.evaluate again"
        ) from error
    path = folder / "oof.csv"
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
    the same ones with other targets) were scored: their difference would mean nothing.
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
    return first, replace(second, frame=frame)


@dataclass(frozen=True)
class Metric:
    """What may be compared: a run's Statistic, and how its better side is said."""

    title: str
    better: str  # "A {better} by 0.01"
    higher_is_better: bool
    needs_melanoma: bool
    of: Callable[[EvaluatedRun], Statistic]


def _binary(
    statistic: Callable[[Integers, Floats], Statistic], column: str
) -> Callable[[EvaluatedRun], Statistic]:
    def of(run: EvaluatedRun) -> Statistic:
        assert run.melanoma is not None
        return statistic(run.melanoma, run.column(column))

    return of


# Ranking by the bundle's probability, calibration by the cross-fitted one, as in report.json.
METRICS: dict[str, Metric] = {
    "auroc": Metric("AUROC", "ranks better", True, True, _binary(auroc, "prob")),
    "pr_auc": Metric("PR-AUC", "ranks better", True, True, _binary(average_precision, "prob")),
    "sensitivity_at_specificity_0.9": Metric(
        "sensitivity at specificity 0.9",
        "catches more",
        True,
        True,
        _binary(lambda target, score: sensitivity_at_specificity(0.9, target, score), "prob"),
    ),
    "brier": Metric(
        "Brier score", "predicts better", False, True, _binary(brier_score, "prob_crossfit")
    ),
    "log_loss": Metric(
        "log loss", "predicts better", False, True, _binary(log_loss, "prob_crossfit")
    ),
    "macro_auroc": Metric(
        "macro AUROC",
        "tells the classes apart better",
        True,
        False,
        lambda run: macro_auroc(run.target, run.by_class),
    ),
}


def can_measure(metric: Metric, run: EvaluatedRun) -> bool:
    """Whether the run's table holds the scores that the metric needs."""
    return run.melanoma is not None if metric.needs_melanoma else run.by_class.shape[1] > 1
