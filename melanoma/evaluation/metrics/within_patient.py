"""Within a patient: whether the melanoma stands above the same patient's other lesions.

A doctor compares a lesion with the patient's others. These figures do the same, so that what makes
all of one patient's lesions score high or low (camera, skin, hospital) neither helps nor harms.
Photographs of one lesion (`lesion_id`) count as one lesion with the mean of their probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from melanoma.evaluation.metrics.bootstrap import Statistic, SumStatistic
from melanoma.evaluation.metrics.weighted_sums import ratio
from melanoma.evaluation.scored_images import Lesions, ScoredImages
from melanoma.types import Floats, Integers


def within_patients(metric: Callable[[Lesions], Statistic]) -> Callable[[ScoredImages], Statistic]:
    """The metric of the lesions of known patients, as an entry of METRICS makes it."""
    return lambda images: metric(images.lesions)


def has_both_in_a_patient(images: ScoredImages) -> bool:
    """Whether some patient has a melanoma and another lesion."""
    if not images.melanoma:
        return False
    lesions = images.lesions
    return any(0 < lesions.positive[rows].sum() < len(rows) for rows in patient_rows(lesions))


def concordance(lesions: Lesions) -> SumStatistic:
    """Share of the pairs of a melanoma and another lesion of one patient in which the melanoma
    scores higher, ties a half. 0.5 is guessing."""
    right, pairs = np.zeros(len(lesions.row)), np.zeros(len(lesions.row))
    for rows in patient_rows(lesions):
        own, others = _split(lesions, rows)
        below = lesions.score[own][:, None] - lesions.score[others][None]
        right[own] = (np.sign(below) + 1).sum(axis=1) / 2
        pairs[own] = len(others)
    return _ratio(lesions, right, pairs)


def caught_in_top(count: int, lesions: Lesions) -> SumStatistic:
    """Share of melanomas among the `count` highest of their patient's lesions, where the patient
    has more than that; equal scores share the places."""
    caught, melanomas = np.zeros(len(lesions.row)), np.zeros(len(lesions.row))
    for rows in patient_rows(lesions):
        if len(rows) <= count:
            continue
        own, _ = _split(lesions, rows)
        above, equal = _above(lesions, own, rows)
        caught[own] = np.clip((count - above) / equal, 0.0, 1.0)
        melanomas[own] = 1.0
    return _ratio(lesions, caught, melanomas)


def melanoma_rank(lesions: Lesions) -> SumStatistic:
    """Mean place of a melanoma among its patient's lesions, 1 the highest, over patients with a
    lesion that is none; equal scores share the mean place."""
    places, melanomas = np.zeros(len(lesions.row)), np.zeros(len(lesions.row))
    for rows in patient_rows(lesions):
        own, others = _split(lesions, rows)
        if not len(others):
            continue
        above, equal = _above(lesions, own, rows)
        places[own] = above + (equal + 1) / 2
        melanomas[own] = 1.0
    return _ratio(lesions, places, melanomas)


def patient_rows(lesions: Lesions) -> Iterator[Integers]:
    """The rows of `lesions` of each patient with more than one."""
    order = np.argsort(lesions.patient, kind="stable")
    ends = np.flatnonzero(np.diff(lesions.patient[order])) + 1
    yield from (rows for rows in np.split(order, ends) if len(rows) > 1)


def _split(lesions: Lesions, rows: Integers) -> tuple[Integers, Integers]:
    """The patient's melanomas, and the others."""
    is_melanoma = lesions.positive[rows] == 1
    return rows[is_melanoma], rows[~is_melanoma]


def _above(lesions: Lesions, own: Integers, rows: Integers) -> tuple[Floats, Floats]:
    """Of each of `own` how many of the patient's lesions score higher, and how many as high (it
    is one of them)."""
    scores = lesions.score[rows][None] - lesions.score[own][:, None]
    return (scores > 0).sum(axis=1) * 1.0, (scores == 0).sum(axis=1) * 1.0


def _ratio(lesions: Lesions, part: Floats, whole: Floats) -> SumStatistic:
    """Over images, of which a lesion's first one counts: a patient is drawn as a whole."""
    spread = np.zeros((2, lesions.images))
    spread[:, lesions.row] = part, whole
    return ratio(spread[0], spread[1])
