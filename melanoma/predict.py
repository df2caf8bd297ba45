"""python -m melanoma.predict IMAGES|DIR|CSV: score files into a table, one row an image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import DataError, RecipeError
from melanoma.explain import Precision, Question, explain_file, name_pictures, require_known

if TYPE_CHECKING:
    from melanoma.scoring.batch import ImageFile

app = t.make_app()


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, folders, or one CSV.")],
    out: Annotated[Path | None, typer.Option("--out", help="Table to write.")] = None,
    submission: Annotated[
        Path | None,
        typer.Option("--submission", help="Kaggle's sample_submission.csv, whose rows to fill."),
    ] = None,
    views: Annotated[
        int | None, typer.Option("--views", help="Symmetries to average: 1, 2, 4 or 8.")
    ] = None,
    config: t.Config = t.DEFAULT_CONFIG,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the images that a CSV names.")
    ] = None,
    weights: t.Weights = None,
    settings: t.Settings = None,
    device: t.Device = "auto",
    image_col: t.ImageCol = None,
    allow_errors: Annotated[
        bool, typer.Option("--allow-errors", help="Exit 0 although some images have no score.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also a LIME picture an image, beside the table.")
    ] = False,
    precision: Precision = "Medium",
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Also print the likeliest classes.")
    ] = None,
    json: t.AsJson = False,
) -> None:
    """Score photographs with a sealed bundle; the same command resumes."""
    start = time.monotonic()
    if views is not None and views not in (1, 2, 4, 8):
        raise RecipeError(f"--views {views}: 1, 2, 4 or 8")
    question = Question("lime", precision)
    require_known(question)
    from melanoma.scoring.batch import as_columns, find_images, score_files
    from melanoma.scoring.submission import require_same_images, write_submission
    from melanoma.storage import write_text

    recipe = t.read_recipe_options(config, settings, None)
    files = find_images(images, data=data, image_col=image_col)
    if submission is not None:
        require_same_images(submission, [f.name for f in files])
    scorer = _load_scorer(t.weights_folder(weights, recipe), device, views)
    _require_melanoma(scorer, submission)
    target = out or Path("submission.csv" if submission else "scores.csv")
    # Without a table to write, answers go to stdout and nothing is kept.
    keep = target if out or submission or not json else None
    rows = score_files(scorer, files, journal=keep, progress=t.progress)
    errors = [row for row in rows if row["error"]]
    if explain:
        _add_pictures(scorer, files, rows, question, folder=target.parent)
    if submission is not None:
        _refuse_errors(errors)
        write_submission(
            submission, {r["image_name"]: r["melanoma_probability"] for r in rows}, target
        )
    elif keep is not None:
        import pandas as pd

        table = pd.DataFrame(as_columns(rows))
        write_text(target, table.to_csv(index=False, lineterminator="\n"))
    if json:
        t.answer_json(rows)
    elif top or len(rows) <= 10:
        _say_rows(rows, top or 0)
    wrote = f"; wrote {target}" if keep else ""
    t.say(
        f"{len(rows) - len(errors):,} of {len(rows):,} images scored in {t.duration(start)} "
        f"with {scorer.bundle.name} {scorer.bundle.digest[:12]}{wrote}"
    )
    if errors and not allow_errors:
        _refuse_errors(errors)


def _load_scorer(folder: Path, device: str, views: int | None) -> Any:
    from melanoma.scoring.bundle import load_bundle
    from melanoma.scoring.scorer import Scorer
    from melanoma.training.engine import resolve_device

    return Scorer(load_bundle(folder), device=resolve_device(device), views=views)


def _add_pictures(
    scorer: Any,
    files: Sequence[ImageFile],
    rows: Sequence[dict[str, Any]],
    question: Question,
    *,
    folder: Path,
) -> None:
    pictures = name_pictures(files, question.method, folder)
    for file, row, picture in t.progress(
        list(zip(files, rows, pictures, strict=True)), desc="explain", unit="image"
    ):
        if not row["error"]:
            explain_file(scorer, file, picture, question)
        row["picture"] = None if row["error"] else str(picture)


def _require_melanoma(scorer: Any, submission: Path | None) -> None:
    if submission is not None and not scorer.bundle.melanoma:
        raise RecipeError("--submission: the bundle's recipe names no melanoma class")


def _refuse_errors(errors: list[dict[str, Any]]) -> None:
    if errors:
        shown = "; ".join(f"{row['image_name']}: {row['error']}" for row in errors[:3])
        raise DataError(f"{len(errors)} images have no score ({shown})")


def _spoken(row: dict[str, Any]) -> str:
    if row["error"]:
        return f"{row['image_name']}: error: {row['error']}"
    said = f"{row['image_name']}: prediction: {row['prediction']} - {row['probability']:.1%}"
    if row["melanoma_probability"] is not None:
        flag = "flagged" if row["flagged"] else "not flagged"
        said += (
            f"; melanoma {row['melanoma_probability']:.1%}, {flag} "
            f"(threshold {row['threshold']:.1%})"
        )
    return said


def _say_rows(rows: list[dict[str, Any]], top: int) -> None:
    for row in rows:
        t.answer(_spoken(row))
        for line in _ranked(row, top):
            t.answer(line)


def _ranked(row: dict[str, Any], count: int) -> list[str]:
    from melanoma.scoring.scorer import likeliest_classes

    ranked = likeliest_classes(row["by_class"] or {}, count)
    return [f"{name} {100 * probability:.2f} %" for name, probability in ranked]


if __name__ == "__main__":
    t.run(app)
