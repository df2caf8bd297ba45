"""What judges an epoch, against scikit-learn."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy.special import expit, softmax

from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import Metric
from melanoma.training.epoch_metrics import judge, log_odds, validate
from melanoma.types import Floats, Integers

SHIFT = [0.0, 1.5, -0.7, 2.0]
Sample = tuple[Floats, Integers]


def _recipe(**changes: Any) -> Recipe:
    return make_recipe(
        {
            "name": "four",
            "classes": ["nevus", "melanoma", "in situ", "other"],
            "melanoma": ["melanoma", "in situ"],
            "data": {"reader": "csv_folder"},
            "folds": {"name": "four"},
            **changes,
        }
    )


def _binary(**changes: Any) -> Recipe:
    two = {"classes": ["benign", "melanoma"], "melanoma": ["melanoma"]}
    return _recipe(**two, **changes)


@pytest.fixture(scope="module")
def sample() -> Sample:
    rng = np.random.default_rng(0)
    target = rng.choice(4, 400, p=[0.6, 0.2, 0.15, 0.05])
    return rng.normal(size=(400, 4)) + np.eye(4)[target] + SHIFT, target


def test_every_number_is_scikit_learn_s_on_probabilities_without_the_shift(
    sample: Sample,
) -> None:
    logits, target = sample
    probability = softmax(logits - np.array(SHIFT), axis=1)
    called = probability.argmax(axis=1)
    melanoma = np.isin(target, [1, 2])
    found = validate(_recipe(), logits, target, shift=SHIFT)
    assert found == {
        "valid_loss": pytest.approx(sk.log_loss(target, probability)),
        "auroc": pytest.approx(sk.roc_auc_score(melanoma, probability[:, [1, 2]].sum(axis=1))),
        "macro_auroc": pytest.approx(sk.roc_auc_score(target, probability, multi_class="ovr")),
        "accuracy": pytest.approx(sk.accuracy_score(target, called)),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(target, called)),
        "macro_f1": pytest.approx(sk.f1_score(target, called, average="macro")),
    }
    shifted = validate(_recipe(), logits, target, shift=[0.0] * 4)
    assert all(shifted[key] != found[key] for key in found)


def test_without_melanoma_classes_there_is_no_auroc_of_melanoma(sample: Sample) -> None:
    found = validate(_recipe(melanoma=[]), *sample, shift=SHIFT)
    assert found["auroc"] is None
    assert found["macro_auroc"] is not None


def test_with_one_output_there_are_the_loss_and_the_auroc_of_the_logits(sample: Sample) -> None:
    logits, target = sample[0][:, 0], (sample[1] == 0).astype(np.int64)
    assert validate(_binary(), logits[:, None], target, shift=3.0) == {
        "valid_loss": pytest.approx(sk.log_loss(target, expit(logits))),
        "auroc": sk.roc_auc_score(target, logits),
    }


METRICS = sorted(set(get_args(Metric)) - {"loss"})


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("make", [_recipe, _binary])
def test_the_recipe_s_metric_judges_the_higher_the_better(
    metric: str, make: Any, sample: Sample
) -> None:
    recipe = make(selection={"metric": metric})
    logits, target = sample
    shift: Any = SHIFT
    odds = log_odds(logits - np.array(SHIFT), [1, 2])
    expected = {"auprc": sk.average_precision_score(np.isin(target, [1, 2]), odds)}
    if recipe.is_binary:
        logits, target, shift = logits[:, 0] + 3, (target == 0).astype(np.int64), 3.0
        called = logits > 3
        expected = {
            "auroc": sk.roc_auc_score(target, logits),
            "auprc": sk.average_precision_score(target, logits),
            "accuracy": sk.accuracy_score(target, called),
            "macro_auroc": sk.roc_auc_score(target, logits),
            "balanced_accuracy": sk.balanced_accuracy_score(target, called),
            "macro_f1": sk.f1_score(target, called, average="macro"),
        }
    found = validate(recipe, logits.reshape(len(target), -1), target, shift=shift)
    assert judge(recipe, found) == found[metric]
    if metric in expected:
        assert found[metric] == pytest.approx(expected[metric])


@pytest.mark.parametrize("make", [_recipe, _binary])
def test_the_loss_judges_the_lower_the_better(make: Any) -> None:
    recipe = make(selection={"metric": "loss"})
    found: Any = {"valid_loss": 0.3, "auroc": 0.9, "macro_auroc": 0.8}
    assert judge(recipe, found) == -0.3


def test_by_default_several_outputs_are_judged_by_all_classes_and_one_by_its_auroc() -> None:
    found: Any = {"valid_loss": 0.3, "auroc": 0.9, "macro_auroc": 0.8}
    assert judge(_recipe(), found) == 0.8
    assert judge(_binary(), found) == 0.9


def test_certain_answers_are_ranked_where_their_probabilities_are_all_1() -> None:
    logits = np.array([[0.0, 50.0, 0.0], [0.0, 60.0, 0.0], [0.0, 70.0, 0.0]])
    assert len(set(softmax(logits, axis=1)[:, 1])) == 1
    assert (np.diff(log_odds(logits, [1])) > 0).all()
    moderate = np.random.default_rng(0).normal(size=(50, 4))
    probability = softmax(moderate, axis=1)[:, [0, 2]].sum(axis=1)
    assert expit(log_odds(moderate, [0, 2])) == pytest.approx(probability)
