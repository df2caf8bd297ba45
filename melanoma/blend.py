"""python -m melanoma.blend A B ...: is a blend of evaluated runs better than their mean?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.storage import write_text

if TYPE_CHECKING:
    import pandas as pd

    from melanoma.workflows.blend import BlendRecord

app = t.make_app()
_MOST = 14  # numbers in a line: of two runs of seven classes


@app.command()
def blend(
    runs: Annotated[
        list[Path], typer.Argument(metavar="A B ...", help="Evaluated runs on the same folds.")
    ],
    method: Annotated[
        str,
        typer.Option("--method", help="weights, stacking, equal (nothing is fitted), or ranks."),
    ] = "weights",
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Any metric of report.json (default auroc or macro_auroc)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="CSV of the nested out-of-fold scores.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            "--scores", help="A table of predict, or a submission, of each run in order; repeat."
        ),
    ] = None,
    submission: Annotated[
        Path | None, typer.Option("--submission", help="CSV of the blended --scores to write.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--with", help="Stacking: age, sex or site of the fold file too; repeat."),
    ] = None,
    folds: t.FoldFile = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, help="Bootstrap resamples of patients.")
    ] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resamples.")] = 0,
    json: t.AsJson = False,
) -> None:
    """Blend runs by their out-of-fold scores; each fold's blend is fitted on the other folds."""
    from melanoma.errors import RecipeError
    from melanoma.workflows.blend import blend_runs, blend_scores

    start = time.monotonic()
    if bool(scores) != bool(submission):
        raise RecipeError("--scores and --submission go together: what to blend, and where to")
    if method == "ranks" and out is not None:
        raise RecipeError("--method ranks: --out writes probabilities, which ranks are not")
    if beside and scores:
        raise RecipeError(
            "--scores: such tables have no age, sex and site; not together with --with"
        )
    blended = blend_runs(
        runs,
        method=method,
        metric=metric,
        resamples=resamples,
        seed=seed,
        beside=beside or (),
        folds=folds,
    )
    wrote = []
    if out is not None:
        _save(blended.table, out)
        wrote.append(str(out))
    if scores and submission:
        table = blend_scores(scores, blended, runs=len(runs))
        _save(table, submission)
        wrote.append(str(submission))
        if method == "ranks":
            t.say(f"note: {submission} holds places among these images, not probabilities")
    if json:
        t.answer_json(blended.record.model_dump(mode="json"))
    else:
        _say(blended.record)
    ending = f"; wrote {', '.join(wrote)}" if wrote else ""
    t.say(f"{blended.record.images:,} images in {t.duration(start)}{ending}")


def _save(table: pd.DataFrame, path: Path) -> None:
    from melanoma.scoring.files.score_rows import plain_table

    text = plain_table(table).to_csv(index=False, float_format="%.9g", lineterminator="\n")
    write_text(path, text)


def _say(record: BlendRecord) -> None:
    from melanoma.evaluation.metrics.metric_catalog import METRICS
    from melanoma.evaluation.number_format import compared_value

    for leak in record.leaks:
        t.answer(f"warning: {leak}")
    title = METRICS[record.metric].short
    for run, line in zip(record.runs, record.against_each, strict=True):
        t.answer(f"{run.folder} ({run.recipe}): {title} {compared_value(line.other)}")
    mean = record.against_mean
    t.answer(f"equal mean: {title} {compared_value(mean.other)}")
    t.answer(f"{record.method}, nested: {title} {compared_value(mean.blend)}")
    t.answer(f"{record.method} - equal mean: {compared_value(mean.difference)}")
    if record.beside:
        t.answer(f"beside the scores: {', '.join(record.beside)}")
    for name, numbers in record.weights.items():
        t.answer(f"{name}, of all folds: {_told(_list(numbers))}")
    by_fold = record.weights_by_fold.items()
    if record.method == "weights":
        t.answer("by fold: " + "; ".join(f"{f}: {_list(n['weights'])}" for f, n in by_fold))


def _told(listed: str) -> str:
    """The numbers as they are listed, or how many, where nobody would read them."""
    count = listed.count(",") + 1
    return listed if count <= _MOST else f"{count} numbers (--json lists them)"


def _list(numbers: float | Sequence[float] | Sequence[Sequence[float]]) -> str:
    if isinstance(numbers, Sequence):
        return ", ".join(_list(number) for number in numbers)
    return f"{numbers:.3f}"


if __name__ == "__main__":
    t.run(app)
