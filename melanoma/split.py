"""python -m melanoma.split: freeze which image is held out when."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.recipe.recipe import Recipe

if TYPE_CHECKING:
    from melanoma.data.arrays import ImageArray
    from melanoma.data.duplicates.search import Duplicates
    from melanoma.data.folds import FoldTable

app = t.make_app()


@app.command()
def split(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    folds: t.FoldFile = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Same as --folds: the file to write.")
    ] = None,
    settings: t.Settings = None,
    seed: t.Seed = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    json: t.AsJson = False,
) -> None:
    """Write the fold file, and print its counts and what leaks (--json: every name that does)."""
    from melanoma.data.leaks import audit_folds

    settings = [*(settings or []), *([f"folds.seed={seed}"] if seed is not None else [])]
    recipe = t.read_recipe_options(
        config, settings, None, image_col=image_col, target_col=target_col, group_col=group_col
    )
    path = out or t.fold_file(folds, recipe)
    table, audit = split_folds(recipe, data, arrays, path)
    counts = table.counts()
    if json:
        rows = [{"fold": fold, **row} for fold, row in counts.to_dict("index").items()]
        shared = audit_folds(table)
        whole = {kind: getattr(shared, kind) for kind in ("patients", "lesions", "groups")}
        found = {"folds": str(path), "digest": table.digest, "counts": rows}
        t.answer_json({**found, "audit": audit, "leaks": whole})
        return
    t.answer(counts.to_string())
    for line in audit:
        t.answer(line)
    folds_of = f"{len(table.folds)} folds" if recipe.folds.k > 1 else "a single split"
    test = f" and a test part of {len(table.test):,}" if len(table.test) else ""
    t.answer(
        f"{path}: {len(table.frame):,} images in {folds_of}{test}, "
        f"seed {recipe.folds.seed}, digest {table.digest[:12]}"
    )


def split_folds(
    recipe: Recipe, data: Path, arrays: Path, path: Path
) -> tuple[FoldTable, list[str]]:
    """Make and save the fold file; returns it with the lines of its leak audit.

    Images that are one photograph are joined where the array is there to show them; an array in the
    making is waited for.
    """
    from melanoma.data.array_lock import hold_arrays

    # No folder is made for a lock, and one that is read-only has nobody writing into it.
    there = arrays.is_dir() and os.access(arrays, os.W_OK)
    with hold_arrays(arrays, say=t.say) if there else nullcontext():
        return _split_folds(recipe, data, arrays, path)


def _split_folds(
    recipe: Recipe, data: Path, arrays: Path, path: Path
) -> tuple[FoldTable, list[str]]:
    from melanoma.data.arrays import load_array
    from melanoma.data.folds import make_folds, save_folds, with_file_facts
    from melanoma.data.leaks import audit_folds
    from melanoma.data.readers.catalog import read_lesions
    from melanoma.data.readers.table import LesionTable

    table = read_lesions(data, recipe.data, classes=recipe.classes).require_sound()
    for warning in table.warnings:
        t.say(f"warning: {warning}")
    array = load_array(arrays, recipe.image)
    duplicates = None
    audit = ["identical images, near-duplicates: not looked for (no array yet; prepare makes it)"]
    if array is not None and set(table.names) - set(array.skipped) == set(array.names):
        kept = table.frame[~table.frame["image_name"].isin(array.skipped)].reset_index(drop=True)
        table = LesionTable(kept, table.folder)
        duplicates = search_duplicates(array, arrays).among(array.names, table.names)
        audit = [
            f"joined: {len(duplicates.identical)} pairs of identical images, "
            f"{len(duplicates.near)} pairs of near-duplicates"
        ]
    pairs = duplicates.pairs if duplicates else ()
    if "part" in table.frame and recipe.folds.holdout != "folders":
        own = int((table.frame["part"] == "test").sum())
        audit.append(
            f"note: the data's own test part ({own:,} images) is among the others here; "
            "folds.holdout=folders keeps it apart"
        )
    folds = with_file_facts(make_folds(table, recipe.folds, pairs=pairs), array)
    save_folds(folds, path)
    found = audit_folds(folds, duplicates).findings
    audit += [f"LEAK: {finding}" for finding in found]
    if not found:
        where = "two parts" if len(folds.test) else "two folds"
        audit.append(f"no patient, lesion or photograph in {where}")
    return folds, audit


def search_duplicates(array: ImageArray, arrays: Path) -> Duplicates:
    """The array's duplicates; says on stderr where they must be searched."""
    from melanoma.data.array_lock import hold_arrays
    from melanoma.data.duplicates.search import find_duplicates, has_duplicates

    if has_duplicates(array, arrays):
        return find_duplicates(array, arrays)
    with hold_arrays(arrays, say=t.say):
        if not has_duplicates(array, arrays):
            t.say(f"looking for duplicates among {len(array):,} images")
        return find_duplicates(array, arrays, progress=t.progress)


if __name__ == "__main__":
    t.run(app)
