"""The finished folds of a run: their recipe, table and scores, checked against their sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from melanoma.data.find_array import find_array, require_same_files
from melanoma.data.folds import FoldTable, label_folds, load_folds
from melanoma.data.leaks import with_identities
from melanoma.data.symmetries import require_view_order
from melanoma.errors import DataError, WeightsError
from melanoma.evaluation.score_table import ScoreTable, concat_scores
from melanoma.recipe.differences import differences
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts, read_facts
from melanoma.training.run.run_folder import FoldRun, fold_folder, load_run, read_recipe
from melanoma.workflows.source import require_same_source
from melanoma.workflows.watch import Watch


@dataclass(frozen=True)
class FinishedFolds:
    """What was trained in `folder` by `recipe` on the fold table in `path`."""

    folder: Path
    path: Path
    recipe: Recipe
    table: FoldTable
    runs: list[FoldRun]

    @property
    def facts(self) -> list[RunFacts]:
        """The folds' facts, in the order of the runs."""
        return [run.facts for run in self.runs]

    @cached_property
    def scores(self) -> ScoreTable:
        """The held-out scores of all folds, in the order of the fold table."""
        trained = self.table.frame["fold"].isin([run.fold for run in self.runs])
        held_out = self.table.frame["image_name"][trained].tolist()
        return concat_scores([run.scores for run in self.runs], held_out)


def finished_folds(
    recipe: Recipe, folder: Path, fold_path: Path, *, allow_missing: bool = False, watch: Watch
) -> FinishedFolds:
    """The folds in `folder`, by the recipe they were trained by, evaluated as `recipe` asks.

    Raises WeightsError for a fold that is absent or broken (absent ones are left out where they
    are allowed to be), and for folds of several recipes or arrays, or of another fold file.
    """
    table = load_folds(fold_path)
    runs = _finished_runs(folder, table.folds, allow_missing=allow_missing)
    if any(run.facts.folds_digest != table.digest for run in runs):
        raise WeightsError(
            f"{folder} was trained on other folds than {fold_path}; name its fold file with --folds"
        )
    trained = _trained_recipe(recipe, runs, watch=watch)
    _require_same_data(runs)  # after the recipes: another image.size is another array as well
    return FinishedFolds(folder, fold_path, trained, table, runs)


def require_same_images(
    trained: FinishedFolds, data: Path | None, arrays: Path | None, *, watch: Watch
) -> FoldTable:
    """Raise FoldError where the folds' source table changed since, DataError where images did.

    The images are those of the array in `arrays`: another array than the folds were trained on, or
    none, tells nothing of them. Returns the fold table with the patients and lesions that only the
    source table knows, where that is at hand.
    """
    labeled = label_folds(trained.table, trained.recipe.classes, origin=str(trained.path))
    source = require_same_source(trained.recipe, labeled, trained.path, data, watch=watch)
    if source is None:
        return trained.table
    identified = with_identities(trained.table, source)
    if arrays is None:
        return identified
    try:
        array = find_array(
            arrays, trained.recipe.image, data=source.folder, say=watch.say, amend=False
        )
    except DataError as error:
        watch.say(f"note: the image files are not compared with the array ({error})")
        return identified
    if array is not None and array.digest == trained.facts[0].array_digest:
        require_same_files(array, source, arrays, say=watch.say)
    return identified


def _finished_runs(folder: Path, numbers: list[int], *, allow_missing: bool) -> list[FoldRun]:
    """Every fold's run. Raises WeightsError for one that is absent or broken."""
    runs = []
    for number in numbers:
        facts = read_facts(fold_folder(folder, number))
        if allow_missing and not (facts and facts.finished):
            continue
        runs.append(load_run(fold_folder(folder, number)))
    if not runs:
        raise WeightsError(f"no finished fold in {folder}; run python -m melanoma.train --fold all")
    return runs


def _require_same_data(runs: list[FoldRun]) -> None:
    """Raise WeightsError where the folds were trained on images or tables of several states."""
    first = runs[0]
    columns = all(run.facts.auxiliary for run in runs)  # earlier versions wrote none
    for run in runs:
        ours, theirs = (_data(one.facts, columns=columns) for one in (run, first))
        other = differences(ours, theirs)
        if other:
            raise WeightsError(
                f"{run.folder} and {first.folder} were trained on different data "
                f"({'; '.join(other)}); train one of them again with --resume never"
            )


def _data(facts: RunFacts, *, columns: bool) -> dict[str, str]:
    """The first digits of what tells one state of the data from another, of the whole run; with
    `columns` also of what loss.auxiliary learns from."""
    digests = {"array": facts.array_digest}
    digests |= {"loss.auxiliary": str(facts.auxiliary)} if columns else {}
    digests |= {f"source {one.name}": one.digest for one in facts.sources or ()}
    return {name: digest[:12] for name, digest in digests.items()}


def _trained_recipe(asked: Recipe, runs: list[FoldRun], *, watch: Watch) -> Recipe:
    """The recipe that the folds were trained by, with the evaluation and the risks asked for.

    The fold folders are the contract: what was trained is what is reported, and a command line
    that says otherwise is told so. Raises WeightsError when the folds differ among themselves.
    """
    recipes = [read_recipe(run.folder) for run in runs]
    first = recipes[0]
    for run, recipe in zip(runs, recipes, strict=True):
        fold_differences = differences(recipe.identity(), first.identity())
        if fold_differences:
            raise WeightsError(
                f"{run.folder} and {runs[0].folder} were trained by different recipes "
                f"({'; '.join(fold_differences)}); train one of them again with --resume never"
            )
    differing = differences(first.identity(), asked.identity())
    if differing:
        watch.say(
            "note: reporting what was trained, not what the command line says "
            f"({'; '.join(differing)})"
        )
    for run in runs:
        require_view_order(run.facts.view_order, first.evaluation.views, str(run.folder))
    evaluation = asked.evaluation.model_copy(update={"views": first.evaluation.views})
    stated = {
        "evaluation": evaluation,
        "risk": asked.risk,
        "image_type": asked.image_type,
        "study": asked.study,
    }
    return first.model_copy(update=stated)
