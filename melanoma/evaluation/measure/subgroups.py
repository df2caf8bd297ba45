"""Subgroups: the same metrics by age, sex, site, or any column of the fold file.

A model can be right on average and wrong for the old. Skin tone is in no table that we read, so it
is in none of these: that it is unknown is for the model card to say, and is never inferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from melanoma.errors import DataError
from melanoma.evaluation.metrics.bootstrap import Interval, Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.decisions import sensitivity_at, specificity_at
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.metrics.weighted_sums import mean
from melanoma.evaluation.report.schema_parts import Measured, SubgroupLine
from melanoma.types import Flags, Floats, Integers

REFERENCE = "reference_standard"  # how the diagnosis of an image was established
HISTOLOGY = "histology"
COLUMNS = (REFERENCE, "age", "sex", "site")
# What tables call it, and what they call a diagnosis by a pathologist.
_REFERENCE_COLUMNS = (REFERENCE, "dx_type", "diagnosis_confirm_type")
_HISTOLOGY_VALUES = ("histo", "histopathology", HISTOLOGY)
SMALLEST = 20  # images, for any metric
SMALLEST_CLASS = 5  # melanomas for a sensitivity, others for a specificity, both for an AUROC
UNKNOWN = "unknown"
_MOST_VALUES = 12
_AGES = (30, 40, 50, 60, 70, 80)
_NONE = Measured(value=None)


def with_reference(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a column `reference_standard`, where the table has one of its names; what a
    pathologist established is "histology", the rest as the table says it."""
    column = next((name for name in _REFERENCE_COLUMNS if name in frame), None)
    if column is None:
        return frame
    values = frame[column].astype("string").fillna("").str.strip()
    known = values.str.lower().isin(_HISTOLOGY_VALUES)
    return frame.assign(**{REFERENCE: values.mask(known, HISTOLOGY).astype(object)})


def subgroups(
    frame: pd.DataFrame,
    target: Integers,
    probability: Floats,
    threshold: float,
    groups: Integers,
    *,
    crossfit: Floats,
    columns: Sequence[str] = COLUMNS,
    resamples: int,
    seed: int,
) -> list[SubgroupLine]:
    """One line a value of each column, in the order of `columns`; ages ascending, unknown last.

    `frame` is the fold table with the rows of the arrays; `target` is 1 for melanoma. Ranking and
    threshold use `probability` (the bundle's), calibration `crossfit`. Ages come in decades, other
    numbers in quartiles, text by its values, the rarest joined beyond 12. A metric is null, and
    `note` says so, below 20 images, or below 5 melanomas (sensitivity), 5 others (specificity) or 5
    of either (AUROC). Intervals draw the subgroup's own patients.

    Raises DataError for a column that the fold file does not hold.
    """
    require_reported(columns, frame)
    lines = []
    for column in dict.fromkeys(columns):
        for value, members in split_column(frame[column], ages=column == "age"):
            part = _Part(target[members], probability[members], crossfit[members])
            statistics = part.statistics(threshold)
            clusters = np.unique(groups[members], return_inverse=True)[1]
            rng = np.random.default_rng(seed)
            measured = bootstrap_intervals(statistics, clusters, resamples=resamples, rng=rng)
            lines.append(part.line(column, value, measured))
    return lines


def require_reported(columns: Sequence[str], frame: pd.DataFrame) -> None:
    """Raises DataError for a column to report by that the table lacks: before a report is computed
    or images are scored, which take minutes."""
    lacking = [column for column in columns if column not in frame]
    if lacking:
        raise DataError(
            f"the fold file has no column {', '.join(lacking)} to report by; "
            f"it has {', '.join(map(str, frame.columns))}"
        )


def split_column(values: pd.Series, *, ages: bool = False) -> Iterator[tuple[str, Flags]]:
    """(name, (N,) who belongs to it) for each part of a column; every row is in exactly one.

    A column is numeric when every known value is a number; up to 12 of them are parts themselves.
    """
    text = values.astype("string").fillna("").str.strip()
    known = ((text != "") & (text.str.lower() != UNKNOWN)).to_numpy(bool)
    numbers = pd.to_numeric(text.where(known), errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    numeric = bool(np.isfinite(numbers[known]).all())
    if ages:
        known &= np.isfinite(numbers)
        yield from _bands(numbers, known)
    elif numeric and len(np.unique(numbers[known])) > _MOST_VALUES:
        yield from _quartiles(numbers, known)
    elif numeric:
        for number in np.unique(numbers[known]):
            yield f"{number:,.8g}", known & (numbers == number)
    else:
        yield from _values(text, known)
    if not known.all():
        yield UNKNOWN, ~known


def _bands(ages: Floats, known: Flags) -> Iterator[tuple[str, Flags]]:
    """Under 30, then decades, then 80 and over: outside these a decade holds hardly anyone."""
    for low, high in pairwise((-np.inf, *_AGES, np.inf)):
        members = known & (ages >= low) & (ages < high)
        name = f"{low:g} to {high - 1:g}"
        if low == -np.inf:
            name = f"under {high:g}"
        elif high == np.inf:
            name = f"{low:g} and over"
        if members.any():
            yield name, members


def _quartiles(numbers: Floats, known: Flags) -> Iterator[tuple[str, Flags]]:
    """Four parts of like size, named by their least and greatest value; ties stay together."""
    edges = np.quantile(numbers[known], [0.25, 0.5, 0.75])
    part = np.searchsorted(edges, numbers, side="left")
    for number in range(4):
        members = known & (part == number)
        if members.any():
            yield f"{numbers[members].min():,.8g} to {numbers[members].max():,.8g}", members


def _values(text: pd.Series, known: Flags) -> Iterator[tuple[str, Flags]]:
    """Each value, most frequent first; the rarest joined where there are more than 12."""
    counts = text[known].value_counts()
    order = sorted(counts.index, key=lambda value: (-counts[value], value))
    own = order if len(order) <= _MOST_VALUES else order[: _MOST_VALUES - 1]
    for value in own:
        yield value, known & (text == value).to_numpy(bool)
    rest = order[len(own) :]
    if rest:
        yield f"other ({len(rest)} values)", known & text.isin(rest).to_numpy(bool)


class _Part:
    """The images of one subgroup, and which metrics they are enough for."""

    def __init__(self, target: Integers, probability: Floats, crossfit: Floats) -> None:
        self.target, self.probability, self.crossfit = target, probability, crossfit
        self.images, self.positives = len(target), int(target.sum())
        self.negatives = self.images - self.positives
        self.enough = self.images >= SMALLEST

    def statistics(self, threshold: float) -> dict[str, Statistic]:
        """The metrics that this many images, melanomas and others allow."""
        target, probability = self.target, self.probability
        positives = self.enough and self.positives >= SMALLEST_CLASS
        negatives = self.enough and self.negatives >= SMALLEST_CLASS
        every: dict[str, tuple[bool, Statistic]] = {
            "auroc": (positives and negatives, auroc(target, probability)),
            "sensitivity": (positives, sensitivity_at(threshold, target, probability)),
            "specificity": (negatives, specificity_at(threshold, target, probability)),
            "calibration_gap": (self.enough, mean(target - self.crossfit)),
        }
        return {name: statistic for name, (allowed, statistic) in every.items() if allowed}

    def line(self, column: str, value: str, measured: Mapping[str, Interval]) -> SubgroupLine:
        """The line of report.json: null for what was not measured, and a note that says why."""
        figures = {name: interval.measured() for name, interval in measured.items()}
        return SubgroupLine(
            column=column,
            value=value,
            images=self.images,
            positives=self.positives,
            auroc=figures.get("auroc", _NONE),
            sensitivity=figures.get("sensitivity", _NONE),
            specificity=figures.get("specificity", _NONE),
            mean_predicted=float(self.crossfit.mean()) if self.enough else None,
            observed=self.positives / self.images if self.enough else None,
            calibration_gap=figures.get("calibration_gap", _NONE),
            note=self._note(),
        )

    def _note(self) -> str:
        if not self.enough:
            return f"too small: {self.images} images, {SMALLEST} are needed"
        few = [
            f"{count} {what} ({SMALLEST_CLASS} are needed for a {metric})"
            for count, what, metric in (
                (self.positives, "melanoma" if self.positives == 1 else "melanomas", "sensitivity"),
                (self.negatives, "without melanoma", "specificity"),
            )
            if count < SMALLEST_CLASS
        ]
        return f"too few for an AUROC: {' and '.join(few)}" if few else ""
