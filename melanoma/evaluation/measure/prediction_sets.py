"""Prediction sets: the classes that a photograph may be, so that the true one is rarely missing.

Conformal, a class at a time (Mondrian; Vovk 2005, Sadinle, Lei & Wasserman 2019): a class belongs
to the set where its probability is at least the value that all but 10 % of that class's own
held-out images reach. Lesions are exchangeable, not images: each image of a lesion (or patient, or
joined duplicates) weighs one over how many there are, and the new lesion counts as one more that
reaches nothing (Dunn, Wasserman & Ramdas 2023; Lee, Barber & Willett 2023). A class of fewer
lesions than that rule needs (nine at 90 %) can never be ruled out.

Lines of our own: MAPIE 1 has no threshold a class and wants an estimator, crepes draws p-values at
random by default, and neither weighs images by lesion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from melanoma.evaluation.calibration import crossfit_parts
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.other_cancer import OtherCancer, share_if_no_melanoma
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.decisions import sensitivity_at
from melanoma.evaluation.report.schema_points import PredictionSets, SetClass
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.sections import SUSPICIOUS, Risk
from melanoma.types import Flags, Floats, Integers


@dataclass(frozen=True)
class SetRule:
    """A class belongs to the set where its probability reaches its own of `thresholds`.

    `level` is the share of lesions of every class whose set holds it. `priors` are the classes'
    shares that the thresholds refer to: an answer is moved to another prevalence after its set was
    made, so that a set is the same whatever the prevalence.
    """

    level: float
    thresholds: tuple[float, ...]
    priors: tuple[float, ...]

    def of(self, by_class: Floats) -> Flags:
        """(..., C) whether a class belongs to the set of these calibrated probabilities, (..., C),
        not moved. The likeliest class does whatever its threshold: no set is empty, and none rules
        out what comes first."""
        # A threshold is some image's own score, which writing and reading may round.
        inside: Flags = by_class >= np.asarray(self.thresholds) * (1 - 1e-9)
        likeliest = by_class.argmax(axis=-1, keepdims=True) == np.arange(by_class.shape[-1])
        filled: Flags = inside | likeliest
        return filled


def fit_sets(images: ScoredImages, level: float, rows: Flags | None = None) -> SetRule:
    """The rule that these held-out images (of `rows`, if given) give, by cross-fitted scores."""
    chosen = np.ones(len(images), bool) if rows is None else rows
    thresholds = [
        _threshold(images.crossfit[own, number], images.groups[own], level)
        for number in range(len(images.classes))
        for own in [chosen & (images.target == number)]
    ]
    return SetRule(level, tuple(thresholds), tuple(images.priors))


def crossfit_sets(images: ScoredImages, level: float) -> Flags:
    """(N, C) the sets of each fold's images by the rule of the other folds."""
    folds = images.table["fold"].to_numpy(np.int64)
    parts = crossfit_parts(folds, images.groups)
    inside = np.zeros(images.by_class.shape, bool)
    for part in np.unique(parts):
        own = parts == part
        inside[own] = fit_sets(images, level, ~own).of(images.crossfit[own])
    return inside


def measure_sets(
    images: ScoredImages,
    thresholds: Sequence[Threshold],
    other_cancer: OtherCancer | None,
    *,
    level: float,
    resamples: int,
    seed: int,
) -> PredictionSets:
    """The rule of all held-out images, and what it reaches, cross-fitted by fold."""
    rule, inside = fit_sets(images, level), crossfit_sets(images, level)
    rules = {"resamples": resamples, "seed": seed}
    return describe_sets(images, inside, rule, thresholds, other_cancer, **rules)


def spans_risks(
    inside: Flags, classes: Sequence[str], melanoma: Sequence[str], risk: Mapping[str, Risk]
) -> Flags:
    """(...) whether sets, (..., C), hold both a cancer (or precursor) and a harmless class.

    Where the recipe states no risk, the melanoma classes are the cancers.
    """
    grave = np.array([risk[name] in SUSPICIOUS if risk else name in melanoma for name in classes])
    both: Flags = np.logical_and(inside[..., grave].any(-1), inside[..., ~grave].any(-1))
    return both


def describe_sets(
    images: ScoredImages,
    inside: Flags,
    rule: SetRule,
    thresholds: Sequence[Threshold],
    other_cancer: OtherCancer | None,
    *,
    resamples: int,
    seed: int,
    members: float | None = None,
) -> PredictionSets:
    """What the sets `inside` (N, C) reach, with intervals over groups.

    `members` is the coverage of single members' sets, where it is known beside the ensemble's.
    """
    covered = inside[np.arange(len(images)), images.target].astype(np.float64)
    sizes = inside.sum(axis=1)
    unsure = _unsure(images, inside, thresholds, other_cancer)
    targets = {"all": np.ones(len(images), np.int64)} | {
        name: (images.target == number).astype(np.int64)
        for number, name in enumerate(images.classes)
    }
    intervals = bootstrap_intervals(
        {name: sensitivity_at(0.5, target, covered) for name, target in targets.items()},
        images.groups,
        resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    lines = [
        SetClass(
            name=name,
            images=int(own.sum()),
            groups=len(np.unique(images.groups[own])),
            coverage=intervals[name].measured(),
            coverage_by_group=_by_group(covered, images.groups, own),
            mean_size=float(sizes[own].mean()) if own.any() else None,
            unsure=int((own & unsure).sum()),
        )
        for name, target in targets.items()
        for own in [target == 1]
    ]
    return PredictionSets(
        level=rule.level,
        thresholds=rule.thresholds,
        priors=rule.priors,
        coverage_of_members=members,
        overall=lines[0],
        by_class=tuple(lines[1:]),
    )


def _threshold(scores: Floats, groups: Integers, level: float) -> float:
    """The highest value that `level` of the groups, one more counted in, reach; 0 if none is."""
    _, numbers, times = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(-scores, kind="stable")
    reached = np.cumsum(1 / times[numbers][order])
    first = int(np.searchsorted(reached, level * (len(times) + 1) - 1e-9))
    return float(scores[order][first]) if first < len(scores) else 0.0


def _unsure(
    images: ScoredImages,
    inside: Flags,
    thresholds: Sequence[Threshold],
    other_cancer: OtherCancer | None,
) -> Flags:
    """(N,) whether the verdict would be `unsure`: the set spans risks, nothing graver is told."""
    if not thresholds:
        return np.zeros(len(images), bool)
    spans = spans_risks(inside, images.classes, images.melanoma, images.risk)
    unsure: Flags = spans & (images.probability < thresholds[0].value)
    if other_cancer is None:
        return unsure
    names = (images.classes, images.melanoma, other_cancer.classes)
    calm: Flags = unsure & (share_if_no_melanoma(images.by_class, *names) < other_cancer.value)
    return calm


def _by_group(covered: Floats, groups: Integers, own: Flags) -> float | None:
    """Share of covered groups, each image of one weighing alike."""
    if not own.any():
        return None
    _, numbers, times = np.unique(groups[own], return_inverse=True, return_counts=True)
    # All covered, the sum of thirds and the like may pass 1 by a rounding.
    return min(1.0, float((covered[own] / times[numbers]).sum() / len(times)))
