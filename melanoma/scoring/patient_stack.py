"""The context stack: fitted on patients' held-out lesions, measured on other patients, applied.

log-odds = intercept + slope * z + trust * sum(coefficient * feature). z, the log-odds of the lesion
by itself, is always in it. A ridge pulls slope to 1 and the coefficients to 0, the single-image
answer; how many lesions a patient has is no feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import expit, logit

from melanoma.errors import DataError
from melanoma.evaluation.compare.paired import Comparison, compare_runs
from melanoma.evaluation.metrics.bootstrap import Statistic
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.metrics.within_patient import concordance
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.schema_patients import ContextGain, ContextStack, PatientContext
from melanoma.evaluation.scored_images import Lesions
from melanoma.scoring.patient import HALF_TRUSTED, PatientFeatures, lesion_features
from melanoma.types import Flags, Floats, Integers

FEWEST_PATIENTS = 20  # with three or more lesions
FEWEST_OF_EITHER = 10  # melanomas, and other lesions, of those patients
_RIDGE = 10.0
_STEPS = 50
_REFITS = 200
_CLIP = 1e-12
_PARTS = 5


@dataclass(frozen=True)
class PatientTable:
    """Lesions of patients with enough of them to compare, (M,) each.

    `logits` are of the single-image melanoma probabilities, `features` (M, p) in the order of
    `names`, times the trust in them. `groups` are drawn and held out as a whole.
    """

    patient: Integers
    groups: Integers
    positive: Integers
    logits: Floats
    names: tuple[str, ...]
    features: Floats

    @property
    def refusal(self) -> str:
        """Why no stack can be fitted; empty where one can."""
        patients, melanomas = len(np.unique(self.patient)), int(self.positive.sum())
        others = len(self.positive) - melanomas
        counts = f"{patients} patients with three or more lesions, {melanomas} melanomas among them"
        if patients < FEWEST_PATIENTS or min(melanomas, others) < FEWEST_OF_EITHER:
            return f"too few patients ({counts})"
        return ""


def make_patient_table(
    *,
    patient: Integers,
    groups: Integers,
    positive: Integers,
    probability: Floats,
    embeddings: Floats | None = None,
    sites: list[str] | None = None,
) -> PatientTable:
    """The table of lesions, (M,) each; patients with too few distinct ones are left out."""
    logits = safe_logit(probability)
    patient_rows: list[Integers] = []
    patient_features: list[PatientFeatures] = []
    for number in np.unique(patient):
        rows = np.flatnonzero(patient == number)
        features = lesion_features(
            logits[rows],
            embeddings=None if embeddings is None else embeddings[rows],
            sites=None if sites is None else [sites[row] for row in rows],
        )
        if features.comparable:
            patient_rows.append(rows)
            patient_features.append(features)
    chosen = np.concatenate(patient_rows) if patient_rows else np.zeros(0, dtype=np.int64)
    names = tuple(patient_features[0].values) if patient_features else ()
    columns = [
        np.concatenate([f.values[name] * f.trust for f in patient_features]) for name in names
    ]
    table = np.stack(columns, axis=1) if columns else np.zeros((0, 0))
    renumbered = np.unique(groups[chosen], return_inverse=True)[1].astype(np.int64)
    return PatientTable(patient[chosen], renumbered, positive[chosen], logits[chosen], names, table)


def safe_logit(probability: Floats) -> Floats:
    """The log-odds, finite at 0 and 1."""
    values: Floats = logit(np.clip(probability, _CLIP, 1 - _CLIP))
    return values


def fit_context(table: PatientTable, *, origin: str, resamples: int, seed: int) -> PatientContext:
    """The stack, where it ranks better on patients that it was not fitted on: where the interval
    of the AUROC's paired difference is above 0. Else none, and `status` says why."""
    if refusal := table.refusal:
        return PatientContext(status=f"no context: {refusal}")
    gain = measure_gain(table, crossfit(table, seed=seed), resamples=resamples, seed=seed)
    difference = gain.auroc_difference
    change = _spoken(difference)
    if difference.low is None or difference.low <= 0:
        status = f"no context: it does not rank better on withheld patients (AUROC {change})"
        return PatientContext(status=status, gain=gain)
    weights = fit_weights(table, np.ones(len(table.logits)))
    drawn = _refits(table, seed=seed)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    measured = [
        Measured(value=float(v), low=float(a), high=float(b))
        for v, a, b in zip(weights, low, high, strict=True)
    ]
    stack = ContextStack(
        origin=origin,
        patients=gain.patients,
        lesions=gain.lesions,
        melanomas=gain.melanomas,
        intercept=measured[0],
        slope=measured[1],
        coefficients=dict(zip(table.names, measured[2:], strict=True)),
        half_trusted=HALF_TRUSTED,
        gain=gain,
    )
    status = f"context sealed: on withheld patients of {origin} the AUROC changes by {change}"
    return PatientContext(status=status, gain=gain, stack=stack)


def _spoken(difference: Measured) -> str:
    if difference.value is None or difference.low is None or difference.high is None:
        return "undefined"
    return f"{difference.value:+.3f}, 95 % {difference.low:+.3f} to {difference.high:+.3f}"


def context_logits(stack: ContextStack, logits: Floats, features: Mapping[str, Floats]) -> Floats:
    """(n,) log-odds with context; `features` times the trust in them. Raises DataError where the
    stack needs one that is not there."""
    lacking = [name for name in stack.coefficients if name not in features]
    if lacking:
        raise DataError(f"the context stack needs {', '.join(lacking)}: no embeddings are given")
    intercept = stack.intercept.value or 0.0
    total = intercept + (stack.slope.value or 0.0) * logits
    for name, coefficient in stack.coefficients.items():
        total = total + (coefficient.value or 0.0) * features[name]
    return total


def apply_stack(stack: ContextStack, table: PatientTable) -> Floats:
    """(M,) log-odds with context of a table's lesions."""
    columns = dict(zip(table.names, table.features.T, strict=True))
    return context_logits(stack, table.logits, columns)


def crossfit(table: PatientTable, *, seed: int) -> Floats:
    """(M,) log-odds by stacks of other patients: groups are dealt into five parts."""
    count = int(table.groups.max()) + 1
    part = np.random.default_rng(seed).permutation(count) % _PARTS
    logits = np.empty(len(table.logits))
    for one in range(min(_PARTS, count)):
        held_out: Flags = part[table.groups] == one
        weights = fit_weights(table, (~held_out).astype(np.float64))
        logits[held_out] = (_design(table) @ weights)[held_out]
    return logits


def fit_weights(table: PatientTable, times: Floats) -> Floats:
    """(2 + p,) intercept, slope and coefficients; `times` (M,) is how often a lesion counts.

    Newton's method on the penalized likelihood; the ridge acts on features of unit spread.
    """
    design = _design(table)
    spread = np.concatenate([[0.0], table.logits.std(keepdims=True), table.features.std(axis=0)])
    # A feature that never differs is held at 0.
    ridge = np.where(spread > 0, _RIDGE * spread**2, 1.0)
    ridge[0] = 1e-6
    aim = np.zeros(design.shape[1])
    aim[1] = 1.0
    weights = aim.copy()
    for _ in range(_STEPS):
        likely = expit(design @ weights)
        slope = design.T @ (times * (likely - table.positive)) + ridge * (weights - aim)
        curve = (design * (times * likely * (1 - likely))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        # A long step from a flat place would overshoot.
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def measure_gain(table: PatientTable, context: Floats, *, resamples: int, seed: int) -> ContextGain:
    """Plain and context scores of the same lesions, by paired bootstrap of the groups."""
    plain, other = _statistics(table, table.logits), _statistics(table, context)
    rng = np.random.default_rng(seed)
    comparisons = compare_runs(other, plain, table.groups, resamples=resamples, rng=rng)
    return ContextGain(
        patients=len(np.unique(table.patient)),
        lesions=len(table.logits),
        melanomas=int(table.positive.sum()),
        **{
            f"{name}_{which}": interval
            for name, compared in comparisons.items()
            for which, interval in _parts(compared).items()
        },
    )


def _parts(compared: Comparison) -> dict[str, Measured]:
    return {
        "context": compared.first.measured(),
        "plain": compared.second.measured(),
        "difference": compared.difference.measured(),
    }


def _statistics(table: PatientTable, score: Floats) -> dict[str, Statistic]:
    rows = np.arange(len(score), dtype=np.int64)
    lesions = Lesions(rows, table.patient, table.positive, score, len(score), rows)
    return {"auroc": auroc(table.positive, score), "concordance": concordance(lesions)}


def _refits(table: PatientTable, *, seed: int) -> Floats:
    """(resamples, 2 + p) weights of resampled groups."""
    rng, count = np.random.default_rng(seed), int(table.groups.max()) + 1
    draw = partial(rng.integers, 0, count, size=count)
    times = [np.bincount(draw(), minlength=count).astype(np.float64) for _ in range(_REFITS)]
    return np.stack([fit_weights(table, one[table.groups]) for one in times])


def _design(table: PatientTable) -> Floats:
    ones = np.ones((len(table.logits), 1))
    return np.concatenate([ones, table.logits[:, None], table.features], axis=1)
