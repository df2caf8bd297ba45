"""ScoredImages: images with what a model says of them. Every number of a report comes from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from melanoma.recipe.sections import Risk
from melanoma.types import Floats, Integers

if TYPE_CHECKING:  # a service knows this module and needs no pandas, which takes long to import
    import pandas as pd

NO_FOLD = -1  # of images that no fold held out: an external set


class Lesions(NamedTuple):
    """The lesions of known patients, (M,) each: the first image's row, the patient's number, 1 for
    melanoma, and the mean melanoma probability of its photographs. `images` counts all rows, and
    `lesion` (N,) numbers each row's lesion, -1 without a known patient."""

    row: Integers
    patient: Integers
    positive: Integers
    score: Floats
    images: int
    lesion: Integers


@dataclass(frozen=True)
class ScoredImages:
    """One row an image.

    `table` holds the fold file's columns (image_name, patient_id, group, label, target, fold, age,
    sex, site and whatever else it has). `by_class` (N, C) are the probabilities as the bundle gives
    them; `crossfit` (N, C) those of a calibration that never saw the image. They are for metrics of
    calibration; ranking and operating points use `by_class`, whose numbers the bundle serves.
    `priors` are the shares of the classes that the probabilities refer to, (C,). `risk` is the
    recipe's: how grave each class is, empty where it does not say.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    melanoma: tuple[str, ...]
    by_class: Floats
    crossfit: Floats
    priors: tuple[float, ...]
    risk: Mapping[str, Risk] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def binary(self) -> bool:
        """Two classes, the second of which is melanoma."""
        return len(self.classes) == 2 and self.melanoma == self.classes[1:]

    @cached_property
    def target(self) -> Integers:
        """(N,) numbers of the true classes."""
        return self.table["target"].to_numpy(np.int64)

    @cached_property
    def groups(self) -> Integers:
        """(N,) numbers of what is resampled as a whole: patients, lesions, joined duplicates."""
        import pandas as pd

        numbers: Integers = pd.factorize(self.table["group"])[0].astype(np.int64)
        return numbers

    @cached_property
    def positive(self) -> Integers:
        """(N,) 1 for a melanoma class, else 0; all 0 where the recipe names none."""
        return np.isin(self.target, self.melanoma_columns).astype(np.int64)

    @cached_property
    def probability(self) -> Floats:
        """(N,) melanoma probabilities of the bundle."""
        return self._melanoma(self.by_class)

    @cached_property
    def crossfit_probability(self) -> Floats:
        """(N,) melanoma probabilities by the cross-fitted calibration."""
        return self._melanoma(self.crossfit)

    @cached_property
    def confidence(self) -> tuple[Integers, Floats]:
        """What calibration is judged by, (N,) outcomes and their cross-fitted probabilities.

        Melanoma or not; where no class is one, whether the likeliest class is right.
        """
        if self.melanoma:
            return self.positive, self.crossfit_probability
        right = (self.crossfit.argmax(axis=1) == self.target).astype(np.int64)
        return right, self.crossfit.max(axis=1)

    @cached_property
    def likeliest(self) -> Integers:
        """(N,) numbers of the classes with the highest probability."""
        numbers: Integers = self.by_class.argmax(axis=1).astype(np.int64)
        return numbers

    @cached_property
    def likeliest_if_even(self) -> Integers:
        """(N,) numbers of the classes that would be likeliest, were all equally common.

        By Bayes' rule the highest of probability / prior: the call that makes the balanced accuracy
        largest, as `likeliest` does the accuracy. A class that was never there is never called.
        """
        priors = np.asarray(self.priors)
        odds = np.divide(self.by_class, priors, out=np.zeros_like(self.by_class), where=priors > 0)
        numbers: Integers = odds.argmax(axis=1).astype(np.int64)
        return numbers

    @cached_property
    def lesions(self) -> Lesions:
        """The lesions of patients that the table names."""
        import pandas as pd

        owners = self.table["patient_id"].fillna("").astype(str)
        table = pd.DataFrame(
            {
                "row": np.arange(len(self)),
                "patient": owners.to_numpy(),
                "lesion": lesion_keys(self.table),
                "positive": self.positive,
                "score": self.probability,
            }
        )
        table = table[table["patient"] != ""]
        lesion: Integers = np.full(len(self), -1, dtype=np.int64)
        grouped = table.groupby(["patient", "lesion"], sort=False)
        lesion[table["row"].to_numpy()] = grouped.ngroup().to_numpy()
        lesions = grouped.agg(
            row=("row", "min"), positive=("positive", "max"), score=("score", "mean")
        )
        numbers = pd.factorize(lesions.index.get_level_values("patient"))[0]
        return Lesions(
            lesions["row"].to_numpy(np.int64),
            numbers.astype(np.int64),
            lesions["positive"].to_numpy(np.int64),
            lesions["score"].to_numpy(np.float64),
            len(self),
            lesion,
        )

    @property
    def melanoma_columns(self) -> list[int]:
        """The numbers of the classes that count as melanoma."""
        return [self.classes.index(name) for name in self.melanoma]

    def _melanoma(self, by_class: Floats) -> Floats:
        columns = self.melanoma_columns
        # One column as it is: a sum would cost its last digit.
        if len(columns) == 1:
            return by_class[:, columns[0]]
        values: Floats = by_class[:, columns].sum(axis=1)
        return values


def lesion_keys(table: pd.DataFrame) -> list[str]:
    """(N,) what photographs of one lesion share: its `lesion_id`, or the row where it has none."""
    if "lesion_id" not in table:
        return [f"row {row}" for row in range(len(table))]
    known = table["lesion_id"].fillna("").astype(str)
    return [f"lesion {one}" if one else f"row {row}" for row, one in enumerate(known)]
