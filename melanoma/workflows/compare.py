"""Two evaluated runs on the same folds: which is better, and whether chance explains it."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np

from melanoma.errors import RecipeError, WeightsError
from melanoma.evaluation.compare.evaluated_run import EvaluatedRun, load_evaluated, pair_runs
from melanoma.evaluation.compare.paired import Comparison, compare_runs
from melanoma.evaluation.metrics.delong import delong_difference
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.spec import MetricSpec
from melanoma.evaluation.report.schema_parts import Measured, Part
from melanoma.recipe.differences import differences
from melanoma.recipe.overrides import load_recipe


class RunName(Part):
    """Which run is meant: its folder and its recipe's name."""

    folder: str
    recipe: str


class DelongDifference(Measured):
    """The difference of two AUROCs by DeLong, patients as clusters."""

    p_value: float | None


class ComparedMetric(Part):
    """A metric of both runs, `difference` (a less b), and what it comes to in a sentence.

    `delong` is of the AUROC alone. What is undefined is null.
    """

    a: Measured
    b: Measured
    difference: Measured
    p_value: float | None
    delong: DelongDifference | None
    sentence: str


class ComparedRuns(Part):
    """What `compare --json` prints: both runs, how their recipes differ, each metric compared.

    `positives` is null where no class is melanoma, `recipe_differences` where a folder has no
    recipe.yaml.
    """

    a: RunName
    b: RunName
    images: int
    positives: int | None
    groups: int
    folds_digest: str
    leaks: tuple[str, ...]
    recipe_differences: tuple[str, ...] | None
    metrics: dict[str, ComparedMetric]


def compare_runs_in(
    first: Path,
    second: Path,
    *,
    metrics: list[str] | tuple[str, ...] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> ComparedRuns:
    """Both runs, how their recipes differ, and each of the metrics (default: the AUROC) compared.

    Raises WeightsError for a folder that holds no evaluated run, FoldError and DataError for two
    that cannot be paired, RecipeError for a metric that they do not have.
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
    return ComparedRuns(
        a=RunName(folder=str(first), recipe=a.name),
        b=RunName(folder=str(second), recipe=b.name),
        images=len(a.frame),
        positives=None if a.melanoma is None else int(a.melanoma.sum()),
        groups=int(a.groups.max()) + 1,
        folds_digest=a.folds_digest,
        leaks=tuple(sorted({*a.leaks, *b.leaks})),
        recipe_differences=_recipe_differences(first, second),
        metrics={
            name: ComparedMetric(
                a=compared[name].first.measured(),
                b=compared[name].second.measured(),
                difference=compared[name].difference.measured(),
                p_value=compared[name].defined_p_value(),
                delong=_delong(a, b) if name == "auroc" else None,
                sentence=_sentence(METRICS[name], compared[name]),
            )
            for name in names
        },
    )


def _choose_metrics(requested: list[str] | tuple[str, ...], *runs: EvaluatedRun) -> list[str]:
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
    for name in requested:
        if name not in METRICS:
            raise RecipeError(f"--metric {name}: unknown; known: {', '.join(METRICS)}")
        if name not in possible:
            raise RecipeError(f"--metric {name}: these runs allow {', '.join(possible)}")
    return list(dict.fromkeys(requested)) or ["auroc" if "auroc" in possible else possible[0]]


def _recipe_differences(first: Path, second: Path) -> tuple[str, ...] | None:
    """`field: A's -> B's`; None where a folder has no recipe.yaml."""
    paths = [folder / "recipe.yaml" for folder in (first, second)]
    if not all(path.is_file() for path in paths):
        return None
    ours, theirs = (load_recipe(path).identity() for path in paths)
    return tuple(differences(theirs, ours))


def _delong(a: EvaluatedRun, b: EvaluatedRun) -> DelongDifference:
    assert a.melanoma is not None
    difference = delong_difference(a.melanoma, a.column("prob"), b.column("prob"), groups=a.groups)
    numbers = (number if isfinite(number) else None for number in difference)
    return DelongDifference(**dict(zip(difference._fields, numbers, strict=True)))


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
