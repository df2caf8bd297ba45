"""Other cancers: a photograph below melanoma's threshold that is still none to be calm about.

A melanoma threshold says nothing of a basal cell carcinoma. Where the recipe states each class's
risk, a second threshold stands on the probability of the other malignant and premalignant classes
*if it is no melanoma*: p(other) / (1 - p(melanoma)). Moving a bundle to another prevalence of
melanoma leaves that share of each member as it is (prior correction scales all classes but melanoma
alike; Saerens 2002), so the value stays where a bundle is re-targeted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.metrics.bootstrap import Interval, Statistic
from melanoma.evaluation.metrics.decisions import sensitivity_at, specificity_at
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.report.schema_points import (
    AnyMalignancy,
    CaughtClass,
)
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.sections import SUSPICIOUS, Evaluation, Risk
from melanoma.types import Flags, Floats, Integers

_KEY = "any_malignancy/"


def other_cancers(risk: Mapping[str, Risk], melanoma: Sequence[str]) -> tuple[str, ...]:
    """The malignant and premalignant classes that do not count as melanoma."""
    return tuple(
        name for name, grave in risk.items() if grave in SUSPICIOUS and name not in melanoma
    )


def share_if_no_melanoma(
    by_class: Floats, classes: Sequence[str], melanoma: Sequence[str], others: Sequence[str]
) -> Floats:
    """p(others) / (1 - p(melanoma)) of (..., C) probabilities, in [0, 1]; 0 where all is melanoma.

    The shape is that of `by_class` without its last axis.
    """
    rest = [n for n, name in enumerate(classes) if name not in melanoma]
    other_numbers = [n for n, name in enumerate(classes) if name in others]
    # The sum of the rest, not 1 - p: its digits are lost where melanoma is nearly certain.
    total = by_class[..., rest].sum(axis=-1)
    part = by_class[..., other_numbers].sum(axis=-1)
    share: Floats = np.divide(part, total, out=np.zeros_like(total), where=total > 0)
    return np.minimum(share, 1.0)


@dataclass(frozen=True)
class OtherCancer:
    """Told of when `share_if_no_melanoma` >= value and melanoma is not flagged.

    `at` says how the value was chosen, `classes` are the other malignant and premalignant ones.
    """

    value: float
    at: str
    classes: tuple[str, ...]


def choose_other_cancer(
    images: ScoredImages, thresholds: Sequence[Threshold], rules: Evaluation
) -> OtherCancer | None:
    """The highest value by which `rules.sensitivity` of the other cancers are flagged or told of.

    None where the recipe states no risk, names no melanoma or no other cancer, or there is no image
    of one.
    """
    others = other_cancers(images.risk, images.melanoma)
    theirs = _of_classes(images, others)
    if not thresholds or not theirs.any():
        return None
    share = _share(images, others)
    flagged = images.probability >= thresholds[0].value
    missed = np.sort(share[theirs & ~flagged])[::-1]
    needed = int(np.ceil(rules.sensitivity * theirs.sum() - 1e-9)) - int((theirs & flagged).sum())
    value = float(missed[needed - 1]) if needed > 0 else 1.0
    return OtherCancer(value, f"sensitivity {rules.sensitivity:g} for other cancers", others)


def other_cancer_statistics(
    images: ScoredImages, thresholds: Sequence[Threshold], rule: OtherCancer | None
) -> dict[str, Statistic]:
    """What is resampled for `describe_any_malignancy`, by any_malignancy/NAME."""
    if rule is None or not thresholds:
        return {}
    target, likely = (
        _any(images),
        _other_cancer_likely(images, thresholds[0], rule).astype(np.float64),
    )
    alone = (images.probability >= thresholds[0].value).astype(np.float64)
    return {
        f"{_KEY}auroc": auroc(target, _sum(images)),
        f"{_KEY}sensitivity": sensitivity_at(0.5, target, likely),
        f"{_KEY}specificity": specificity_at(0.5, target, likely),
        f"{_KEY}sensitivity_alone": sensitivity_at(0.5, target, alone),
        f"{_KEY}specificity_alone": specificity_at(0.5, target, alone),
    }


def describe_any_malignancy(
    images: ScoredImages,
    thresholds: Sequence[Threshold],
    rule: OtherCancer | None,
    intervals: Mapping[str, Interval],
) -> AnyMalignancy | None:
    """The operating point for any malignancy, from the intervals of `other_cancer_statistics`."""
    if rule is None or not thresholds:
        return None
    flagged = images.probability >= thresholds[0].value
    likely = _other_cancer_likely(images, thresholds[0], rule)
    names = ("auroc", "sensitivity", "specificity", "sensitivity_alone", "specificity_alone")
    return AnyMalignancy(
        risk=dict(images.risk),
        classes=rule.classes,
        value=rule.value,
        at=rule.at,
        positives=int(_any(images).sum()),
        **{name: intervals[_KEY + name].measured() for name in names},
        by_class=tuple(
            CaughtClass(
                name=name,
                risk=images.risk[name],
                images=int(theirs.sum()),
                flagged=int((theirs & flagged).sum()),
                other_cancer_likely=int((theirs & likely & ~flagged).sum()),
            )
            for name in images.classes
            for theirs in [_of_classes(images, [name])]
        ),
    )


def _of_classes(images: ScoredImages, names: Sequence[str]) -> Flags:
    return np.isin(images.target, [images.classes.index(name) for name in names])


def _any(images: ScoredImages) -> Integers:
    names = [name for name, grave in images.risk.items() if grave in SUSPICIOUS]
    return _of_classes(images, names).astype(np.int64)


def _sum(images: ScoredImages) -> Floats:
    graves = [images.risk[name] in SUSPICIOUS for name in images.classes]
    values: Floats = images.by_class[:, graves].sum(axis=1)
    return values


def _share(images: ScoredImages, others: Sequence[str]) -> Floats:
    return share_if_no_melanoma(images.by_class, images.classes, images.melanoma, others)


def _other_cancer_likely(images: ScoredImages, threshold: Threshold, rule: OtherCancer) -> Flags:
    flagged = images.probability >= threshold.value
    return flagged | (_share(images, rule.classes) >= rule.value)
