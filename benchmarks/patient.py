"""Do a patient's other lesions help the shipped model? Measured on SIIM-ISIC 2020's sample.

    python -m benchmarks.patient --weights BUNDLE [--views 1] [--scores FILE]

The sample (../shared/data/siim2020; the images whose scores are in results/, which no source shows
under another name) must be external to BUNDLE, as to the `without_siim2020_test` of
benchmarks/second_edition.py (the one that ships trained on it), and nothing of the network is
refitted. Only 71 of its patients have three or more
images in it, and it was drawn by case and control: a patient's others are melanomas far more
often than in life. The stack is cross-fitted over patients and held against the plain score by a
paired patient bootstrap. A simulation with known patient effects shows what the same code finds
where there is something to find. Writes results/benchmarks/patient.json. FILE (.npz) keeps the
members' logits and embeddings: written where it is not there, read where it is.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.facts import run_facts
from benchmarks.shipped import RESULTS
from melanoma.data.images import decode_image
from melanoma.devices import resolve_device
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.ranking import auroc
from melanoma.evaluation.metrics.within_patient import (
    caught_in_top,
    concordance,
    melanoma_rank,
)
from melanoma.evaluation.scored_images import Lesions
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.patient import OF_LOGITS, OUTLIER_ODDS, lesion_features
from melanoma.scoring.patient_stack import (
    PatientTable,
    apply_stack,
    crossfit,
    fit_context,
    make_patient_table,
    measure_gain,
    safe_logit,
)
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json
from melanoma.types import Floats, Integers

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "../shared/data/siim2020"
# The images of the sample that such a bundle never saw under another name.
UNSEEN = RESULTS / "external" / "without_siim2020_test_on_siim2020" / "scores.csv"
OUT = ROOT / "results" / "benchmarks" / "patient.json"
_RESAMPLES, _SEED, _BATCH = 2000, 0, 32
_SITE = "anatom_site_general_challenge"


def main() -> None:
    """Score, measure, simulate, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--weights", type=Path, required=True, help="a bundle that never saw them")
    parser.add_argument("--scores", type=Path)
    given = parser.parse_args()
    views: int = given.views
    start = time.monotonic()
    frame = pd.read_csv(DATA / "train.csv")
    frame = frame[frame["image_name"].isin(pd.read_csv(UNSEEN)["image_name"])].reset_index(
        drop=True
    )
    bundle = load_bundle(given.weights)
    scorer = Scorer(bundle, device=resolve_device("cpu"), views=views)
    probability, embeddings = score(scorer, frame, given.scores)
    patient = pd.factorize(frame["patient_id"])[0].astype(np.int64)
    positive = frame["target"].to_numpy(np.int64)
    tables = {
        "of_scores": make_patient_table(
            patient=patient,
            groups=patient,
            positive=positive,
            probability=probability,
            sites=frame[_SITE].fillna("").tolist(),
        ),
        "of_scores_and_embeddings": make_patient_table(
            patient=patient,
            groups=patient,
            positive=positive,
            probability=probability,
            embeddings=embeddings,
            sites=frame[_SITE].fillna("").tolist(),
        ),
    }
    found = {
        **run_facts("patient"),
        "bundle": bundle.digest,
        "views": views,
        "resamples": _RESAMPLES,
        "sample": {
            "images": len(frame),
            "patients": int(patient.max()) + 1,
            "melanomas": int(positive.sum()),
        },
        "plain": within(patient, positive, probability),
        "context": {name: judged(table) for name, table in tables.items()},
        "marked": marked(patient, positive, probability),
        "simulation": {str(effect): simulated(effect) for effect in (0.0, 0.5, 1.0, 2.0)},
        "seconds": round(time.monotonic() - start),
    }
    write_json(OUT, found)
    for name, one in found["context"].items():
        print(name, one["status"])


def score(scorer: Scorer, frame: pd.DataFrame, kept: Path | None) -> tuple[Floats, Floats]:
    """(N,) melanoma probabilities and (N, K * D) members' embeddings, each of unit length."""
    columns = scorer.bundle.melanoma_columns
    if kept is not None and kept.is_file():
        read = np.load(kept)
        logits, found = read["logits"], read["emb"].astype(np.float64)
    else:
        logits, found = run_members(scorer, frame)
        if kept is not None:
            np.savez(kept, logits=logits, emb=found)
    probability = scorer.calibrate(logits).mean(axis=1)[:, columns].sum(axis=1)
    directions = found / np.linalg.norm(found, axis=2, keepdims=True)
    return probability, directions.reshape(len(found), -1).astype(np.float64)


def run_members(scorer: Scorer, frame: pd.DataFrame) -> tuple[Floats, Floats]:
    """(N, K, C) logits and (N, K, D) embeddings of the frame's photographs."""
    outputs = []
    for first in range(0, len(frame), _BATCH):
        paths = [DATA / f"jpeg/train/{n}.jpg" for n in frame["image_name"][first : first + _BATCH]]
        squares = np.stack([scorer.square(decode_image(p.read_bytes()).pixels) for p in paths])
        outputs.append(scorer.members.outputs(squares, views=scorer.views))
    logits = np.concatenate([one.logits for one in outputs])
    return logits, np.concatenate([one.embeddings for one in outputs]).astype(np.float64)


def within(patient: Integers, positive: Integers, probability: Floats) -> dict[str, Any]:
    """The plain score: over all, and within the patients."""
    rows = np.arange(len(patient), dtype=np.int64)
    lesions = Lesions(rows, patient, positive, probability, len(rows), rows)
    statistics = {
        "auroc": auroc(positive, probability),
        "within_patient_concordance": concordance(lesions),
        "melanoma_in_top_1": caught_in_top(1, lesions),
        "melanoma_in_top_3": caught_in_top(3, lesions),
        "melanoma_rank": melanoma_rank(lesions),
    }
    rng = np.random.default_rng(_SEED)
    found = bootstrap_intervals(statistics, patient, resamples=_RESAMPLES, rng=rng)
    return {name: interval.measured().model_dump() for name, interval in found.items()}


def judged(table: PatientTable) -> dict[str, Any]:
    """What evaluate would say of it, and the coefficients that a fit on all would have."""
    fitted = fit_context(table, origin="SIIM sample", resamples=_RESAMPLES, seed=_SEED)
    deals = [
        measure_gain(table, crossfit(table, seed=seed), resamples=1, seed=seed)
        for seed in range(20)
    ]
    return {
        **fitted.model_dump(mode="json"),
        "features": list(table.names),
        "auroc_difference_by_deal": [one.auroc_difference.value for one in deals],
    }


def marked(patient: Integers, positive: Integers, probability: Floats) -> dict[str, Any]:
    """How many lesions the rule marks as outliers, and how many of these are melanomas."""
    logits, marks, compared = safe_logit(probability), 0, 0
    caught = 0
    for number in np.unique(patient):
        rows = np.flatnonzero(patient == number)
        features = lesion_features(logits[rows])
        compared += len(rows) if features.comparable else 0
        marks += int(features.outlier.sum())
        caught += int(positive[rows][features.outlier].sum())
    return {"odds": OUTLIER_ODDS, "lesions": compared, "marked": marks, "melanomas": caught}


def simulated(effect: float) -> dict[str, Any]:
    """Of ten simulations how many seal a stack, and what it changes on other patients.

    `effect` is the standard deviation of what a patient adds to all of its lesions' log-odds.
    """
    gains: list[float | None] = []
    fresh: list[float | None] = []
    sealed = 0
    for seed in range(10):
        found = fit_context(_simulate(effect, seed), origin="simulation", resamples=200, seed=seed)
        assert found.gain is not None
        gains.append(found.gain.auroc_difference.value)
        sealed += found.stack is not None
        if found.stack is not None:
            new = _simulate(effect, 1000 + seed)
            gain = measure_gain(new, apply_stack(found.stack, new), resamples=1, seed=seed)
            fresh.append(gain.auroc_difference.value)
    return {"sealed_of_10": sealed, "difference_crossfitted": gains, "on_new_patients": fresh}


def _simulate(effect: float, seed: int) -> PatientTable:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(200), rng.integers(3, 13, 200))
    positive = (rng.random(len(owner)) < 0.15).astype(np.int64)
    shift = effect * rng.normal(size=200)
    logits = -2 + 1.5 * positive + rng.normal(size=len(owner)) + shift[owner]
    table = make_patient_table(
        patient=owner, groups=owner, positive=positive, probability=expit(logits)
    )
    assert table.names == OF_LOGITS
    return table


if __name__ == "__main__":
    main()
