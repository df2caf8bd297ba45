"""python -m melanoma.split: freeze which image is held out when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from melanoma import terminal as t
from melanoma.workflows.places import fold_file

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
    from melanoma.workflows.remember import remember_options
    from melanoma.workflows.split import split_folds

    settings = [*(settings or []), *([f"folds.seed={seed}"] if seed is not None else [])]
    asked = t.read_asked(
        *(config, settings, None),
        data=data,
        arrays=arrays,
        folds=out or folds,
        image_col=image_col,
        target_col=target_col,
        group_col=group_col,
    )
    recipe = asked.recipe
    path = out or fold_file(folds, recipe)
    table, audit = split_folds(recipe, data, arrays, path, watch=t.watch())
    remember_options(None, arrays, asked.base, asked.options, folds=path)
    counts = table.counts()
    if json:
        rows = [{"fold": fold, **row} for fold, row in counts.to_dict("index").items()]
        shared = audit_folds(table)
        whole = {kind: getattr(shared, kind) for kind in ("patients", "lesions", "groups")}
        facts = {"folds": str(path), "digest": table.digest, "counts": rows}
        t.answer_json({**facts, "audit": audit, "leaks": whole})
        return
    t.answer(counts.to_string())
    for line in audit:
        t.answer(line)
    folds_of = f"{len(table.folds)} folds" if len(table.folds) > 1 else "a single split"
    test = f" and a test part of {len(table.test):,}" if len(table.test) else ""
    t.answer(
        f"{path}: {len(table.frame):,} images in {folds_of}{test}, "
        f"seed {recipe.folds.seed}, digest {table.digest[:12]}"
    )


if __name__ == "__main__":
    t.run(app)
