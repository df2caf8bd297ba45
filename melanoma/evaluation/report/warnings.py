"""Caveats: what a reader must know before any number, from the report's own content."""

from __future__ import annotations

import math

from melanoma.evaluation.measure.subgroups import HISTOLOGY, REFERENCE
from melanoma.evaluation.number_format import measured, percent, share, threshold
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.source_words import no_tests, teacher_caveats, wrong_by

FEW_POSITIVES = 100
FEW_OF_A_CLASS = 30
# Of a class or a set from elsewhere; 1 % and 2 % of all the training images are expected.
TURNED_AWAY = 0.05
# Above this share of melanomas a set was put together for training: no clinic sees so many.
CLINIC_AT_MOST = 0.1
# Odds of melanoma that are off by as much where a source was held out, beyond what chance shows.
WRONG_ODDS = 1.25
PHANTOMS = (
    "the model was trained on drawings (phantoms), on no photograph: its numbers prove that "
    "everything runs, and say nothing of photographs"
)


def find_caveats(content: ReportContent) -> list[str]:
    """Sentences, gravest first: leaks, drawings, then selection effects, then good photographs
    that get no verdict, then small samples."""
    return [
        *_leaks(content),
        *([PHANTOMS] if content.phantoms else []),
        *_leaks_elsewhere(content),
        *_known(content),
        *teacher_caveats(content.sources),
        *spectrum(content),
        *_selection(content),
        *_shortcuts(content),
        *_turned_away(content),
        *_sample(content),
        *_moved(content),
        *_small(content),
    ]


def spectrum(content: ReportContent) -> list[str]:
    """A sentence where lesions without histology flatter the figures: not one of them was hard
    enough for a biopsy."""
    lines = [group for group in content.subgroups if group.column == REFERENCE]
    proven = next((group for group in lines if group.value == HISTOLOGY), None)
    point = content.thresholds[0] if content.thresholds else None
    auroc = content.metrics.get("auroc")
    if proven is None or point is None or auroc is None or auroc.value is None:
        return []
    if proven.auroc.value is None or proven.auroc.value >= (auroc.low or auroc.value):
        return []
    others = content.data.images - (content.data.positives or 0)
    return [
        f"only {proven.images - proven.positives:,} of the {others:,} images without melanoma were "
        f"proven by histology; on histology alone the AUROC is {measured(proven.auroc)} and the "
        f"specificity {percent(proven.specificity.value)} (all images: {share(auroc.value)} and "
        f"{percent(point.specificity.value)}): lesions that needed no biopsy flatter it"
    ]


def _leaks(content: ReportContent) -> list[str]:
    audit, external = content.leaks, content.external
    sentences = [f"LEAK: {finding}" for finding in audit.findings]
    if external:
        sentences += [f"LEAK: {finding}" for finding in external.overlap.findings]
        audit = external.overlap
    start = content.leaks.starting_weights
    if start and start.unknown:
        sentences.append(
            "the starting weights are of unknown origin, in part or wholly: whether they were "
            "trained on images that are judged here is not recorded"
        )
    names = {"identical": "identical images", "near_duplicates": "near-duplicates"}
    unseen = [name for key, name in names.items() if getattr(audit, key) is None]
    if unseen:
        sentences.append(
            f"{' and '.join(unseen)} were not looked for: there was no array of all images"
        )
    return sentences


def _known(content: ReportContent) -> list[str]:
    """What of an external set was left out, by --unseen."""
    known = content.flow and content.flow.trained_on
    if not known:
        return []
    shown = "is left out: it shows" if known == 1 else "are left out: they show"
    return [f"{known:,} of this set's images {shown} what the model was trained on"]


def _leaks_elsewhere(content: ReportContent) -> list[str]:
    return [
        f"what was reached elsewhere, on {result.source or result.name}, is no test: that set and "
        "the training share patients, lesions or photographs"
        for result in no_tests(content)
    ]


def _selection(content: ReportContent) -> list[str]:
    sentences = []
    folds, expected = len(content.folds), content.folds_expected
    if not content.external and folds < expected:
        sentences.append(f"{folds} of {expected} folds: the others were not trained")
    if content.external and content.external.calibrated_here:
        sentences.append(
            f"the calibration of this copy was fitted on {content.external.recipe}: where these "
            "are the same images, its probabilities fit better than they do elsewhere"
        )
    before = content.external.scored_before if content.external else 0
    if before:
        sentences.append(
            f"this test part was scored by {before} other model{'s' if before > 1 else ''} before: "
            "whatever was chosen between them was chosen on it"
        )
    if content.selection and content.selection.kept == "best":
        sentences.append(
            "the kept epoch was picked on the images that score it, which flatters it; "
            "compare the last epoch under selection"
        )
    return sentences


def _shortcuts(content: ReportContent) -> list[str]:
    if not content.shortcuts:
        return []
    model = content.shortcuts.model
    rivals = [
        line
        for line in content.shortcuts.lines
        if line.auroc.value is not None and model.low is not None and line.auroc.value >= model.low
    ]
    return [
        f"{line.name} alone reach AUROC {line.auroc.value:.3f} without a look at the "
        f"photograph, within reach of the model's {model.value:.3f}"
        for line in rivals
    ]


def _turned_away(content: ReportContent) -> list[str]:
    """What the gates stop wholesale, though nothing is wrong with it."""
    quality, novelty = content.quality, content.novelty
    novel = [*novelty.by_class, *novelty.elsewhere] if novelty else []
    poor = [*quality.by_class, *quality.elsewhere] if quality else []
    return [
        *_wholesale("called unlike the training's", [(n.name, n.novel, n.images) for n in novel]),
        *_wholesale("called too poor to score", [(q.name, q.stopped, q.images) for q in poor]),
    ]


def _wholesale(why: str, counts: list[tuple[str, int, int]]) -> list[str]:
    affected = [
        f"{name} {stopped:,} of {images:,} ({percent(stopped / images)})"
        for name, stopped, images in counts
        if images >= FEW_OF_A_CLASS and stopped / images > TURNED_AWAY
    ]
    if not affected:
        return []
    return [f"good photographs of lesions get no verdict, being {why}: {'; '.join(affected)}"]


def _sample(content: ReportContent) -> list[str]:
    prevalence = content.data.prevalence
    if prevalence is None or prevalence <= CLINIC_AT_MOST:
        return []
    many = f"{100 * prevalence:.0f} % of these images are melanomas, far more than a clinic sees"
    at_home, moved = content.calibration.prevalence, content.retargeted or content.recalibrated
    if content.external is not None and at_home is not None:
        return [
            f"{many}: predictive values refer to that share, probabilities to one of "
            f"{threshold(at_home)}"
        ]
    if moved is not None:
        return [
            f"{many}: what was measured on them refers to that share, answers to one of "
            f"{threshold(moved.prevalence)}"
        ]
    return [
        f"{many}: probabilities and predictive values refer to that share (--prevalence re-targets "
        "them)"
    ]


def _moved(content: ReportContent) -> list[str]:
    """Sources where probabilities stay wrong when moved to the share of melanomas there; not of
    another set's report, nor of a copy that was calibrated on one."""
    sentences = []
    at_home = content.external is None and content.recalibrated is None
    for line in content.sources if at_home else ():
        found = line.held_out
        if found is None or found.ece_if_exact is None or found.intercept_at_own_share is None:
            continue
        low, off = found.ece_at_own_share.low, found.intercept_at_own_share
        if abs(off) >= math.log(WRONG_ODDS) and low is not None and low > found.ece_if_exact:
            sentences.append(
                f"photographs like those of {line.name}: moved to the share of melanomas there, "
                f"probabilities say the odds of melanoma {wrong_by(off)}, so "
                "--prevalence does not make them right (a copy that is calibrated on such "
                "photographs would be, on average: evaluate --external SET --recalibrate DIR)"
            )
    return sentences


def _small(content: ReportContent) -> list[str]:
    positives = content.data.positives
    sentences = []
    if positives is not None and positives < FEW_POSITIVES:
        sentences.append(f"only {positives} positives: the intervals are wide")
    if len(content.classes) > 2:
        rare = [
            f"{name} ({count})"
            for name, count in content.data.classes.items()
            if count < FEW_OF_A_CLASS
        ]
        if rare:
            sentences.append(f"classes of few images, whose figures mean little: {', '.join(rare)}")
    return sentences
