"""An external test set: scored by a sealed bundle, reported like any other, nothing refitted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit

from melanoma.data.arrays import ImageArray
from melanoma.data.groups import join_groups
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, RecipeError
from melanoma.evaluation.calibration import (
    by_class,
    crossfit_parts,
    fit_calibration,
    plain_probabilities,
)
from melanoma.evaluation.measure.prediction_sets import describe_sets
from melanoma.evaluation.metrics.probability_scores import brier_score
from melanoma.evaluation.prevalence import Move
from melanoma.evaluation.report.assemble import Origin, assemble_report
from melanoma.evaluation.report.build import Report
from melanoma.evaluation.report.schema import External
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.evaluation.report.schema_points import PredictionSets
from melanoma.evaluation.score_spread import require_differing_members
from melanoma.evaluation.scored_images import NO_FOLD, ScoredImages
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.patient_report import check_context
from melanoma.scoring.scorer import Scorer
from melanoma.types import Floats, Integers, Progress

_BATCH = 32


@dataclass(frozen=True)
class ExternalScores:
    """`member_logits` (N, K, outputs) of the table's images, in its order."""

    table: LesionTable
    recipe: Recipe
    array_digest: str
    member_logits: Floats


def score_external(
    scorer: Scorer,
    table: LesionTable,
    array: ImageArray,
    recipe: Recipe,
    *,
    progress: Progress,
) -> ExternalScores:
    """Every member's logits for every labeled image of the array.

    `recipe` is the external set's, `array` was made with the bundle's preprocessing. Raises
    DataError when an image has no label, RecipeError when the classes cannot be compared.
    """
    _comparable(scorer, recipe)
    frame = table.frame[table.frame["image_name"].isin(array.row_of)].reset_index(drop=True)
    if (frame["target"] < 0).any():
        raise DataError(f"{table.folder}: {int((frame['target'] < 0).sum())} images have no label")
    rows = np.array([array.row_of[name] for name in frame["image_name"]], dtype=np.int64)
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    logits = [
        scorer.member_logits(array.rows(part))
        for part in progress(parts, desc="score", unit=f"{_BATCH} images")
    ]
    labeled = LesionTable(frame, table.folder)
    return ExternalScores(labeled, recipe, array.digest, np.concatenate(logits))


def build_external_report(
    scorer: Scorer,
    scored: ExternalScores,
    *,
    overlap: LeakAudit,
    by: tuple[str, ...] = (),
    resamples: int,
    seed: int,
    scored_before: int | None = None,
) -> Report:
    """The report of the bundle on the external set; `overlap` is the audit against its training.

    `scored_before` makes it the report of a test part: how many other models it was scored by.
    Calibration and thresholds are the bundle's. What a recalibration on these images would be is
    stated, and not applied. Raises DataError where a member scores all images alike.
    """
    bundle = scorer.bundle
    require_differing_members(scored.member_logits, bundle.classes, what=scored.recipe.name)
    images = _images(scorer, scored)
    content = assemble_report(
        images,
        bundle.thresholds,
        replace(bundle.calibration, prevalence=bundle.prevalence),
        _origin(scorer, scored),
        uncalibrated=_uncalibrated(scored, scorer, images),
        resamples=resamples,
        seed=seed,
        by=by,
        other_cancer=bundle.other_cancer if images.risk else None,
        external=External(
            recipe=scored.recipe.name,
            model=bundle.name,
            model_digest=bundle.digest,
            overlap=overlap,
            recalibration=_recalibration(scorer, scored, images),
            test_part=scored_before is not None,
            scored_before=scored_before or 0,
            calibrated_here=is_calibrated_on(bundle, scored.recipe.name),
            **members_reach(scorer, scored.member_logits, images.positive),
        ),
        prediction_sets=_sets(scorer, scored, images, resamples=resamples, seed=seed),
    )
    tested = check_context(images, bundle.context, resamples=resamples, seed=seed)
    content = content.model_copy(update={"patients": tested})
    return Report(content, bundle.calibration, bundle.thresholds, images)


def is_calibrated_on(bundle: Bundle, name: str) -> bool:
    """Whether it is a copy that was calibrated on the external set of that name, last or before."""
    fit = bundle.report.recalibrated
    return fit is not None and name in (fit.external, *fit.before)


def members_reach(
    scorer: Scorer, member_logits: Floats, positive: Integers
) -> dict[str, float | None]:
    """What single members reach at the sealed threshold, averaged: External's members_ fields.

    `member_logits` are (N, K, outputs), `positive` (N,) 1 for melanoma.
    """
    bundle = scorer.bundle
    if bundle.threshold is None or len(np.unique(positive)) < 2:
        return {}
    columns = bundle.melanoma_columns
    each = bundle.served(scorer.calibrate(member_logits))[..., columns].sum(axis=2)
    flagged = each >= bundle.threshold.value
    return {
        "members_sensitivity": float(flagged[positive == 1].mean()),
        "members_specificity": float(1 - flagged[positive == 0].mean()),
    }


def _origin(scorer: Scorer, scored: ExternalScores) -> Origin:
    bundle, stated = scorer.bundle, scorer.bundle.report
    at_home = stated.calibration.class_prevalence
    return Origin(
        recipe=bundle.name,
        version=bundle.version,
        folds_expected=bundle.folds_expected,
        leaks=stated.leaks,
        digests={"model_digest": bundle.digest, "array_digest": scored.array_digest},
        versions=stated.versions,
        device=scorer.device.type,
        precision="float32",
        pretrained=stated.pretrained,
        class_prevalence=dict(zip(at_home, bundle.class_prevalence, strict=True)),
        prior_shift=stated.calibration.prior_shift,
        phantoms=bundle.phantoms,
        image_type=bundle.image_type,
        study=scored.recipe.study.stated(),
        sources=stated.sources,
    )


def external_rows(scored: ExternalScores, report: Report) -> pd.DataFrame:
    """scores.csv: one row an image with what it is, and what the bundle says of it."""
    images = report.images
    columns = ["image_name", "patient_id", "group", "label", "target"]
    frame = images.table[columns].copy()
    if images.melanoma:
        if not images.binary:
            frame["melanoma"] = images.positive
        frame["prob"] = images.probability
    if images.binary:
        return frame
    names = [f"prob_{name}" for name in images.classes]
    return pd.concat([frame, pd.DataFrame(images.by_class, frame.index, names)], axis=1)


def _comparable(scorer: Scorer, recipe: Recipe) -> None:
    bundle = scorer.bundle
    if recipe.classes == bundle.classes or (recipe.melanoma and bundle.melanoma):
        return
    raise RecipeError(
        f"the bundle's classes ({', '.join(bundle.classes)}) and those of {recipe.name} "
        f"({', '.join(recipe.classes)}) cannot be compared: they differ, and not both name a "
        "melanoma class"
    )


def _images(scorer: Scorer, scored: ExternalScores) -> ScoredImages:
    """The images in the bundle's classes, or, where the set has others, melanoma or not."""
    bundle, recipe = scorer.bundle, scored.recipe
    frame = scored.table.frame.copy()
    if "group" not in frame:
        keys = [frame["patient_id"].tolist(), frame["lesion_id"].tolist()]
        frame["group"] = [f"g{number}" for number in join_groups(keys)]
    frame["fold"] = NO_FOLD
    probabilities = bundle.served(scorer.calibrate(scored.member_logits).mean(axis=1))
    if recipe.classes == bundle.classes:
        fields = (bundle.classes, bundle.melanoma, probabilities, probabilities)
        return ScoredImages(frame, *fields, bundle.class_prevalence, bundle.risk)
    melanoma = np.isin(frame["label"], list(recipe.melanoma))
    frame["target"] = melanoma.astype(np.int64)
    frame["label"] = np.where(melanoma, "melanoma", "other")
    pair = _melanoma_or_not(probabilities, bundle)
    share = bundle.prevalence or 0.0
    priors = (1 - share, share)
    return ScoredImages(frame, ("other", "melanoma"), ("melanoma",), pair, pair, priors)


def _sets(
    scorer: Scorer, scored: ExternalScores, images: ScoredImages, *, resamples: int, seed: int
) -> PredictionSets | None:
    """What the bundle's sets reach here, the ensemble's and those of its members."""
    bundle = scorer.bundle
    if bundle.sets is None:
        return None
    by_member = scorer.calibrate(scored.member_logits)
    sets = [bundle.sets.of(values) for values in (by_member.mean(axis=1), by_member)]
    if images.classes != bundle.classes:
        melanoma = np.isin(bundle.classes, bundle.melanoma)
        sets = [
            np.stack([one[..., ~melanoma].any(-1), one[..., melanoma].any(-1)], axis=-1)
            for one in sets
        ]
    ours, theirs = sets
    own = theirs[np.arange(len(images)), :, images.target]
    return describe_sets(
        images,
        ours,
        bundle.sets,
        bundle.thresholds,
        bundle.other_cancer if images.risk else None,
        resamples=resamples,
        seed=seed,
        members=float(own.mean()),
    )


def _uncalibrated(scored: ExternalScores, scorer: Scorer, images: ScoredImages) -> Floats:
    """(N, C): what the networks themselves say, averaged, in the classes of `images`."""
    bundle, logits = scorer.bundle, scored.member_logits
    members = [plain_probabilities(logits[:, k]) for k in range(logits.shape[1])]
    mean: Floats = np.mean(members, axis=0)
    return mean if images.classes == bundle.classes else _melanoma_or_not(mean, bundle)


def _melanoma_or_not(probabilities: Floats, bundle: Bundle) -> Floats:
    """(N, 2) of (N, C)."""
    columns = bundle.melanoma_columns
    return by_class(probabilities[:, columns].sum(axis=1, keepdims=True))


def _recalibration(
    scorer: Scorer, scored: ExternalScores, images: ScoredImages
) -> dict[str, float] | None:
    """What a fit on these images would be (Cox 1958), and the Brier score before and after it.

    The score after it is cross-fitted on halves of the groups: a fit flatters its own images.
    """
    target: npt.NDArray[np.int64] = images.positive
    halves = crossfit_parts(np.zeros_like(images.groups), images.groups)
    both = [set(target[halves == half]) for half in (0, 1)]
    if not images.melanoma or any(classes != {0, 1} for classes in both):
        return None
    odds = logit(np.clip(images.probability, 1e-15, 1 - 1e-15))
    whole = _fit(odds, target)
    after = np.empty(len(odds))
    for half in (0, 1):
        own = halves == half
        after[own] = _fit(odds[~own], target[~own]).of(images.probability[own])
    ones = np.ones((1, len(target)))
    return {
        "slope": whole.slope,
        "intercept": whole.intercept,
        "brier_as_sealed": float(brier_score(target, images.probability)(ones)[0]),
        "brier_recalibrated": float(brier_score(target, after)(ones)[0]),
        "prevalence": whole.prevalence,
    }


def _fit(odds: Floats, target: Integers) -> Move:
    """The Move that makes the outcomes of both kinds, (N,), most likely."""
    fit = fit_calibration(odds, target)
    assert not isinstance(fit.intercept, tuple)
    return Move(fit.slope, fit.intercept, float(target.mean()))
