"""Shortcut baselines: how well the label is told without looking at a photograph.

Age, sex and site are known before the picture is taken; file sizes and images per patient are
artefacts of how the set was collected. A model that ranks no better than these has shown nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from melanoma.evaluation.calibration import crossfit_parts
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.report.schema_parts import ShortcutLine, Shortcuts
from melanoma.types import Floats, Integers

IMAGES_PER_PATIENT = "images per patient"
_CLINICAL = ("age", "sex", "site")
_FILE = ("width", "height", "bytes", IMAGES_PER_PATIENT)
LINES: dict[str, tuple[str, ...]] = {
    "age, sex and site": _CLINICAL,
    IMAGES_PER_PATIENT: (IMAGES_PER_PATIENT,),
    "file facts": _FILE,
    "all of these": (*_CLINICAL, *_FILE),
}
_CATEGORIES = ("sex", "site")
_MOST_CATEGORIES = 60
_TREES = 60


def shortcut_baselines(
    frame: pd.DataFrame,
    melanoma_target: Integers,
    folds: Integers,
    groups: Integers,
    *,
    model_probability: Floats,
    resamples: int,
    seed: int,
) -> Shortcuts:
    """The AUROC of each of LINES on the model's own folds, beside the model's.

    `frame` is the fold table; its rows are those of `melanoma_target` (1 melanoma, 0 not), `folds`,
    `groups` (numbers of what the bootstrap draws) and `model_probability`, which is NaN in folds
    that were not trained: there nothing is scored, but the baselines learn from them. Images per
    patient are counted over the whole frame, without labels.
    """
    inputs = shortcut_inputs(frame)
    scored = np.isfinite(model_probability)
    parts = crossfit_parts(folds, groups)
    chosen, left_out = _choose_lines(inputs)
    scores = {"": model_probability}
    for name, usable in chosen.items():
        columns = {column: inputs[column] for column in usable}
        scores[name] = held_out_scores(columns, melanoma_target, parts, seed=seed)
    statistics = {
        name: auroc(melanoma_target[scored], score[scored]) for name, score in scores.items()
    }
    clusters = np.unique(groups[scored], return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    measured = bootstrap_intervals(statistics, clusters, resamples=resamples, rng=rng)
    lines = tuple(
        ShortcutLine(
            name=name,
            inputs=usable,
            absent=tuple(column for column in LINES[name] if column not in inputs),
            auroc=measured[name].measured(),
        )
        for name, usable in chosen.items()
    )
    return Shortcuts(model=measured[""].measured(), lines=lines, left_out=left_out)


def shortcut_inputs(frame: pd.DataFrame) -> dict[str, Floats]:
    """(N,) numbers by input: NaN where unknown, a code for a category; wholly unknown ones are out.

    A category beyond the 60 most frequent has the code of all the rest.
    """
    inputs: dict[str, Floats] = {}
    for column in dict.fromkeys(chain.from_iterable(LINES.values())):
        if column == IMAGES_PER_PATIENT:
            known = frame["patient_id"].where(frame["patient_id"] != "")
            inputs[column] = np.asarray(known.map(known.value_counts()), np.float64)
        elif column in frame:
            read = _codes if column in _CATEGORIES else _numbers
            inputs[column] = read(frame[column])
    return {column: values for column, values in inputs.items() if not np.isnan(values).all()}


def held_out_scores(
    columns: Mapping[str, Floats], target: Integers, parts: Integers, *, seed: int
) -> Floats:
    """(N,) log-odds of a positive, each part's by boosting on the others, less their base rate.

    The base rate goes out because a part rich in positives leaves the others poor in them: pooled
    over parts, a baseline that knows nothing would rank below 0.5.
    """
    table = np.column_stack(list(columns.values()))
    scores: Floats = np.zeros(len(target))
    for part in np.unique(parts):
        held_out = parts == part
        share = target[~held_out].mean() if not held_out.all() else 0.0
        if share in (0.0, 1.0):
            continue  # nothing to tell apart: all of this part stay equal
        # Small and heavily regularized, and stopped at a fixed size: no image is set aside to
        # stop at, which would split a patient.
        model = HistGradientBoostingClassifier(
            max_iter=_TREES,
            learning_rate=0.1,
            max_leaf_nodes=8,
            min_samples_leaf=20,
            l2_regularization=1.0,
            early_stopping=False,
            categorical_features=[name in _CATEGORIES for name in columns],
            random_state=seed,
        )
        # Tables are small: more threads only wait for each other, for minutes on a busy machine.
        with threadpool_limits(1, user_api="openmp"):
            model.fit(table[~held_out], target[~held_out])
            odds = model.decision_function(table[held_out])
        scores[held_out] = odds - np.log(share / (1 - share))
    # What differs by rounding errors alone is equal, and must not be ranked.
    return scores.round(6)


def _choose_lines(
    inputs: Mapping[str, Floats],
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The usable inputs of each line worth a line, and why the others are none."""
    chosen: dict[str, tuple[str, ...]] = {}
    left_out = []
    for name, line_columns in LINES.items():
        usable = tuple(column for column in line_columns if column in inputs)
        absent = ", ".join(column for column in line_columns if column not in inputs)
        same = [other for other, columns in chosen.items() if columns == usable]
        if not usable:
            left_out.append(f"{name}: the fold file holds no {absent}")
        elif same:
            left_out.append(f"{name}: without {absent} the same as {same[0]}")
        else:
            chosen[name] = usable
    return chosen, tuple(left_out)


def _numbers(values: pd.Series) -> Floats:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _codes(values: pd.Series) -> Floats:
    known = values.where(values != "")
    frequent = known.value_counts().index[:_MOST_CATEGORIES]
    codes = pd.Series(np.arange(len(frequent), dtype=np.float64), frequent)
    coded = known.map(codes).to_numpy(np.float64)
    return np.where(known.notna() & np.isnan(coded), float(_MOST_CATEGORIES), coded)
