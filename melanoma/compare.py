"""python -m melanoma.compare A B: is one evaluated run better than another, by more than chance?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t

if TYPE_CHECKING:
    from melanoma.workflows.compare import ComparedRuns

app = t.make_app()


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="An evaluated run's folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, on the same folds.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="Any metric of report.json, such as auroc, pr_auc or brier; an unknown name lists "
            "all; repeatable (default auroc; macro_auroc where no class is a melanoma).",
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, help="Bootstrap resamples of patients.")
    ] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resamples.")] = 0,
    json: t.AsJson = False,
) -> None:
    """Compare two runs on the same folds by a paired bootstrap over patients."""
    from melanoma.workflows.compare import compare_runs_in

    start = time.monotonic()
    comparison = compare_runs_in(
        first, second, metrics=metric or [], resamples=resamples, seed=seed
    )
    if json:
        t.answer_json(comparison.model_dump(mode="json"))
    else:
        _say_comparison(comparison)
    t.say(f"{resamples:,} paired resamples of {comparison.groups:,} groups in {t.duration(start)}")


def _say_comparison(comparison: ComparedRuns) -> None:
    from melanoma.evaluation.metrics.metric_catalog import METRICS
    from melanoma.evaluation.number_format import compared_value

    for leak in comparison.leaks:
        t.answer(f"warning: {leak}")
    for letter, run in (("A", comparison.a), ("B", comparison.b)):
        t.answer(f"{letter}: {run.folder} ({run.recipe})")
    melanomas = "" if comparison.positives is None else f", {comparison.positives:,} melanomas"
    t.answer(
        f"{comparison.images:,} images{melanomas}, {comparison.groups:,} groups, "
        f"folds {comparison.folds_digest[:12]}"
    )
    changed = comparison.recipe_differences
    if changed is None:
        t.answer("recipes: not compared (no recipe.yaml in both folders)")
    else:
        t.answer(f"recipes, A -> B: {'' if changed else 'no difference'}".rstrip())
        for line in changed:
            t.answer(f"  {line}")
    for name, metric in comparison.metrics.items():
        title = METRICS[name].short
        for letter, one in (("A", metric.a), ("B", metric.b)):
            t.answer(f"{title} of {letter}: {compared_value(one)}")
        t.answer(f"A - B: {compared_value(metric.difference)}, {_p(metric.p_value)}")
        if metric.delong:
            difference = f"{compared_value(metric.delong)}, {_p(metric.delong.p_value)}"
            t.answer(f"DeLong, by patients: {difference}")
        t.answer(metric.sentence)


def _p(value: float | None) -> str:
    if value is None:
        return "p undefined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


if __name__ == "__main__":
    t.run(app)
