"""python -m melanoma.export --to onnx DIR: a sealed bundle for programs that know nothing of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from melanoma import terminal as t
from melanoma.scoring.export.export_catalog import EXPORTS, find_export
from melanoma.scoring.export.export_options import ExportOptions

app = t.make_app()


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; it must be new.")],
    to: Annotated[str, typer.Option("--to", help=f"{', '.join(EXPORTS)}.")],
    config: t.Config = t.DEFAULT_CONFIG,
    weights: t.Weights = None,
    settings: t.Settings = None,
    views: Annotated[
        int | None,
        typer.Option("--views", help="Symmetries in the graph (default: as it was evaluated)."),
    ] = None,
    license_id: Annotated[
        str | None,
        typer.Option("--license", help="What a Hugging Face card states, such as cc-by-nc-4.0."),
    ] = None,
    json: t.AsJson = False,
) -> None:
    """Write a sealed bundle as ONNX, as OpenVINO's IR or as a Hugging Face folder, its calibration
    inside, and compare what is written with the bundle."""
    start = time.monotonic()
    options = ExportOptions(views=views, license=license_id)
    from melanoma.scoring.bundle.bundle import load_bundle

    write = find_export(to)
    bundle = load_bundle(t.bundle_folder(weights, config, settings))
    exported = write(bundle, folder, options)
    if json:
        t.answer_json(
            {
                "folder": str(folder),
                "to": exported.to,
                "bytes": exported.file_bytes,
                "largest_difference": exported.largest,
                "timm": exported.architecture,
                "license": exported.license_id,
            }
        )
    for line in exported.notes:
        t.say(f"warning: {line}")
    t.say(
        f"{bundle.name} {bundle.digest[:12]} as {to}: {exported.file_bytes / 1e6:.1f} MB; its "
        f"probabilities differ from the bundle's by {exported.largest:.1g} at most; wrote {folder} "
        f"in {t.duration(start)}"
    )


if __name__ == "__main__":
    t.run(app)
