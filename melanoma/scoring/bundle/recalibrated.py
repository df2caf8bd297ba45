"""A copy of a bundle whose probabilities are moved by a fit on an external set."""

from __future__ import annotations

import json
from pathlib import Path

from melanoma.errors import RecipeError
from melanoma.evaluation.measure.operating_points import describe_elsewhere
from melanoma.evaluation.prevalence import Move
from melanoma.evaluation.render.figures import save_figures
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.assemble import with_words
from melanoma.evaluation.report.schema import External, Recalibrated
from melanoma.evaluation.score_spread import require_slope
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.new_folder import new_folder
from melanoma.scoring.bundle.staging import MANIFEST
from melanoma.scoring.bundle.statement import restated
from melanoma.storage import copy_file, sha256_of, write_json, write_text
from melanoma.training.weights_origin import TRAINING_IMAGES


def doubt_fit(external: External) -> list[str]:
    """A line where the set's fit makes probabilities worse on images that it was not fitted on."""
    fit = external.recalibration
    if fit is None or fit["brier_recalibrated"] <= fit["brier_as_sealed"]:
        return []
    return [
        f"warning: fitted on each half of the images, the calibration is worse on the other (Brier "
        f"score {fit['brier_recalibrated']:.4f}; as sealed {fit['brier_as_sealed']:.4f}): too few "
        "images, or nothing to mend; the copy is better not used"
    ]


def seal_recalibrated(bundle: Bundle, folder: Path, recipe: Recipe, external: External) -> Bundle:
    """A copy of the bundle in `folder`, its probabilities moved by the external set's fit.

    Its report, page, card and figures say so. Raises RecipeError where there is no fit;
    StorageError in use; WeightsError for a fit that would invent certainty.
    """
    fit = external.recalibration
    if fit is None:
        raise RecipeError(
            "--recalibrate: it needs a class that is melanoma, and several images of both kinds"
        )
    move = Move(fit["slope"], fit["intercept"], fit["prevalence"])
    if bundle.move is not None:  # the fit is of its answers, which are moved already
        move = bundle.move.then(move)
    require_slope(move.slope * bundle.calibration.slope, what=f"--recalibrate, {external.recipe}")
    points = describe_elsewhere(bundle.report.thresholds, move)
    before = _sets_before(bundle, external.recipe)
    recalibrated = Recalibrated(
        external=external.recipe, before=before, thresholds=points, **vars(move)
    )
    # That set is none elsewhere any more, where nothing was fitted: evaluate would not attach it.
    results = bundle.report.external_results
    update = {
        "recalibrated": recalibrated,
        "retargeted": None,
        "bfloat16": None,
        "external_results": tuple(r for r in results if r.name != external.recipe or r.without),
    }
    report = with_words(bundle.report.model_copy(update=update))
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    with new_folder(folder) as stage:
        for file in manifest["sha256"]:
            copy_file(bundle.folder / file, stage / file)
        _copy_seen(bundle, stage)
        write_json(stage / "report.json", report.model_dump(mode="json"))
        write_text(stage / "report.html", render_html(report))
        write_text(stage / "MODEL_CARD.md", render_card(report, recipe))
        save_figures(report, stage / "figures")
        digests = {file: sha256_of(stage / file) for file in manifest["sha256"]}
        sealed = restated({**manifest, "sha256": digests}, recipe, report)
        write_json(stage / MANIFEST, sealed)
    return load_bundle(folder)


def _sets_before(bundle: Bundle, name: str) -> tuple[str, ...]:
    """The sets that the bundle is calibrated on already, but for `name`, in their order."""
    earlier = bundle.report.recalibrated
    sets = () if earlier is None else (*earlier.before, earlier.external)
    return tuple(dict.fromkeys(one for one in sets if one != name))


def _copy_seen(bundle: Bundle, stage: Path) -> None:
    """What a run's starting weights and sources had seen stands beside its members, under no
    digest; without it an external set that shares images with them would seem to share none."""
    for member in bundle.members:
        record = member.file.with_name(TRAINING_IMAGES)
        if record.is_file():
            copy_file(record, stage / record.relative_to(bundle.folder))
