"""python -m melanoma.predict IMAGES|DIR|CSV|NPY: score files into a table, one row an image.

With --url a service scores them, and nothing else changes; torch is not even imported.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError
from melanoma.explain import Precision, add_pictures, name_pictures, require_known, split_precisions
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.explain.explain_options import Question
from melanoma.scoring.files.requirements import refuse_given, require_meant, require_outputs

if TYPE_CHECKING:
    from melanoma.scoring.files.find import ImageFile
    from melanoma.scoring.files.patient_rows import Owner
    from melanoma.scoring.files.score_files import LocalScorer
    from melanoma.scoring.files.service_client import RemoteScorer

app = t.make_app()
# Of no meaning to a service.
_LOCAL = (
    "patient_col",
    "config",
    "weights",
    "settings",
    "device",
    "backend",
    "views",
    "view_scores",
)
_REMOTE = ("model", "token")  # of no meaning without one
# Of no meaning on a cluster, whose table is a folder of Parquet files.
_ONE_MACHINE = (
    *("submission", "view_scores", "patient_col", "names", "array_channels", "explain"),
    *("top", "json", "url"),
)
_CLUSTER = ("per_task",)


@app.command()
def predict(
    context: typer.Context,
    images: Annotated[
        list[Path], typer.Argument(help="Image files, folders, one CSV, or an array of squares.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Table to write; with --explain and one image, or its PNG."),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option("--submission", help="Kaggle's sample_submission.csv, whose rows to fill."),
    ] = None,
    views: Annotated[
        int | None, typer.Option("--views", help="Symmetries to average: 1, 2, 4 or 8.")
    ] = None,
    view_scores: Annotated[
        Path | None,
        typer.Option("--view-scores", help="CSV of each view's own scores, a row a view."),
    ] = None,
    patient_col: Annotated[
        str | None,
        typer.Option("--patient-col", help="The CSV's column of patients: rank their lesions."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Flag from this melanoma probability on, such as 0.5."),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="Share of melanomas where it is used, such as 0.02."),
    ] = None,
    config: t.Config = t.DEFAULT_CONFIG,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the images that a CSV names.")
    ] = None,
    weights: t.Weights = None,
    settings: t.Settings = None,
    device: t.Device = "auto",
    backend: t.Backend = "auto",
    image_col: t.ImageCol = None,
    names: Annotated[
        Path | None,
        typer.Option("--names", help="Table of an array's names, in its order (default test.csv)."),
    ] = None,
    array_channels: Annotated[
        str | None,
        typer.Option("--array-channels", help="rgb or bgr, of an array (default: as trained)."),
    ] = None,
    allow_errors: Annotated[
        bool, typer.Option("--allow-errors", help="Exit 0 although some images have no score.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also a LIME picture an image, beside the table.")
    ] = False,
    precision: Precision = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Also print the likeliest classes.")
    ] = None,
    json: t.AsJson = False,
    url: Annotated[
        str | None, typer.Option("--url", help="A melanoma service that scores instead.")
    ] = None,
    on: t.On = None,
    per_task: t.PerTask = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The service's bundle (default: its first).")
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", envvar="MELANOMA_TOKEN", help="The service's token.")
    ] = None,
) -> None:
    """Score photographs with a sealed bundle or a service; the same command resumes."""
    start = time.monotonic()
    require_meant(views, threshold, prevalence, array_channels, patient_col)
    evaluations, products = split_precisions(precision)
    question = Question("lime", evaluations)
    require_known(question)
    engine = Engine(backend, products)
    _refuse_misplaced(context, url, on, precision, products)
    if on is not None:
        asked = t.bundle_folder(weights, config, settings)
        how = (asked, device, views, threshold, prevalence, engine)
        _predict_on(on, images, how, allow_errors, out, per_task, data, image_col)
        return
    picture = _require_picture(out, explain, submission)
    from melanoma.scoring.files.array_rows import trained_channels
    from melanoma.scoring.files.find import find_images, tell_sizes
    from melanoma.scoring.files.journal import open_journal
    from melanoma.scoring.files.outputs import refuse_errors, save_outputs
    from melanoma.scoring.files.patient_rows import read_owners
    from melanoma.scoring.files.score_files import journal_key, score_files
    from melanoma.scoring.files.submission import require_answers, require_fillable

    folder = None if url else t.bundle_folder(weights, config, settings)
    files = find_images(
        images,
        data=data,
        image_col=image_col,
        names=names,
        channels=array_channels or (trained_channels(folder) if folder else None),
        say=t.say,
    )
    owners = read_owners(images, patient_col, image_col=image_col)
    target = out or Path("submission.csv" if submission else "scores.csv")
    pictures = name_pictures(files, "lime", picture or target.parent) if explain else []
    # Without a table to write, answers go to stdout.
    keep = None if picture or (json and not out and not submission) else target
    outputs = [*pictures, *filter(None, (keep, view_scores))]
    require_outputs(outputs, files, [*images, submission, names])
    if submission is not None:
        require_fillable(submission, files, remote=url is not None)
    scorer = (
        _reach_service(url or "", model, token, threshold, prevalence)
        if folder is None
        else _load_scorer(folder, device, views, threshold, prevalence, engine)
    )
    tell_sizes(files, scorer.size, t.say)
    if submission is not None:
        require_answers(submission, melanoma=scorer.melanoma, classes=scorer.classes)
    with open_journal(keep, journal_key(scorer), say=t.say) as journal:
        rows = score_files(scorer, files, journal=journal, progress=t.progress)
        rows = _add_patients(rows, owners, scorer)
        errors = [row for row in rows if row["error"]]
        # The table first: neither a picture nor the journal's end may cost a score.
        save_outputs(rows, errors, submission=submission, target=keep, melanoma=scorer.melanoma)
        if explain:
            add_pictures(scorer, list(zip(files, rows, pictures, strict=True)), question)
            if submission is None:
                save_outputs(rows, errors, submission=None, target=keep)
        if view_scores is not None:
            _save_views(scorer, files, rows, view_scores)
        journal.remove()
    if json:
        t.answer_json(rows)
    elif top or len(rows) <= 10:
        _say_rows(rows, top or 0, scorer)
    wrote = f"; wrote {target}" if keep or (picture and not errors) else ""
    t.say(
        f"{len(rows) - len(errors):,} of {len(rows):,} images scored in {t.duration(start)} "
        f"with {scorer.name} {scorer.digest[:12]}{f' at {url}' if url else ''}{wrote}"
    )
    if errors and not allow_errors:
        refuse_errors(errors)


def _refuse_misplaced(
    context: typer.Context,
    url: str | None,
    on: str | None,
    precision: Sequence[str] | None,
    products: str,
) -> None:
    if url and products in (precision or ()):
        raise RecipeError(f"--precision {products} means nothing with --url; leave it out")
    refuse_given(context, _REMOTE if url is None else (), "without --url")
    refuse_given(context, _LOCAL if url is not None else (), "with --url")
    refuse_given(context, _CLUSTER if on is None else (), "without --on ray")
    refuse_given(context, _ONE_MACHINE if on is not None else (), "with --on ray")


def _load_scorer(
    folder: Path,
    device: str,
    views: int | None,
    threshold: float | None,
    prevalence: float | None,
    engine: Engine,
) -> LocalScorer:
    from melanoma.scoring.files.open_local import open_local

    where = (folder, device, t.say)
    return open_local(
        *where, views=views, threshold=threshold, prevalence=prevalence, engine=engine
    )


def _predict_on(
    on: str, images: list[Path], how: tuple[Any, ...], allow_errors: bool, *where: Any
) -> None:
    """The same on a cluster; `how` are Scoring's fields."""
    from melanoma.cluster.predict_on_ray import Scoring, predict_on_ray

    scored = predict_on_ray(on, images, Scoring(*how), *where, watch=t.watch())
    t.say(scored.line)
    scored.require_whole(allow_errors=allow_errors)


def _require_picture(out: Path | None, explain: bool, submission: Path | None) -> Path | None:
    """`out` where it names a picture rather than a table."""
    if out is None or out.suffix.lower() != ".png":
        return None
    if not explain or submission is not None:
        raise RecipeError(f"--out {out}: a picture is written by --explain, and no submission")
    return out


def _reach_service(
    url: str,
    model: str | None,
    token: str | None,
    threshold: float | None,
    prevalence: float | None,
) -> RemoteScorer:
    from melanoma.scoring.files.service_client import RemoteScorer

    return RemoteScorer(url, model=model, token=token, threshold=threshold, prevalence=prevalence)


def _add_patients(
    rows: list[dict[str, Any]], owners: Mapping[str, Owner], scorer: LocalScorer | RemoteScorer
) -> list[dict[str, Any]]:
    from melanoma.scoring.files.patient_rows import add_patient_columns
    from melanoma.scoring.files.score_files import LocalScorer

    bundle = scorer.scorer.bundle if isinstance(scorer, LocalScorer) else None
    return add_patient_columns(rows, owners, bundle, say=t.say)


def _save_views(
    scorer: LocalScorer | RemoteScorer,
    files: Sequence[ImageFile],
    rows: Sequence[dict[str, Any]],
    path: Path,
) -> None:
    from melanoma.scoring.files.score_files import LocalScorer
    from melanoma.scoring.files.view_scores import save_view_scores

    assert isinstance(scorer, LocalScorer)  # with --url the option is refused
    scored = [file for file, row in zip(files, rows, strict=True) if not row["error"]]
    count = save_view_scores(scorer.scorer, t.progress(scored, desc="views", unit="image"), path)
    t.say(f"wrote {count:,} views to {path}")


def _say_rows(rows: list[dict[str, Any]], top: int, by: LocalScorer | RemoteScorer) -> None:
    from melanoma.scoring.files.spoken import common_lines, image_lines, ranked_lines

    for row in rows:
        # One image has the line of its prediction for itself; of several, each has one line.
        lines = image_lines(row, by.melanoma)
        for line in lines if len(rows) == 1 else [f"{row['image_name']}: {'; '.join(lines)}"]:
            t.answer(line)
        for line in ranked_lines(row, top):
            t.answer(line)
    scored = [row for row in rows if not row["error"]]
    for line in common_lines(scored[0], by.elsewhere) if scored else ():
        t.answer(line)


if __name__ == "__main__":
    t.run(app)
