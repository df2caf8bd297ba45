"""The paragraph on top of a report: plain enough for a dermatologist and a safety officer."""

from __future__ import annotations

import numpy as np

from melanoma.evaluation.number_format import (
    bounded,
    in_percent,
    measured,
    of_hundred,
    percent,
    plural,
    share,
    threshold,
)
from melanoma.evaluation.report.schema import ExternalResult, ReportContent
from melanoma.evaluation.report.schema_parts import (
    Measured,
    ReliabilityBin,
)
from melanoma.evaluation.report.served_move import served_move

ENOUGH = 100  # events: below it a calibration curve says little (Collins et al. 2016)
_NEAR = 0.01  # of a share


def plain_summary(content: ReportContent) -> str:
    """One paragraph: what was scored, how well it ranks, what the threshold means, what to fear.

    The content's own `summary` is not read.
    """
    sentences = [_scored(content), _drawn(content), _ranks(content)]
    if content.thresholds:
        when = "on these images" if content.external is None else "beforehand"
        sentences.append(_flags(content, when))
    elif content.data.positives is None:
        sentences.append(_names(content))
    sentences += [_elsewhere(content, result) for result in content.external_results]
    sentences.append(_probabilities(content))
    # A leak takes the ground from every number after it, so it is said before them.
    leaks = any(warning.startswith("LEAK") for warning in content.warnings[:1])
    sentences.insert(1 if leaks else len(sentences), _fear(content))
    return " ".join(sentence for sentence in sentences if sentence)


def _scored(content: ReportContent) -> str:
    data = content.data
    owners = (
        plural(data.patients, "patient")
        if data.patients is not None
        else plural(data.groups, "independent group of images", "independent groups of images")
    )
    scored = f"{plural(data.images, 'image')} of {owners}"
    if data.positives is None:
        scored += f", in {plural(len(content.classes), 'class', 'classes')},"
    elif data.prevalence is not None:
        scored += f", {data.positives:,} of them melanomas ({percent(data.prevalence)}),"
    if content.external is not None:
        other = "other images" if content.external.test_part else "another set"
        return f"{scored} were scored by a finished model that was trained on {other}."
    return f"{scored} were each scored by a model that had not been trained on that image."


def _drawn(content: ReportContent) -> str:
    if not content.phantoms:
        return ""
    return "It was trained on drawings, so nothing here says how it does on photographs."


def _ranks(content: ReportContent) -> str:
    if content.data.positives is None:
        return ""
    auroc = content.metrics.get("auroc", Measured(value=None))
    if auroc.value is None:
        return "How well it ranks melanomas above other images cannot be said from these images."
    chance = ""
    if auroc.low is not None and auroc.low <= 0.5:
        chance = ", which may be no better than guessing"
    return (
        "Shown one melanoma and one other image, it gives the melanoma the higher probability in "
        f"about {of_hundred(auroc.value)} of 100 such pairs{_range(auroc, '95 % interval ')}"
        f"{chance}."
    )


def _flags(content: ReportContent, when: str) -> str:
    point, move = content.thresholds[0], served_move(content)
    caught, others = point.sensitivity, point.specificity
    if caught.value is None or others.value is None:
        return "What its threshold means cannot be said: one of the two kinds of image is missing."
    wrongly = Measured(
        value=1 - others.value,
        low=None if others.high is None else 1 - others.high,
        high=None if others.low is None else 1 - others.low,
    )
    # As answers are held against it: a moved bundle's threshold moves with them.
    value = point.value if move is None else float(move.of(np.array([point.value]))[0])
    chosen = f"{threshold(value)}, chosen {when} for {in_percent(point.at)}"
    return (
        f"At its threshold of {chosen}, of 100 melanomas it flags about "
        f"{of_hundred(caught.value)}{_range(caught)} and misses about "
        f"{of_hundred(1 - caught.value)}; of 100 other images it also flags about "
        f"{of_hundred(wrongly.value)}{_range(wrongly)}."
    )


def _elsewhere(content: ReportContent, result: ExternalResult) -> str:
    own = content.metrics.get("auroc") or content.metrics.get("macro_auroc")
    here, there = own.low if own else None, result.auroc.high
    worse = here is not None and there is not None and there < here
    sentence = (
        f"{'Elsewhere it is worse' if worse else 'Elsewhere'}: on {plural(result.images, 'image')} "
        f"of {result.source or result.name}, AUROC {measured(result.auroc)}"
    )
    if result.sensitivity.value is None or result.specificity.value is None:
        return f"{sentence}."
    return (
        f"{sentence}; there its threshold flags {of_hundred(result.sensitivity.value)}"
        f"{_range(result.sensitivity)} of 100 melanomas and "
        f"{of_hundred(1 - result.specificity.value)} of 100 other images."
    )


def _names(content: ReportContent) -> str:
    paragraph = "No class of this model is melanoma, so it flags nothing."
    balanced = content.metrics.get("balanced_accuracy", Measured(value=None))
    if balanced.value is not None:
        paragraph += (
            f" Of 100 images, each class as often as any other, it names the right class for about "
            f"{of_hundred(balanced.value)}{_range(balanced)}; guessing would reach "
            f"{of_hundred(1 / max(len(content.classes), 1))}."
        )
    macro = content.metrics.get("macro_auroc", Measured(value=None))
    if macro.value is not None:
        limits = bounded(macro)
        paragraph += (
            f" Its AUROC, averaged over the classes, is {share(macro.value)}"
            f"{f' ({limits})' if limits else ''}."
        )
    return paragraph


def _probabilities(content: ReportContent) -> str:
    """Whether probabilities are chances: by how many bins' intervals hold their prediction, or
    lie so near to it that nobody would act otherwise: of many images the intervals are narrow."""
    bins, calibration = content.calibration.after.bins, content.calibration
    counted = content.data.positives
    what = "the chance of melanoma" if counted is not None else "the chance of being right"
    if not bins or (counted is not None and counted < ENOUGH):
        return f"Whether its probabilities can be read as {what} cannot be said from so few images."
    agree = sum(b.low <= b.predicted <= b.high or _is_near(b) for b in bins)
    seen = (
        "predicted and observed shares agree, but for chance or a percentage point, in "
        f"{agree} of {len(bins)} groups of images with similar probabilities"
    )
    place = ""
    if counted is not None and calibration.prevalence is not None:
        place = f" where {_in_hundred(calibration.prevalence)} images are melanomas"
    if agree >= 0.8 * len(bins):
        elsewhere = ", and need re-targeting elsewhere" if place else ""
        return f"Its probabilities can be read as {what}{place}{elsewhere}: {seen}."
    if agree >= 0.5 * len(bins):
        return f"Its probabilities are only roughly {what}{place}: {seen}."
    return f"Its probabilities should not be read as {what}, even{place or ' here'}: {seen}."


def _is_near(group: ReliabilityBin) -> bool:
    return abs(group.predicted - group.observed) <= _NEAR


def _fear(content: ReportContent) -> str:
    if not content.warnings:
        return ""
    more = len(content.warnings) - 1
    rest = f" ({plural(more, 'more warning')} below)" if more else ""
    gravest = content.warnings[0].removeprefix("LEAK: ").rstrip(".")
    return f"Gravest warning: {gravest}{rest}."


def _in_hundred(prevalence: float) -> str:
    """`51 of 100`; rarer things in a thousand, so that 1.8 % does not read as 2 of 100."""
    if prevalence >= 0.1:
        return f"{prevalence * 100:.0f} of 100"
    return f"{max(prevalence * 1000, 0.1):.3g} of 1,000"


def _range(metric: Measured, name: str = "") -> str:
    if metric.low is None or metric.high is None:
        return ""
    return f" ({name}{of_hundred(metric.low)} to {of_hundred(metric.high)})"
