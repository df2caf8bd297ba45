"""Sets that no fold held out: an external one, and the fold file's own test part.

Both are scored by the sealed bundle; python -m melanoma.evaluate opens them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from melanoma.data.find_array import find_array
from melanoma.data.folds import load_folds
from melanoma.data.leaks import LeakAudit, audit_test, seen_rows
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.devices import resolve_device
from melanoma.errors import DataError, RecipeError
from melanoma.evaluation.measure.subgroups import require_reported, with_reference
from melanoma.evaluation.render.report_files import save_report
from melanoma.evaluation.report.assemble import with_words
from melanoma.evaluation.report.build import Report
from melanoma.evaluation.report.external_results import external_result, with_external
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema_parts import Flow
from melanoma.evaluation.report.schema_parts import LeakAudit as Overlap
from melanoma.evaluation.scored_images import NO_FOLD
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.golden import require_golden
from melanoma.scoring.bundle.recalibrated import doubt_fit, seal_recalibrated
from melanoma.scoring.bundle.reseal import reseal
from melanoma.scoring.external_set import (
    build_external_report,
    external_rows,
    is_calibrated_on,
    score_external,
)
from melanoma.scoring.files.score_rows import plain_table
from melanoma.scoring.scorer import Scorer
from melanoma.scoring.test_part import report_holdout, score_holdout
from melanoma.storage import write_text
from melanoma.training.run.run_folder import read_recipe
from melanoma.workflows.overlap import Seen, find_seen
from melanoma.workflows.prepare import prepare_array
from melanoma.workflows.split import search_duplicates
from melanoma.workflows.watch import SILENT, Watch

SEEN = "seen.csv"  # what --unseen left out, and why


def evaluate_test(
    folder: Path,
    fold_path: Path,
    data: Path,
    arrays: Path,
    *,
    device: str = "auto",
    seed: int | None = None,
    by: tuple[str, ...] = (),
    names: bool = False,
    watch: Watch = SILENT,
) -> Report | None:
    """The sealed bundle's report on the fold file's test part, in FOLDER/test; None without one.

    A bundle that lacks folds does not score it: the whole one would be the second model to.
    """

    table = load_folds(fold_path)
    if table.test.empty:
        return None
    recipe = read_recipe(folder)
    if recipe.model.embeddings is not None:
        watch.say(f"note: the test part ({len(table.test):,} images) needs a bundle; not scored")
        return None
    bundle = load_bundle(folder)
    if len(bundle.members) < bundle.folds_expected:
        watch.say(
            f"note: the test part ({len(table.test):,} images) waits until all "
            f"{bundle.folds_expected} folds are trained"
        )
        return None
    table = load_folds(fold_path, classes=bundle.classes)
    array = find_array(arrays, recipe.image, data=data, say=watch.say)
    array = array or prepare_array(recipe, data, arrays, watch=watch)
    scorer = Scorer(bundle, device=resolve_device(device))
    require_golden(scorer)
    holdout = score_holdout(scorer, table, array, recipe, folder / "test", progress=watch.progress)
    if holdout.reused:
        watch.say(
            f"note: these weights scored the test part before; {folder / 'test'} has what they said"
        )
    whole = table.whole["image_name"].tolist()
    return report_holdout(
        scorer,
        holdout,
        recipe,
        folder / "test",
        audit=audit_test(
            table, search_duplicates(array, arrays, watch=watch).among(array.names, whole)
        ),
        by=by,
        seed=recipe.seed if seed is None else seed,
        names=names,
    )


def evaluate_external(
    weights: Path,
    recipe: Recipe,
    data: Path,
    *,
    arrays: Path,
    training: tuple[Path, Path],
    device: str = "auto",
    seed: int | None = None,
    by: tuple[str, ...] = (),
    recalibrate: Path | None = None,
    attach: bool = False,
    unseen: bool = False,
    names: bool = False,
    watch: Watch = SILENT,
) -> tuple[Report, Path]:
    """The sealed bundle's report on `recipe`'s labeled set in `data`, and the folder it is in.

    With `attach` the result is sealed into the bundle as well, whose own numbers stay. With
    `unseen` what shows images, patients or lesions of the bundle's training is left out; FOLDER's
    seen.csv has its names, and why.
    `training` is the fold file and the array folder that the bundle was trained from: where either
    is absent, overlap is looked for as far as can be, and the report says what was not. Raises
    RecipeError for a copy's own set with `attach`: it was calibrated on it; DataError with `attach`
    or `recalibrate` where the set shares with the training.
    """

    bundle = load_bundle(weights)
    if attach and is_calibrated_on(bundle, recipe.name):
        raise RecipeError(
            f"--attach: {weights} was calibrated on {recipe.name}, which is no test of it; other "
            "images need another name in their recipe"
        )
    own = read_recipe(weights)
    # Squared as the training images were: what the bundle was trained on is what it must see.
    recipe = recipe.model_copy(update={"image": own.image})
    array = prepare_array(recipe, data, arrays, watch=watch)
    table = read_lesions(data, recipe.data, classes=recipe.classes).require_sound()
    # The two columns that a report gives its images.
    require_reported(by, with_reference(table.frame.assign(group="", fold=NO_FOLD)))
    scorer = Scorer(bundle, device=resolve_device(device))
    require_golden(scorer)
    folder = weights / "external" / recipe.name
    readable = table.frame[table.frame["image_name"].isin(array.row_of)]
    judged = replace(table, frame=readable.reset_index(drop=True))
    seen = find_seen(bundle, own, training, judged, array, watch=watch)
    why: dict[str, str] = {}
    if unseen:
        alike = search_duplicates(array, arrays, watch=watch)
        pairs = alike.among(array.names, judged.frame["image_name"].tolist()).pairs
        why = seen_rows(seen.audit(judged.frame), judged.frame, pairs)
        judged = _without_seen(judged, why, seen, folder, watch=watch)
    overlap = seen.audit(judged.frame)
    # The findings head the report, which names no image: the names are for whoever evaluates.
    for line in overlap.lists(longer_than=0):
        watch.say(line)
    if overlap.leaks:
        _require_no_use(overlap, attach=attach, recalibrate=recalibrate is not None)
        watch.say("  --unseen leaves out what shows these")
    scored = score_external(scorer, judged, array, recipe, progress=watch.progress)
    report = build_external_report(
        scorer,
        scored,
        overlap=Overlap.model_validate(overlap.as_facts()),
        by=by,
        resamples=own.evaluation.resamples,
        seed=own.seed if seed is None else seed,
    )
    flow = Flow(
        read=len(table),
        unreadable=len(table) - len(readable),
        trained_on=len(readable) - len(judged) if unseen else None,
    )
    report = replace(report, content=with_words(report.content.model_copy(update={"flow": flow})))
    rows = external_rows(scored, report)
    if not names:
        report = replace(report, content=without_names(report.content))
    _keep_seen(folder / SEEN, why if unseen else None)
    write_text(folder / "scores.csv", plain_table(rows).to_csv(index=False, float_format="%.17g"))
    save_report(report, own, folder, card=False)
    if attach:
        result = external_result(report.content, source=recipe.study.source)
        sealed = reseal(bundle, with_external(bundle.report, result))
        watch.say(f"sealed the result into {weights}, whose digest is now {sealed.digest[:12]}")
    if recalibrate is not None and report.content.external is not None:
        seal_recalibrated(bundle, recalibrate, own, report.content.external)
        watch.say(
            f"sealed a copy calibrated on {recipe.name} in {recalibrate}, with its report.html and "
            "MODEL_CARD.md"
        )
        for line in doubt_fit(report.content.external):
            watch.say(line)
    return report, folder


def _require_no_use(overlap: LeakAudit, *, attach: bool, recalibrate: bool) -> None:
    """Raise DataError where a set that shares with the training would be more than looked at."""
    uses = {
        "--attach": attach and "no test of it",
        "--recalibrate": recalibrate and "what it was trained on it is surer of than of the rest",
    }
    for option, why in uses.items():
        if why:
            raise DataError(
                f"{option}: {'; '.join(overlap.findings)}: {why}; --unseen leaves out what shows "
                "these"
            )


def _without_seen(
    table: LesionTable, why: Mapping[str, str], seen: Seen, folder: Path, *, watch: Watch
) -> LesionTable:
    """The table without what the bundle was trained on. Raises DataError where that is all."""
    if len(why) == len(table):
        findings = seen.audit(table.frame).findings
        raise DataError(
            f"{table.folder}: --unseen leaves none of {len(table):,} images: "
            f"{'; '.join(findings)}; where names or patients are only called alike, call them "
            "otherwise"
        )
    watch.say(f"left out {len(why):,} of {len(table):,} images ({folder / SEEN})")
    frame = table.frame[~table.frame["image_name"].isin(why)].reset_index(drop=True)
    return replace(table, frame=frame)


def _keep_seen(path: Path, why: Mapping[str, str] | None) -> None:
    """seen.csv of the report that is about to be written; none (None) where nothing was asked to
    be left out."""
    if why is None:
        path.unlink(missing_ok=True)
        return
    listed = pd.DataFrame({"image_name": list(why), "shared": list(why.values())}, dtype=str)
    write_text(path, plain_table(listed).to_csv(index=False))
