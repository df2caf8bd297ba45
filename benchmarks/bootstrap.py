"""Intervals of a whole report against a plain loop over scikit-learn, in one run on one machine.

    python -m benchmarks.bootstrap --data data/siim2020/train_full.csv --json

Ours: every metric of a report (ranking, probabilities, four thresholds, decision curve) on the same
2,000 resamples of patients. Plain: what a notebook would run, `roc_auc_score` on the gathered rows
of each resample; timed on fewer resamples and extrapolated in proportion. Scores are made up, a
patient's alike; rows, patients and positives are SIIM's, or those of the table that --data names.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from benchmarks.facts import run_facts
from melanoma.evaluation.metrics import decisions, probability_scores, ranking
from melanoma.evaluation.metrics.bootstrap import Statistic, bootstrap_intervals
from melanoma.evaluation.metrics.net_benefit import net_benefit_at, threshold_grid
from melanoma.types import Floats, Integers


class Scored(NamedTuple):
    """Targets, calibrated probabilities, and patients numbered from 0."""

    target: Integers
    probability: Floats
    groups: Integers


def make_scores(rows: int, clusters: int, *, prevalence: float, seed: int) -> Scored:
    """Made-up images: patients of unequal numbers, half the variance between them."""
    rng = np.random.default_rng(seed)
    # Every patient has an image; the others fall to patients as unevenly as SIIM's.
    more = rng.choice(clusters, rows - clusters, p=rng.dirichlet(np.ones(clusters)))
    groups = np.concatenate([np.arange(clusters), more]).astype(np.int64)
    target = (rng.random(rows) < prevalence).astype(np.int64)
    return _scored(target, groups, rng)


def read_scores(path: Path, *, seed: int) -> Scored:
    """The table's targets and patients with made-up scores."""
    frame = pd.read_csv(path)
    groups = pd.factorize(frame["patient_id"])[0].astype(np.int64)
    return _scored(frame["target"].to_numpy(np.int64), groups, np.random.default_rng(seed))


def _scored(target: Integers, groups: Integers, rng: np.random.Generator) -> Scored:
    shared = rng.normal(size=int(groups.max()) + 1)[groups]
    skill = (shared + rng.normal(size=len(target))) / 2**0.5 + 1.8 * target
    return Scored(target, expit(skill - 4.5), groups)


def report_statistics(target: Integers, probability: Floats) -> dict[str, Statistic]:
    """What a report of two classes measures with an interval."""
    found: dict[str, Statistic] = {
        "auroc": ranking.auroc(target, probability),
        "auroc_other_epoch": ranking.auroc(target, probability),
        "pauc_above_sensitivity_0.8": ranking.partial_auroc(0.8, target, probability),
        "pr_auc": ranking.average_precision(target, probability),
        "sensitivity_at_specificity_0.9": ranking.sensitivity_at_specificity(
            0.9, target, probability
        ),
        "brier": probability_scores.brier_score(target, probability),
        "log_loss": probability_scores.log_loss(target, probability),
        "ece": probability_scores.expected_calibration_error(target, probability),
    }
    points = [ranking.threshold_at_sensitivity(s, target, probability) for s in (0.9, 0.95)]
    points += [ranking.threshold_at_specificity(s, target, probability) for s in (0.9, 0.95)]
    at = {
        "sensitivity": decisions.sensitivity_at,
        "specificity": decisions.specificity_at,
        "ppv": decisions.positive_predictive_value_at,
        "npv": decisions.negative_predictive_value_at,
        "accuracy": decisions.accuracy_at,
        "balanced_accuracy": decisions.balanced_accuracy_at,
    }
    for point in points:
        found |= {f"{name} {point}": make(point, target, probability) for name, make in at.items()}
    for threshold in threshold_grid(float(target.mean())):
        found[f"net benefit {threshold}"] = net_benefit_at(threshold, target, probability)
    return found


def plain_aurocs(scored: Scored, *, resamples: int, seed: int) -> list[float]:
    """The AUROC of every resample by gathering its rows."""
    rng = np.random.default_rng(seed)
    count = int(scored.groups.max()) + 1
    order = np.argsort(scored.groups, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(scored.groups))[:-1])
    found = []
    for _ in range(resamples):
        rows = np.concatenate([members[g] for g in rng.integers(0, count, count)])
        found.append(float(roc_auc_score(scored.target[rows], scored.probability[rows])))
    return found


def measure(
    scored: Scored, *, resamples: int, plain_resamples: int, seed: int
) -> dict[str, object]:
    """Seconds of ours and of the plain loop, and both intervals of the AUROC."""
    target, probability, groups = scored
    start = time.perf_counter()
    statistics = report_statistics(target, probability)
    found = bootstrap_intervals(
        statistics, groups, resamples=resamples, rng=np.random.default_rng(seed)
    )
    whole = time.perf_counter() - start
    start = time.perf_counter()
    alone_statistic = {"auroc": ranking.auroc(target, probability)}
    bootstrap_intervals(
        alone_statistic, groups, resamples=resamples, rng=np.random.default_rng(seed)
    )
    alone = time.perf_counter() - start
    start = time.perf_counter()
    aurocs = plain_aurocs(scored, resamples=plain_resamples, seed=seed)
    plain = (time.perf_counter() - start) * resamples / plain_resamples
    return {
        **run_facts("bootstrap"),
        "rows": len(target),
        "clusters": int(groups.max()) + 1,
        "positives": int(target.sum()),
        "resamples": resamples,
        "statistics": len(statistics),
        "seconds_whole_report": round(whole, 2),
        "seconds_auroc_alone": round(alone, 2),
        "seconds_plain_auroc_loop": round(plain, 1),
        "plain_resamples_timed": plain_resamples,
        "ratio_auroc": round(plain / alone, 1),
        "auroc": [round(value, 4) for value in found["auroc"][:3]],
        "auroc_plain": [round(float(v), 4) for v in np.percentile(aurocs, [2.5, 97.5])],
        "numpy": np.__version__,
    }


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=33_126)
    parser.add_argument("--clusters", type=int, default=2_056)
    parser.add_argument("--prevalence", type=float, default=0.0176)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--plain-resamples", type=int, default=100)
    parser.add_argument("--data", type=Path, help="a table with target and patient_id")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scored = (
        read_scores(options.data, seed=options.seed)
        if options.data
        else make_scores(
            options.rows, options.clusters, prevalence=options.prevalence, seed=options.seed
        )
    )
    result = measure(
        scored,
        resamples=options.resamples,
        plain_resamples=options.plain_resamples,
        seed=options.seed,
    )
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
