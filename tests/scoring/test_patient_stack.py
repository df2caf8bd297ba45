"""The context stack: a planted gain is found on withheld patients, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from melanoma.errors import DataError
from melanoma.scoring.patient import lesion_features
from melanoma.scoring.patient_stack import (
    PatientTable,
    apply_stack,
    context_logits,
    fit_context,
    fit_weights,
    make_patient_table,
    measure_gain,
)
from melanoma.types import Floats


def simulate(effect: float, *, patients: int = 150, seed: int = 0) -> PatientTable:
    """Patients of 3 to 12 lesions whose scores are shifted by `effect` standard normal a patient:
    with it, a lesion's height above its patient's others tells more than the height itself."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), rng.integers(3, 13, patients))
    positive = (rng.random(len(owner)) < 0.15).astype(np.int64)
    shift = effect * rng.normal(size=patients)
    logits = -2 + 1.5 * positive + rng.normal(size=len(owner)) + shift[owner]
    return make_patient_table(
        patient=owner, groups=owner, positive=positive, probability=expit(logits)
    )


@pytest.fixture(scope="module")
def planted() -> PatientTable:
    return simulate(2.0)


def test_a_planted_gain_is_found_and_holds_on_new_patients(planted: PatientTable) -> None:
    found = fit_context(planted, origin="a simulation", resamples=200, seed=0)
    assert found.stack is not None and found.stack.gain.auroc_difference.low > 0.02
    assert found.stack.coefficients["above_median"].low > 0
    fresh = simulate(2.0, seed=1)
    gain = measure_gain(fresh, apply_stack(found.stack, fresh), resamples=200, seed=0)
    assert gain.auroc_difference.low is not None and gain.auroc_difference.low > 0.02


def test_without_patient_effects_no_stack_is_sealed() -> None:
    sealed = 0
    for seed in range(3):
        found = fit_context(simulate(0.0, seed=seed), origin="", resamples=100, seed=0)
        difference = found.gain.auroc_difference.value if found.gain else None
        assert difference is not None and abs(difference) < 0.02
        sealed += found.stack is not None
    assert sealed <= 1  # a two-sided 95 % interval is wrong once in forty upwards


def test_images_per_patient_are_no_evidence(planted: PatientTable) -> None:
    """The middle one of lesions that are all alike has the same answer with 3 as with 31."""
    found = fit_context(planted, origin="", resamples=50, seed=0)
    assert found.stack is not None
    answers = []
    for count in (3, 31):
        features = lesion_features(np.linspace(-2.0, -1.9999, count))
        middle = slice(count // 2, count // 2 + 1)
        own = {name: features.trust * v[middle] for name, v in features.values.items()}
        answers.append(context_logits(found.stack, np.array([-2.0]), own))
    assert answers[0] == pytest.approx(answers[1], abs=1e-3)
    assert not {"n", "count", "lesions"} & set(planted.names)


def test_the_weights_are_those_of_scikit_learn_s_ridge(planted: PatientTable) -> None:
    ours = fit_weights(planted, np.ones(len(planted.logits)))
    spread = np.concatenate([planted.logits.std(keepdims=True), planted.features.std(axis=0)])
    kept = spread > 0
    columns = np.column_stack([planted.logits, planted.features])[:, kept] / spread[kept]
    # Its ridge pulls every weight to 0, ours the slope to 1: the likelihoods' gradients tell.
    likely = expit(
        np.column_stack([np.ones(len(columns)), planted.logits, planted.features]) @ ours
    )
    pull = columns.T @ (likely - planted.positive)
    aim = np.concatenate([[1.0], np.zeros(planted.features.shape[1])])[kept] * spread[kept]
    assert pull == pytest.approx(-10.0 * ((ours[1:][kept]) * spread[kept] - aim), abs=1e-5)
    free = LogisticRegression(C=1e9).fit(columns, planted.positive)
    assert np.corrcoef(free.decision_function(columns), np.log(likely / (1 - likely)))[0, 1] > 0.95


def test_too_few_patients_have_no_stack_and_it_is_said() -> None:
    found = fit_context(simulate(2.0, patients=12), origin="", resamples=50, seed=0)
    assert found.stack is None and "too few patients (12 patients" in found.status


def test_a_stack_of_embeddings_refuses_lesions_without(planted: PatientTable) -> None:
    found = fit_context(planted, origin="", resamples=50, seed=0)
    assert found.stack is not None
    one = found.stack.intercept
    needing = found.stack.model_copy(update={"coefficients": {"to_nearest": one}})
    with pytest.raises(DataError, match="to_nearest: no embeddings"):
        context_logits(needing, np.zeros(1), {})


def test_embeddings_add_their_features_to_the_table() -> None:
    rng: Floats = np.random.default_rng(0).normal(size=(9, 5))
    found = make_patient_table(
        patient=np.repeat([0, 1, 2], [4, 3, 2]),
        groups=np.repeat([0, 1, 2], [4, 3, 2]),
        positive=np.zeros(9, dtype=np.int64),
        probability=np.linspace(0.1, 0.9, 9),
        embeddings=rng,
    )
    assert "outlier_factor" in found.names and len(found.logits) == 7  # two lesions are too few
