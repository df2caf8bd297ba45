"""The sources of a run that its folds hold out (held_out): scored each by the fold that never saw
it, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.folds import FoldTable
from melanoma.data.name_digests import training_name_digest
from melanoma.data.sources import JoinedSources, SourceTable, load_rows
from melanoma.devices import resolve_device
from melanoma.errors import DataError
from melanoma.evaluation.measure.held_out_source import describe_held_out
from melanoma.evaluation.report.build import Report
from melanoma.evaluation.report.schema_sources import SourceLine
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.training.weights_origin import DIGITS, read_seen
from melanoma.types import Floats, Integers
from melanoma.workflows.embed_held_out import fold_member, trained_array
from melanoma.workflows.finished import FinishedFolds
from melanoma.workflows.fold_sources import join_folds, source_folder
from melanoma.workflows.watch import Watch

SOURCES = "sources"  # folder of a run's, NAME.csv of each source that was scored
_BATCH, _SHOWN = 32, 3


@dataclass(frozen=True)
class HeldOutScores:
    """A source's images in the classes other and melanoma, each scored by the fold in `fold`."""

    name: str
    images: ScoredImages

    @property
    def rows(self) -> pd.DataFrame:
        """One row an image: what it is, the fold that held it out, and the bundle's probability."""
        columns = ["image_name", "patient_id", "group", "label", "fold"]
        more = {"melanoma": self.images.positive, "prob": self.images.probability}
        return self.images.table[columns].assign(**more)


def score_held_out_sources(
    trained: FinishedFolds, report: Report, folds: FoldTable, arrays: Path | None, *, watch: Watch
) -> list[HeldOutScores]:
    """The scores of each source that is held out, dealt out as for the training: `folds` have the
    identities that require_same_images found. None, and a note that says why, while a fold is not
    trained, or where the arrays are not at hand."""
    wanted = [source.name for source in trained.recipe.data.sources if source.held_out]
    if not wanted:
        return []
    if len(trained.runs) < len(trained.table.folds):
        watch.say(f"note: {', '.join(wanted)}: scored once all folds are trained")
        return []
    array = trained_array(trained, arrays, watch=watch)
    if array is None or arrays is None:
        return []
    tables = _frozen(trained, arrays, watch=watch)
    if not tables:
        return []
    joined = join_folds(trained.recipe, array, folds, tables, arrays, watch=watch)
    scored = (
        _score(trained, report, table, joined, number, watch=watch)
        for number, table in enumerate(tables)
        if table.source.held_out
    )
    return [one for one in scored if len(one.images)]


def with_held_out(
    lines: Sequence[SourceLine],
    scored: Sequence[HeldOutScores],
    report: Report,
    *,
    resamples: int,
    seed: int,
) -> tuple[SourceLine, ...]:
    """The report's lines of its sources, those that were scored with what was reached."""
    found = {
        one.name: describe_held_out(
            one.images,
            report.thresholds[0],
            trained=report.calibration.prevalence or 0.0,
            resamples=resamples,
            seed=seed,
        )
        for one in scored
    }
    return tuple(line.model_copy(update={"held_out": found.get(line.name)}) for line in lines)


def _frozen(trained: FinishedFolds, arrays: Path, *, watch: Watch) -> list[SourceTable]:
    """The sources as they trained; nothing, and a note, where one is absent or another."""
    tables = []
    digests = {source.name: source.digest for source in trained.facts[0].sources or ()}
    for source in trained.recipe.data.sources:
        folder, table, why = source_folder(arrays, source), None, "it is not there"
        try:
            array = load_array(folder, trained.recipe.image)
            table = None if array is None else load_rows(source, array, folder)
        except DataError as error:
            why = str(error)
        if table is not None and table.digest != digests.get(source.name):
            table, why = None, "it is another than trained"
        if table is None:
            watch.say(f"note: sources are not scored: {folder} is needed, and {why}")
            return []
        tables.append(table)
    return tables


def _score(
    trained: FinishedFolds,
    report: Report,
    table: SourceTable,
    joined: JoinedSources,
    number: int,
    *,
    watch: Watch,
) -> HeldOutScores:
    recipe, folds = trained.recipe, joined.held_out_by(number)
    possible = table.possible(recipe.classes)
    folds = np.where(possible.any(axis=1), folds, -1)
    folds = _without_seen(trained, table, folds, watch=watch)
    rows = np.flatnonzero(folds >= 0)
    logits = _logits(trained, table.array, rows, folds, watch=watch)
    melanoma = possible[rows][:, recipe.melanoma_columns].any(axis=1).astype(np.int64)
    probabilities = report.calibration.probabilities(logits)[:, recipe.melanoma_columns].sum(axis=1)
    pair = np.stack([1 - probabilities, probabilities], axis=1)
    frame = table.frame.iloc[rows].reset_index(drop=True)
    frame = frame.drop(columns="soft_target").assign(
        group=[f"g{group}" for group in joined.groups[number][rows]],
        target=melanoma,
        fold=folds[rows],
    )
    share = report.calibration.prevalence or 0.0
    classes = ("other", "melanoma")
    images = ScoredImages(frame, classes, classes[1:], pair, pair, (1 - share, share))
    return HeldOutScores(table.source.name, images)


def _without_seen(
    trained: FinishedFolds, table: SourceTable, folds: Integers, *, watch: Watch
) -> Integers:
    """The folds, -1 for a row that the fold's records name among what it, or its starting weights,
    trained on, by its name, that name's digest, or its pixels: those are said, and not scored."""
    names, pixels = table.array.names, table.array.row_digests
    held = folds.copy()
    for run in trained.runs:
        seen = read_seen(run.folder)
        known = {*seen, *filter(None, seen.values())}
        for row in np.flatnonzero(folds == run.facts.fold):
            name = names[row]
            if known & {name, training_name_digest(name), pixels[row][:DIGITS]}:
                held[row] = -1
    dropped = [names[row] for row in np.flatnonzero(held != folds)]
    if dropped:
        shown = ", ".join(dropped[:_SHOWN]) + (", ..." if len(dropped) > _SHOWN else "")
        watch.say(
            f"warning: {len(dropped):,} images of source {table.source.name} are not scored: the "
            f"fold that holds them out, or its starting weights, trained on them ({shown})"
        )
    return held


def _logits(
    trained: FinishedFolds, array: ImageArray, rows: Integers, folds: Integers, *, watch: Watch
) -> Floats:
    """(len(rows), outputs) logits over the recipe's views by each row's fold, its prior shift taken
    out."""
    recipe, device = trained.recipe, resolve_device("auto")
    shifts = {facts.fold: np.asarray(facts.prior_shift, np.float64) for facts in trained.facts}
    logits = np.zeros((len(rows), recipe.outputs))
    for fold in watch.progress(np.unique(folds[rows]).tolist(), desc="sources", unit="fold"):
        member = fold_member(trained, fold, device=device)
        own = np.flatnonzero(folds[rows] == fold)
        for part in np.array_split(own, -(-len(own) // _BATCH)):
            squares = array.rows(rows[part])
            found = member.logits(squares, views=recipe.evaluation.views)[:, 0]
            logits[part] = found - shifts[fold]
    return logits
