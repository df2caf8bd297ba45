"""Two evaluated runs on the same folds: which is better, and whether chance explains it."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from melanoma.errors import RecipeError, WeightsError
from melanoma.evaluation.compare.evaluated_run import EvaluatedRun, load_evaluated, pair_runs
from melanoma.evaluation.compare.paired import Comparison, compare_runs
from melanoma.evaluation.metrics.delong import delong_difference
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.spec import MetricSpec
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import differences


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
