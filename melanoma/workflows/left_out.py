"""What the same training reached elsewhere without some of its sources: the honest estimate for a
place like those."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from melanoma.errors import RecipeError, WeightsError
from melanoma.evaluation.number_format import listed
from melanoma.evaluation.report.schema import ExternalResult, ReportContent
from melanoma.recipe.differences import differences
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.source_section import Source
from melanoma.storage import read_text
from melanoma.training.run.facts import RunStart, read_facts
from melanoma.training.run.run_folder import read_recipe

# Of a recipe, what two trainings with other sources may differ in: rounding comes after both.
_NO_TRAINING = ("name:", "data.sources", "training.bfloat16_weights:")


def left_out_results(
    recipe: Recipe, folders: Sequence[Path], *, ours: RunStart | None = None
) -> tuple[ExternalResult, ...]:
    """The results elsewhere of the runs in `folders`, each trained as `recipe` without some of its
    sources; whether a source was held out, so that each fold missed a part of it, may differ.

    `ours` are a fold's facts of the recipe's run. Raises RecipeError for a run that differs in
    more, or was trained on other images or folds, or on another state of a source that both have,
    WeightsError for one that was not evaluated, or scored nowhere else.
    """
    external_results: list[ExternalResult] = []
    for folder in folders:
        fold = _a_fold(folder)
        without = _left_out(recipe, read_recipe(fold), folder)
        _require_same_data(ours, read_facts(fold), folder)
        results = _results(folder)
        if not results:
            raise WeightsError(
                f"{folder} has no result elsewhere; evaluate --external RECIPE --attach makes one"
            )
        for result in results:
            where = f"{result.source or result.name}, by the same training without {without}"
            external_results.append(result.model_copy(update={"source": where, "without": without}))
    return tuple(external_results)


def _a_fold(folder: Path) -> Path:
    folds = sorted(folder.glob("fold_*/recipe.yaml"))
    if not folds:
        raise WeightsError(f"{folder} holds no run: no fold_N/recipe.yaml")
    return folds[0].parent


def _left_out(ours: Recipe, theirs: Recipe, folder: Path) -> str:
    """The names of the sources that the other recipe lacks."""
    other_differences = [
        line
        for line in differences(ours.identity(), theirs.identity())
        if not line.startswith(_NO_TRAINING)
    ]
    own = {source.name: source for source in ours.data.sources}
    remaining = {source.name: source for source in theirs.data.sources}
    changed = [n for n, s in remaining.items() if n not in own or not _same(s, own[n])]
    absent = [name for name in own if name not in remaining]
    if other_differences or changed or not absent:
        what = "; ".join([*other_differences, *(f"source {n} differs" for n in changed)])
        raise RecipeError(
            f"--left-out {folder}: it is not this recipe without some of its sources "
            f"({what or 'it has all of them'})"
        )
    return listed(absent)


def _require_same_data(ours: RunStart | None, theirs: RunStart | None, folder: Path) -> None:
    here, there = ({} if one is None else _data(one) for one in (ours, theirs))
    for name, digits in here.items():
        if there.get(name, digits) != digits:
            raise RecipeError(
                f"--left-out {folder}: it was trained on other data ({name}: {there[name]}, here "
                f"{digits})"
            )


def _data(facts: RunStart) -> dict[str, str]:
    """The first digits of what tells one state of the data from another."""
    digests = {"folds_digest": facts.folds_digest, "array_digest": facts.array_digest}
    digests |= {f"source {source.name}": source.digest for source in facts.sources or ()}
    digests |= {"loss.auxiliary": facts.auxiliary} if facts.auxiliary else {}
    return {name: digest[:12] for name, digest in digests.items()}


def _same(one: Source, other: Source) -> bool:
    """Whether two sources are read and drawn alike, wherever they lie."""
    anywhere = {"folder": "", "held_out": False}
    return one.model_copy(update=anywhere) == other.model_copy(update=anywhere)


def _results(folder: Path) -> list[ExternalResult]:
    """The run's own results elsewhere, without those that it repeats of runs with fewer sources."""
    try:
        report = ReportContent.model_validate_json(read_text(folder / "report.json"))
        return [result for result in report.external_results if result.without is None]
    except (OSError, ValidationError) as error:
        raise WeightsError(
            f"{folder} has no sound report.json; run evaluate on it first"
        ) from error
