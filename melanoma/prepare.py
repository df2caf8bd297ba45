"""python -m melanoma.prepare: check the table and the images, write the array."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from melanoma import terminal as t

app = t.make_app()


@app.command()
def prepare(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    settings: t.Settings = None,
    seed: t.Seed = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out missing and damaged images, up to 1 %.")
    ] = False,
    json: t.AsJson = False,
) -> None:
    """Check the table and the images, and write them as one array in csv order."""
    start = time.monotonic()
    asked = t.read_asked(
        *(config, settings, seed),
        data=data,
        arrays=arrays,
        image_col=image_col,
        target_col=target_col,
        group_col=group_col,
    )
    from melanoma.workflows.prepare import prepare_array
    from melanoma.workflows.remember import remember_options

    array = prepare_array(asked.recipe, data, arrays, skip_bad=skip_bad, watch=t.watch())
    remember_options(array, arrays, asked.base, asked.options)
    facts = {
        "array": str(array.path),
        "images": len(array.names),
        "size": array.size,
        "digest": array.digest,
        "skipped": list(array.skipped),
    }
    if json:
        t.answer_json(facts)
        return
    t.answer(
        f"{array.path}: {len(array.names):,} x {array.size} x {array.size} x 3 uint8 RGB, "
        f"digest {array.digest[:12]}, {t.duration(start)}"
    )


if __name__ == "__main__":
    t.run(app)
