"""Several evaluated runs blended: what each, their mean and a fitted blend are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from melanoma.data.csv_tables import read_table, require_columns
from melanoma.data.folds import load_folds
from melanoma.errors import DataError, FoldError, RecipeError, suggest
from melanoma.evaluation.blend_context import context_features, require_context
from melanoma.evaluation.blending import BLENDS, Blend, Ranked, Stacked, Weighted, blend_nested
from melanoma.evaluation.compare.evaluated_run import EvaluatedRun, load_evaluated, pair_runs
from melanoma.evaluation.compare.paired import Comparison, compare_runs
from melanoma.evaluation.metrics.metric_catalog import METRICS, RANKING
from melanoma.evaluation.report.schema_parts import Measured, Part
from melanoma.types import Floats
from melanoma.workflows.compare import RunName

# A list of numbers by its name, or one a class.
BlendNumbers: TypeAlias = dict[str, list[float] | list[list[float]]]
# Of predict's table, of scores.csv, and of a submission. In a table with a `label`, such as
# scores.csv, `target` is the truth.
_COLUMNS = ("melanoma_probability", "prob", "target")


class BlendAgainst(Part):
    """The nested blend, another set of scores on the same images, and the blend less the other."""

    blend: Measured
    other: Measured
    difference: Measured
    p_value: float | None


class BlendRecord(Part):
    """What `blend --json` prints. `weights` are the fitted blend's numbers by their name, of all
    folds and by fold; none of equal shares of places. `beside` are the columns that stacking
    learned from beside the scores."""

    runs: tuple[RunName, ...]
    method: str
    metric: str
    images: int
    groups: int
    folds_digest: str
    leaks: tuple[str, ...]
    against_each: tuple[BlendAgainst, ...]
    against_mean: BlendAgainst
    weights: BlendNumbers
    weights_by_fold: dict[str, BlendNumbers]
    beside: tuple[str, ...]


@dataclass(frozen=True)
class Blended:
    """What was measured (`record`), the nested out-of-fold table, and the blend of all folds,
    of these classes, of which `melanoma` count as it."""

    record: BlendRecord
    table: pd.DataFrame
    blend: Blend
    classes: tuple[str, ...]
    melanoma: tuple[str, ...]


def blend_runs(
    folders: Sequence[Path],
    *,
    method: str,
    metric: str | None,
    resamples: int,
    seed: int,
    beside: Sequence[str] = (),
    folds: Path | None = None,
) -> Blended:
    """Each run, the equal mean and the blend by `method` on the same images, compared in pairs.

    The blend's scores are nested (see blend_nested). `beside` are columns of the fold file (age,
    sex, site) that stacking learns from as well; one run is enough then. Raises RecipeError for
    fewer than two runs, an unknown method or metric, or ranks where a metric or the classes ask for
    probabilities, FoldError and DataError for runs that cannot
    be paired.
    """
    if len(folders) < 2 and not beside:
        raise RecipeError("a blend is of two runs or more; name their folders")
    if method not in BLENDS:
        raise RecipeError(f"--method {method}: unknown; {suggest(method, BLENDS)}")
    runs = _paired(folders)
    first = runs[0]
    name = _metric(runs, metric)
    if method == "ranks":
        _require_ranking(first, name)
    probabilities = np.stack([run.images.by_class for run in runs])
    crossfit = np.stack([run.images.crossfit for run in runs])
    numbers = first.frame["fold"].to_numpy(np.int64)
    context, names = _context(first, method, beside, folds)
    equal = BLENDS["equal"](probabilities, first.target)
    mean = _as_run(first, equal(probabilities), equal(crossfit))
    fit = BLENDS[method]
    nested, by_fold = blend_nested(fit, probabilities, first.target, numbers, context)
    # A bundle's calibration saw every fold: what asks for probabilities is judged without it.
    judged, _ = blend_nested(fit, crossfit, first.target, numbers, context)
    blended, whole = _as_run(first, nested, judged), fit(probabilities, first.target, context)

    def against(other: EvaluatedRun) -> BlendAgainst:
        make = METRICS[name].make
        pair = {name: make(blended.images)}, {name: make(other.images)}
        rng = np.random.default_rng(seed)
        comparisons = compare_runs(*pair, first.groups, resamples=resamples, rng=rng)
        return _measured(comparisons[name])

    record = BlendRecord(
        runs=tuple(RunName(folder=str(run.folder), recipe=run.name) for run in runs),
        method=method,
        metric=name,
        images=len(first.frame),
        groups=int(first.groups.max()) + 1,
        folds_digest=first.folds_digest,
        leaks=tuple(sorted({leak for run in runs for leak in run.leaks})),
        against_each=tuple(against(run) for run in runs),
        against_mean=against(mean),
        weights=_numbers(whole),
        weights_by_fold={str(fold): _numbers(one) for fold, one in by_fold.items()},
        beside=tuple(names),
    )
    known = first.images
    return Blended(record, blended.frame, whole, tuple(known.classes), tuple(known.melanoma))


def _context(
    run: EvaluatedRun, method: str, beside: Sequence[str], folds: Path | None
) -> tuple[Floats | None, list[str]]:
    """What stacking learns from beside the scores, in the run's order, and the names of it."""
    if not beside:
        return None, []
    require_context(beside)
    if method != "stacking":
        raise RecipeError(f"--with: --method stacking learns from it, {method} does not")
    if folds is None:
        raise RecipeError("--with: --folds names the fold file, which knows age, sex and site")
    table = load_folds(folds)
    if table.digest != run.folds_digest:
        raise FoldError(f"{folds} is not the fold file that {run.folder} was trained on")
    frame = table.frame.set_index("image_name").loc[run.frame["image_name"]].reset_index()
    return context_features(frame, beside)


def blend_scores(paths: Sequence[Path], fitted_blend: Blended, *, runs: int) -> pd.DataFrame:
    """image_name and target, the blended melanoma probability: of a score table or submission a
    run, in the runs' order. Where no class is melanoma, a column a class in the place of target.

    Tables with a column prob_NAME a class are blended class by class. Raises RecipeError for
    another number of tables, or one without the classes that the blend needs; DataError for other
    images in one of them.
    """
    if len(paths) != runs:
        raise RecipeError(f"--scores: {len(paths)} tables for {runs} runs; one a run, in order")
    read = [read_table(path, needed=["image_name"]) for path in paths]
    columns = [f"prob_{name}" for name in fitted_blend.classes]
    by_class = len(columns) > 2 and all(set(columns) <= set(table) for table in read)
    if not by_class and (not fitted_blend.melanoma or _needs_classes(fitted_blend.blend)):
        raise RecipeError(
            "--scores: this blend needs each class's probability; take the tables of predict, "
            f"with columns {columns[0]} and so on"
        )
    tables = [
        _read_scores(table, path, columns if by_class else _melanoma_column(table, path))
        for table, path in zip(read, paths, strict=True)
    ]
    names = tables[0].index
    for path, scores in zip(paths, tables, strict=True):
        if len(scores) != len(names) or set(scores.index) != set(names):
            raise DataError(f"{path} and {paths[0]} hold different images")
    values = np.stack([scores.loc[names].to_numpy(np.float64) for scores in tables])
    ours = [fitted_blend.classes.index(name) for name in fitted_blend.melanoma]
    if not by_class:  # of two classes in the order that the blend knows them by
        ours = ours if len(columns) == 2 else [1]
        pair = (1 - values, values) if ours == [1] else (values, 1 - values)
        values = np.concatenate(pair, axis=2)
    blended = fitted_blend.blend(values)
    if not fitted_blend.melanoma:
        shares = dict(zip(fitted_blend.classes, blended.T, strict=True))
        return pd.DataFrame({"image_name": names, **shares})
    return pd.DataFrame({"image_name": names, "target": blended[:, ours].sum(axis=1)})


def _needs_classes(blend: Blend) -> bool:
    return isinstance(blend, Stacked) and len(blend.model.classes_) > 2


def _paired(folders: Sequence[Path]) -> list[EvaluatedRun]:
    first, *others = (load_evaluated(folder) for folder in folders)
    pairs = [pair_runs(first, other)[1] for other in others]
    classes = first.images.classes
    for run in pairs:
        if run.images.classes != classes:
            raise DataError(f"{first.folder} and {run.folder} know different classes")
    return [first, *pairs]


def _metric(runs: Sequence[EvaluatedRun], requested: str | None) -> str:
    # As in compare: without a need a metric is of melanoma where there is one.
    alike = len({bool(run.images.melanoma) for run in runs}) == 1
    possible = [
        name
        for name, spec in METRICS.items()
        if all(spec.applies(run.images) for run in runs) and (alike or spec.needs != "nothing")
    ]
    if requested is not None and requested not in possible:
        raise RecipeError(f"--metric {requested}: {suggest(requested, possible)}")
    return requested or ("auroc" if "auroc" in possible else "macro_auroc")


def _require_ranking(run: EvaluatedRun, metric: str) -> None:
    """Ranks give an order of one class alone."""
    if metric not in RANKING:
        raise RecipeError(
            f"--method ranks: ranks are no probabilities, which {metric} asks for; "
            f"--metric {', '.join(RANKING)}"
        )
    if len(run.images.melanoma) != 1:
        raise RecipeError(
            "--method ranks: it orders by one class, and here "
            f"{len(run.images.melanoma)} count as melanoma"
        )


def _as_run(run: EvaluatedRun, by_class: Floats, crossfit: Floats) -> EvaluatedRun:
    """The run with these probabilities in the place of its own, those of runs that were calibrated
    on other folds in the place of its cross-fitted ones."""
    images = run.images
    columns: dict[str, Floats] = {}
    for kind, values in (("prob", by_class), ("prob_crossfit", crossfit)):
        names = [f"{kind}_{name}" for name in images.classes]
        if names[0] in run.frame:
            columns |= dict(zip(names, values.T, strict=True))
        if "prob" in run.frame:
            columns[kind] = values[:, images.melanoma_columns].sum(axis=1)
    other_columns = [c for c in run.frame if not str(c).startswith(("prob", "logit"))]
    return replace(run, frame=run.frame[other_columns].assign(**columns))


def _numbers(blend: Blend) -> BlendNumbers:
    if isinstance(blend, Weighted):
        return {"weights": list(blend.weights)}
    if isinstance(blend, Ranked):
        return {}
    assert isinstance(blend, Stacked)
    model = blend.model
    return {"coefficients": model.coef_.tolist(), "intercepts": model.intercept_.tolist()}


def _measured(comparison: Comparison) -> BlendAgainst:
    return BlendAgainst(
        blend=comparison.first.measured(),
        other=comparison.second.measured(),
        difference=comparison.difference.measured(),
        p_value=comparison.defined_p_value(),
    )


def _melanoma_column(table: pd.DataFrame, path: Path) -> list[str]:
    possible = _COLUMNS[:-1] if "label" in table else _COLUMNS
    column = next((name for name in possible if name in table), _COLUMNS[0])
    require_columns(table.columns, [column], origin=str(path))
    return [column]


def _read_scores(table: pd.DataFrame, path: Path, columns: list[str]) -> pd.DataFrame:
    """The columns as probabilities, by image_name."""
    values: pd.DataFrame = table[columns].apply(pd.to_numeric, errors="coerce")
    for column in columns:
        if not values[column].between(0, 1).all():
            raise DataError(f"{path}: column {column} holds what is no probability")
    if table["image_name"].duplicated().any():
        raise DataError(f"{path}: an image stands twice")
    named: pd.DataFrame = values.set_axis(table["image_name"])
    return named
