"""python -m melanoma.check: all that is wrong with a data folder, without writing an array."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.errors import DataError, RecipeError

if TYPE_CHECKING:
    from melanoma.data.array_build import Survey
    from melanoma.data.readers.table import LesionTable
    from melanoma.recipe.recipe import Recipe

app = t.make_app()
# What training can live with: identical images stay in one fold, images without a row are not read.
LENIENT = ("duplicates", "unlabeled")
_SHOWN = 5
_PARTS = ("train", "valid", "test")


@app.command()
def check(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    settings: t.Settings = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    warn_only: Annotated[
        list[str] | None,
        typer.Option("--warn-only", help="duplicates or unlabeled: no fault; repeatable."),
    ] = None,
) -> None:
    """Read the table and decode every image; report all problems at once."""
    from melanoma.data.array_build import survey_images
    from melanoma.data.readers.reader_catalog import read_lesions

    unknown = [kind for kind in warn_only or () if kind not in LENIENT]
    if unknown:
        raise RecipeError(f"--warn-only {unknown[0]}: {' or '.join(LENIENT)}")
    recipe = t.read_asked(
        *(config, settings, None),
        data=data,
        arrays=t.DEFAULT_ARRAYS,
        image_col=image_col,
        target_col=target_col,
        group_col=group_col,
    ).recipe
    table = read_lesions(data, recipe.data, classes=recipe.classes)
    survey = survey_images(table, recipe.image, progress=t.progress)
    t.answer(_counts(table, recipe, survey))
    positive = getattr(recipe.data, "positive", None)
    if positive:
        values = " or ".join(map(repr, positive))
        if getattr(recipe.data, "target_cols", ()):
            t.answer(f"melanomas are the rows with their 1 in {values}")
        else:
            column = getattr(recipe.data, "target_col", "target")
            t.answer(f"melanomas are the rows whose {column} is {values}")
    for warning in (*table.warnings, *survey.warnings):
        t.answer(f"warning: {warning}")
    faults = [*survey.problems, *_own_parts(table, recipe)]
    for kind, fault in (("duplicates", _duplicates(table, survey)), ("unlabeled", _bare(table))):
        if fault and kind in (warn_only or ()):
            t.answer(f"warning: {fault}")
        elif fault:
            faults.append(f"{fault} (--warn-only {kind} lets them pass)")
    if faults:
        raise DataError(f"{data}: {'; '.join(faults)}")
    t.answer("nothing to mend")


def _counts(table: LesionTable, recipe: Recipe, survey: Survey) -> str:
    from melanoma.data.readers.identities import count_known

    names = ("others", "melanomas") if recipe.is_binary else recipe.classes
    counts = [f"{int((table.frame['target'] == n).sum()):,} {name}" for n, name in enumerate(names)]
    parts = Counter(table.frame["part"]) if "part" in table.frame else Counter()
    return (
        f"{len(table):,} rows: {', '.join(counts[::-1] if recipe.is_binary else counts)}, "
        f"{count_known(table.frame['patient_id'], 'patient')}, "
        + "".join(f"{parts[part]:,} in {part}, " for part in _PARTS if part in parts)
        + f"{len(survey.duplicates)} pairs of identical images"
    )


def _own_parts(table: LesionTable, recipe: Recipe) -> list[str]:
    from melanoma.data.own_parts import has_own_split, lacking_classes

    if not has_own_split(table, recipe.folds):
        return []
    return lacking_classes(table.frame["part"].reset_index(drop=True), table)


def _duplicates(table: LesionTable, survey: Survey) -> str:
    names, targets = table.names, table.frame["target"].tolist()
    shown = ", ".join(f"{names[a]} = {names[b]}" for a, b in survey.duplicates[:_SHOWN])
    apart = sum(targets[a] != targets[b] for a, b in survey.duplicates)
    labels = f", {apart} of them with different labels" if apart else ""
    return f"{len(survey.duplicates)} pairs of identical images{labels}: {shown}" if shown else ""


def _bare(table: LesionTable) -> str:
    shown = ", ".join(table.unlabeled[:_SHOWN])
    return f"{len(table.unlabeled)} images without a row in the table: {shown}" if shown else ""


if __name__ == "__main__":
    t.run(app)
