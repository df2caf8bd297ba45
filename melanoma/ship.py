"""python -m melanoma.ship: a half-size copy of a sealed bundle, to come with a clone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from melanoma import terminal as t

app = t.make_app()


@app.command()
def ship(
    out: Annotated[Path, typer.Option("--out", help="Folder of the copy; it must be new.")],
    config: t.Config = t.DEFAULT_CONFIG,
    weights: t.Weights = None,
    settings: t.Settings = None,
    note: Annotated[
        list[Path] | None,
        typer.Option("--note", help="File that goes along, such as a license; repeatable."),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="Share of melanomas where the copy will be used."),
    ] = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names/--no-names",
            help="Digests of the training images' names go along, for audits; or none.",
        ),
    ] = True,
    json: t.AsJson = False,
) -> None:
    """Copy a sealed bundle with its members in half precision, and say what the rounding does."""
    start = time.monotonic()
    from melanoma.scoring.bundle.bundle import load_bundle
    from melanoma.scoring.bundle.shipped_copy import ship_bundle

    bundle = load_bundle(t.bundle_folder(weights, config, settings))
    shipped = ship_bundle(bundle, out, notes=note or [], prevalence=prevalence, names=names)
    if json:
        t.answer_json(
            {
                "folder": str(out),
                "digest": shipped.bundle.digest,
                "member_bytes": shipped.member_bytes,
                "largest_logit_change": shipped.largest,
            }
        )
    t.say(
        f"{len(shipped.bundle.members)} members, {shipped.member_bytes / 1e6:.1f} MB; the golden "
        f"image's logits move by {shipped.largest:.1g} at most; wrote {out}, digest "
        f"{shipped.bundle.digest[:12]}, in {t.duration(start)}"
    )


if __name__ == "__main__":
    t.run(app)
