"""What other tables brought to the training, and whose results elsewhere are: sentences for
report, card and terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from melanoma.evaluation.number_format import measured, plural, share
from melanoma.evaluation.report.schema import ExternalResult
from melanoma.evaluation.report.schema_sources import HeldOutSource, SourceLine


def describe_source_line(line: SourceLine) -> str:
    """`isic2017: 2,150 images (404 melanoma; ...), each drawn once an epoch; ...`."""
    held = [f"{count:,} {name}" for name, count in line.classes.items()]
    held += [f"{line.of_several:,} of one of several classes"] if line.of_several else []
    held += [f"{line.soft:,} with a teacher's probability of melanoma"] if line.soft else []
    held += [f"{line.unlabeled:,} without a label"] if line.unlabeled else []
    often = "once" if line.weight == 1 else f"{line.weight:g} times"
    sentence = (
        f"{line.name}: {plural(line.images, 'image')} ({'; '.join(held)}), drawn {often} an epoch"
    )
    if not any(line.left_out.values()):
        return f"{sentence}; none shows a patient, lesion or photograph that a fold holds out"
    by_fold = ", ".join(f"{count:,} of fold {fold}" for fold, count in line.left_out.items())
    why = "held out" if line.held_out else "left out for showing what is held out"
    return f"{sentence}; {why}: {by_fold}"


def describe_held_out_source(line: SourceLine) -> str:
    """`isic2017, each image by the fold that held it out: 2,150 images, AUROC ...`, of a line that
    has it."""
    found = line.held_out
    assert found is not None, line.name
    within = found.within_patient_concordance
    more = "" if within is None or within.value is None else f", within patients {measured(within)}"
    return (
        f"{line.name}, each image by the fold that held it out: {plural(found.images, 'image')}, "
        f"{plural(found.positives, 'melanoma')}, AUROC {measured(found.auroc)}{more}; at the "
        f"threshold sensitivity {measured(found.sensitivity)}, specificity "
        f"{measured(found.specificity)}; calibration error {measured(found.ece)}, moved to its own "
        f"share of melanomas {measured(found.ece_at_own_share)}{_what_is_left(found)}"
    )


def _what_is_left(found: HeldOutSource) -> str:
    """What of the error at the own share is the noise of few images, and to which side the rest is:
    `, of exact ones about 0.029 by chance; odds of melanoma said 1.8 times too low`."""
    if found.ece_if_exact is None:
        return ""
    words = f", of exact ones about {share(found.ece_if_exact)} by chance"
    if found.intercept_at_own_share is None:
        return words
    if abs(found.intercept_at_own_share) < math.log(1.05):
        return f"{words}; odds of melanoma right on average"
    return f"{words}; odds of melanoma said {wrong_by(found.intercept_at_own_share)}"


def wrong_by(log_odds: float) -> str:
    """How wrong odds are said that are off by so much: `1.8 times too low`, where it is above 0."""
    return f"{math.exp(abs(log_odds)):.1f} times too {'low' if log_odds > 0 else 'high'}"


def teacher_caveats(lines: tuple[SourceLine, ...]) -> list[str]:
    """What a teacher was trained on, where the recipe says it: that tests nothing here."""
    return [
        f"source {line.name} teaches by another model's scores ({line.teacher}): what that model "
        "was trained on is no external test of this one"
        for line in lines
        if line.soft and line.teacher
    ]


def whose_results(results: Sequence[ExternalResult]) -> str:
    """Whose results on sets elsewhere these are, and by which threshold, in sentences."""
    own = (
        "The finished model on sets that it was not trained on, nothing fitted on them, at the "
        "threshold in use."
    )
    others = (
        "The finished model has trained on pictures of {these}, so another one was measured: of "
        "the same training without them, at its own threshold."
    )
    without = [one.without is not None for one in results]
    if not any(without):
        return own
    these = "the archives whose rows say so" if not all(without) else "these archives"
    said = others.format(these=these)
    return said if all(without) else f"{own} {said}"
