"""Several evaluated runs blended: what each, their mean and a fitted blend are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.data.csv_tables import read_table, require_columns
from melanoma.errors import DataError, RecipeError, suggest
from melanoma.evaluation.blending import BLENDS, Blend, Stacked, Weighted, blend_nested
from melanoma.evaluation.compare.evaluated_run import EvaluatedRun, load_evaluated, pair_runs
from melanoma.evaluation.compare.paired import Comparison, compare_runs
from melanoma.evaluation.metrics.catalog import METRICS
from melanoma.types import Floats

_COLUMNS = ("target", "melanoma_probability")  # of a submission, and of predict's table


@dataclass(frozen=True)
class Blended:
    """What `--json` prints (`record`), the nested out-of-fold table, and the blend of all folds."""

    record: dict[str, Any]
    table: pd.DataFrame
    blend: Blend


def blend_runs(
    folders: Sequence[Path], *, method: str, metric: str | None, resamples: int, seed: int
) -> Blended:
    """Each run, the equal mean and the blend by `method` on the same images, compared in pairs.

    The blend's scores are nested (see blend_nested). Raises RecipeError for fewer than two runs or
    an unknown method or metric, FoldError and DataError for runs that cannot be paired.
    """
    if len(folders) < 2:
        raise RecipeError("a blend is of two runs or more; name their folders")
    if method not in BLENDS:
        raise RecipeError(f"--method {method}: unknown; {suggest(method, BLENDS)}")
    runs = _paired(folders)
    first = runs[0]
    name = _metric(runs, metric)
    probabilities = np.stack([run.images.by_class for run in runs])
    folds = first.frame["fold"].to_numpy(np.int64)
    mean = _as_run(first, BLENDS["equal"](probabilities, first.target)(probabilities))
    nested, by_fold = blend_nested(BLENDS[method], probabilities, first.target, folds)
    blended, whole = _as_run(first, nested), BLENDS[method](probabilities, first.target)

    def against(other: EvaluatedRun) -> dict[str, Any]:
        make = METRICS[name].make
        pair = {name: make(blended.images)}, {name: make(other.images)}
        rng = np.random.default_rng(seed)
        found = compare_runs(*pair, first.groups, resamples=resamples, rng=rng)
        return _measured(found[name])

    record = {
        "runs": [{"folder": str(run.folder), "recipe": run.name} for run in runs],
        "method": method,
        "metric": name,
        "images": len(first.frame),
        "groups": int(first.groups.max()) + 1,
        "folds_digest": first.folds_digest,
        "leaks": sorted({leak for run in runs for leak in run.leaks}),
        "against_each": [against(run) for run in runs],
        "against_mean": against(mean),
        "weights": _numbers(whole),
        "weights_by_fold": {str(fold): _numbers(one) for fold, one in by_fold.items()},
    }
    return Blended(record, blended.frame, whole)


def blend_scores(paths: Sequence[Path], blend: Blend, *, runs: int) -> pd.DataFrame:
    """image_name and target, the blended melanoma probability: of a score table or submission a
    run, in the runs' order.

    Raises RecipeError for another number of tables, DataError for other images in one of them.
    """
    if len(paths) != runs:
        raise RecipeError(f"--scores: {len(paths)} tables for {runs} runs; one a run, in order")
    if isinstance(blend, Stacked) and len(blend.model.classes_) > 2:
        raise RecipeError("--scores: stacking of several classes needs each class; use weights")
    tables = [_read_scores(path) for path in paths]
    names = tables[0].index
    for path, table in zip(paths, tables, strict=True):
        if len(table) != len(names) or set(table.index) != set(names):
            raise DataError(f"{path} and {paths[0]} hold different images")
    melanoma = np.stack([table.loc[names].to_numpy(np.float64) for table in tables])
    blended = blend(np.stack([1 - melanoma, melanoma], axis=2))[:, 1]
    return pd.DataFrame({"image_name": names, "target": blended})


def _paired(folders: Sequence[Path]) -> list[EvaluatedRun]:
    first, *others = (load_evaluated(folder) for folder in folders)
    pairs = [pair_runs(first, other)[1] for other in others]
    classes = first.images.classes
    for run in pairs:
        if run.images.classes != classes:
            raise DataError(f"{first.folder} and {run.folder} know different classes")
    return [first, *pairs]


def _metric(runs: Sequence[EvaluatedRun], wanted: str | None) -> str:
    possible = [n for n, spec in METRICS.items() if all(spec.applies(r.images) for r in runs)]
    if wanted is not None and wanted not in possible:
        raise RecipeError(f"--metric {wanted}: {suggest(wanted, possible)}")
    return wanted or ("auroc" if "auroc" in possible else "macro_auroc")


def _as_run(run: EvaluatedRun, by_class: Floats) -> EvaluatedRun:
    """The run with these probabilities in the place of its own."""
    images = run.images
    columns: dict[str, Floats] = {}
    names = [f"prob_{name}" for name in images.classes]
    if names[0] in run.frame:
        columns = dict(zip(names, by_class.T, strict=True))
    if "prob" in run.frame:
        numbers = [images.classes.index(name) for name in images.melanoma]
        columns["prob"] = by_class[:, numbers].sum(axis=1)
    # What is nested is cross-fitted already.
    columns |= {c.replace("prob", "prob_crossfit", 1): v for c, v in columns.items()}
    kept = [c for c in run.frame if not str(c).startswith(("prob", "logit"))]
    return replace(run, frame=run.frame[kept].assign(**columns))


def _numbers(blend: Blend) -> Mapping[str, Any]:
    if isinstance(blend, Weighted):
        return {"weights": list(blend.weights)}
    assert isinstance(blend, Stacked)
    model = blend.model
    return {"coefficients": model.coef_.tolist(), "intercepts": model.intercept_.tolist()}


def _measured(found: Comparison) -> dict[str, Any]:
    return {
        "blend": found.first.measured().model_dump(),
        "other": found.second.measured().model_dump(),
        "difference": found.difference.measured().model_dump(),
        "p_value": found.p_value if np.isfinite(found.p_value) else None,
    }


def _read_scores(path: Path) -> pd.Series:
    frame = read_table(path, needed=["image_name"])
    column = next((name for name in _COLUMNS if name in frame), _COLUMNS[0])
    require_columns(frame.columns, [column], origin=str(path))
    values = pd.to_numeric(frame[column], errors="coerce")
    if not values.between(0, 1).all():
        raise DataError(f"{path}: column {column} holds what is no probability")
    if frame["image_name"].duplicated().any():
        raise DataError(f"{path}: an image stands twice")
    return values.set_axis(frame["image_name"])
