"""What other tables brought to the training, and whose results elsewhere are: sentences for
report, card and terminal."""

from __future__ import annotations

import math

from melanoma.evaluation.number_format import listed, measured, plural, share
from melanoma.evaluation.report.schema import ExternalResult, ReportContent
from melanoma.evaluation.report.schema_sources import HeldOutSource, SourceLine

_ITS = "its own threshold"


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


def whose_results(content: ReportContent) -> str:
    """Whose results on sets elsewhere these are, and by which threshold, in sentences."""
    at = [f", at {which}" if content.thresholds else "" for which in ("the threshold in use", _ITS)]
    own = f"The finished model on sets that it was not trained on, nothing fitted on them{at[0]}."
    others = (
        "The finished model has trained on pictures of {these}, so another one was measured: of "
        f"the same training without them{at[1]}."
    )
    shared = [one.source or one.name for one in no_tests(content) if one.without is None]
    if shared:
        own = (
            f"The finished model, nothing fitted on the sets{at[0]}. It was trained on patients, "
            f"lesions or photographs of {listed(shared)}: no test of it."
        )
    without = [one.without is not None for one in content.external_results]
    if not any(without):
        return own
    these = "the archives whose rows say so" if not all(without) else "these archives"
    said = others.format(these=these)
    return said if all(without) else f"{own} {said}"


def no_tests(content: ReportContent) -> list[ExternalResult]:
    """Results on sets from elsewhere that were sealed though the sets share with the training. A
    leak between the model's own folds stands in each result as well, and is none of the set."""
    between_folds = {f"LEAK: {finding.split(' (')[0]}" for finding in content.leaks.findings}
    return [
        result
        for result in content.external_results
        if any(one.startswith("LEAK") and one not in between_folds for one in result.warnings)
    ]
