"""python -m melanoma.compare A B: is one evaluated run better than another, by more than chance?"""

from __future__ import annotations

import time
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError, WeightsError
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import differences

if TYPE_CHECKING:
    from melanoma.evaluation.compare.evaluated_run import EvaluatedRun
    from melanoma.evaluation.compare.paired import Comparison
    from melanoma.evaluation.metrics.catalog import MetricSpec

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
    start = time.monotonic()
    found = compare_runs_in(first, second, metrics=metric or [], resamples=resamples, seed=seed)
    if json:
        t.answer_json(found)
    else:
        _say_comparison(found)
    t.say(f"{resamples:,} paired resamples of {found['groups']:,} groups in {t.duration(start)}")


def compare_runs_in(
    first: Path,
    second: Path,
    *,
    metrics: list[str] | tuple[str, ...] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """What `--json` prints: both runs, how their recipes differ, and each metric compared.

    `metrics` -> NAME -> `a`, `b`, `difference` (a less b) as `{value, low, high}`, `p_value`, for
    auroc `delong` (patients as clusters) beside them, and `sentence`. Raises WeightsError for a
    folder that holds no evaluated run, FoldError and DataError for two that cannot be paired.
    """
    import numpy as np

    from melanoma.evaluation.compare.evaluated_run import load_evaluated, pair_runs
    from melanoma.evaluation.compare.paired import compare_runs
    from melanoma.evaluation.metrics.catalog import METRICS

    a, b = pair_runs(load_evaluated(first), load_evaluated(second))
    names = _choose_metrics(metrics, a, b)
    compared = compare_runs(
        {name: METRICS[name].make(a.images) for name in names},
        {name: METRICS[name].make(b.images) for name in names},
        a.groups,
        resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    positives = None if a.melanoma is None else int(a.melanoma.sum())
    return {
        "a": {"folder": str(first), "recipe": a.name},
        "b": {"folder": str(second), "recipe": b.name},
        "images": len(a.frame),
        "positives": positives,
        "groups": int(a.groups.max()) + 1,
        "folds_digest": a.folds_digest,
        "leaks": sorted({*a.leaks, *b.leaks}),
        "recipe_differences": _recipe_differences(first, second),
        "metrics": {
            name: {
                **_measured(compared[name]),
                "delong": _delong(a, b) if name == "auroc" else None,
                "sentence": _sentence(METRICS[name], compared[name]),
            }
            for name in names
        },
    }


def _choose_metrics(wanted: list[str] | tuple[str, ...], *runs: EvaluatedRun) -> list[str]:
    """The metrics asked for, or the first that both runs have. Raises RecipeError."""
    from melanoma.evaluation.metrics.catalog import METRICS

    # Without a need a metric is of melanoma where there is one, else of the likeliest class.
    alike = len({bool(run.images.melanoma) for run in runs}) == 1
    possible = [
        name
        for name, spec in METRICS.items()
        if all(spec.applies(run.images) for run in runs) and (alike or spec.needs != "nothing")
    ]
    if not possible:
        raise WeightsError(
            f"{runs[0].folder} and {runs[1].folder} have no probabilities in common; "
            "run python -m melanoma.evaluate again on both"
        )
    for name in wanted:
        if name not in METRICS:
            raise RecipeError(f"--metric {name}: unknown; known: {', '.join(METRICS)}")
        if name not in possible:
            raise RecipeError(f"--metric {name}: these runs allow {', '.join(possible)}")
    return list(dict.fromkeys(wanted)) or ["auroc" if "auroc" in possible else possible[0]]


def _recipe_differences(first: Path, second: Path) -> list[str] | None:
    """`field: A's -> B's`; None where a folder has no recipe.yaml."""
    paths = [folder / "recipe.yaml" for folder in (first, second)]
    if not all(path.is_file() for path in paths):
        return None
    ours, theirs = (load_recipe(path).identity() for path in paths)
    return differences(theirs, ours)


def _measured(compared: Comparison) -> dict[str, Any]:
    return {
        "a": compared.first.measured().model_dump(),
        "b": compared.second.measured().model_dump(),
        "difference": compared.difference.measured().model_dump(),
        "p_value": compared.p_value if isfinite(compared.p_value) else None,
    }


def _delong(a: EvaluatedRun, b: EvaluatedRun) -> dict[str, float | None]:
    from melanoma.evaluation.metrics.delong import delong_difference

    assert a.melanoma is not None
    found = delong_difference(a.melanoma, a.column("prob"), b.column("prob"), groups=a.groups)
    return {name: value if isfinite(value) else None for name, value in found._asdict().items()}


def _sentence(spec: MetricSpec, compared: Comparison) -> str:
    """The verdict for a person: who is better, by how much, and whether chance explains it."""
    value, low, high, *_ = compared.difference
    if not isfinite(value):
        return f"the {spec.short} is undefined on these images"
    if value == 0:
        return f"A and B have the same {spec.short}"
    winner = "A" if (value > 0) == (spec.better == "higher") else "B"
    if value < 0:
        low, high = -high, -low
    if not isfinite(low):
        return f"{winner} {spec.wins} by {abs(value):.3f}; no interval can be given"
    apart = "the data tell them apart" if low > 0 else "the data cannot tell them apart"
    return (
        f"{winner} {spec.wins} by {abs(value):.3f} ({low:z.3f} to {high:z.3f}) "
        f"in {spec.short}: {apart}"
    )


def _say_comparison(found: dict[str, Any]) -> None:
    from melanoma.evaluation.metrics.catalog import METRICS

    for leak in found["leaks"]:
        t.answer(f"warning: {leak}")
    for letter in "ab":
        run = found[letter]
        t.answer(f"{letter.upper()}: {run['folder']} ({run['recipe']})")
    melanomas = "" if found["positives"] is None else f", {found['positives']:,} melanomas"
    t.answer(
        f"{found['images']:,} images{melanomas}, {found['groups']:,} groups, "
        f"folds {found['folds_digest'][:12]}"
    )
    changed = found["recipe_differences"]
    if changed is None:
        t.answer("recipes: not compared (no recipe.yaml in both folders)")
    else:
        t.answer(f"recipes, A -> B: {'' if changed else 'no difference'}".rstrip())
        for line in changed:
            t.answer(f"  {line}")
    for name, metric in found["metrics"].items():
        title = METRICS[name].short
        for letter in "ab":
            t.answer(f"{title} of {letter.upper()}: {_spoken(metric[letter])}")
        t.answer(f"A - B: {_spoken(metric['difference'])}, {_p(metric['p_value'])}")
        if metric["delong"]:
            delong = metric["delong"]
            t.answer(f"DeLong, by patients: {_spoken(delong)}, {_p(delong['p_value'])}")
        t.answer(metric["sentence"])


def _spoken(metric: dict[str, float | None]) -> str:
    value, low, high = (metric[key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    if low is None or high is None:
        return f"{value:.4f} (no interval)"
    return f"{value:z.4f} (95 % {low:z.4f} to {high:z.4f})"


def _p(value: float | None) -> str:
    if value is None:
        return "p undefined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


if __name__ == "__main__":
    t.run(app)
