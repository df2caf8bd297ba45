"""Rules between sections of a recipe: each is refused as a sentence that begins with its field."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from recipes import SEVERAL, recipe, refused


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"classes": ["a", ""], "melanoma": []}, "classes.1: String should have at least 1"),
        ({"classes": ["a", " "], "melanoma": []}, "classes.1: String should have at least 1"),
        ({"classes": ["a", "b", "a "], "melanoma": []}, "classes: 'a' stands twice"),
        ({"melanoma": ["melanoma", "melanoma"]}, "melanoma: 'melanoma' stands twice"),
        (
            {"classes": ["a", "b", "c"]},
            "melanoma: 'melanoma' is not among the classes (a, b, c); name those that count as "
            "melanoma, or [] for a recipe without a melanoma probability",
        ),
        ({"melanoma": ["nevus", "melanoma", "vascular lesion"]}, "melanoma: it names every class"),
        (
            {"classes": ["x", "best_x", "y"], "melanoma": []},
            "classes: 'x' and 'best_x' would share a column",
        ),
        (
            {"loss": {"name": "cross_entropy", "positive_weight": "ratio"}},
            "loss.positive_weight: with 3 outputs it is loss.class_weight",
        ),
        ({"loss": {"class_weight": "ratio"}}, "loss.class_weight: Input should be 'none', 'bal"),
        (
            {"sampler": {"name": "balanced", "positive_share": 0.3}},
            "sampler.positive_share: with 3 outputs, balanced draws every class equally often",
        ),
        (
            {"melanoma": [], "selection": {"metric": "auroc"}},
            "selection.metric: auroc is melanoma against the rest, and melanoma names no class",
        ),
        ({"selection": {"metric": "kappa"}}, "selection.metric: Input should be 'auroc', 'au"),
        ({"data": {"reader": "siim"}}, "classes: reader siim knows two"),
        ({"data": {"reader": "phantoms"}}, "classes: reader phantoms knows two"),
        (
            {"data": {"reader": "csv_folder", "positive": ["mel"]}},
            "data.positive: it fits two classes; for 3 use data.labels",
        ),
        (
            {"data": {"reader": "csv_folder", "labels": {"nv": "naevus"}}},
            "data.labels: nv means 'naevus', which is not among the classes (nevus, melanoma, ",
        ),
        (
            {"data": {"reader": "csv_folder", "labels": {"nv": 3}}},
            "data.labels: nv means '3', ",
        ),
        ({"data": {"reader": "ham10000", "table": "x"}}, "data.table: unknown key; known: reader"),
        (
            {"evaluation": {"calibration": "platt"}},
            "evaluation.calibration: Input should be 'auto', 's",
        ),
        ({"evaluation": {"sensitivities": [1.5]}}, "evaluation.sensitivities.0: "),
    ],
)
def test_classes_that_cannot_be_meant_are_refused_by_their_field(
    sections: dict[str, Any], said: str
) -> None:
    assert f"recipe: {said}" in refused(**{**SEVERAL, **sections})


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"loss": {"class_weight": "sqrt"}}, "loss.class_weight: with one output it is loss.pos"),
        ({"classes": ["melanoma", "benign"]}, "classes: reader siim knows two, of which the sec"),
        (
            {"data": {"reader": "csv_folder", "positive": ["mel"], "labels": {"nv": "benign"}}},
            "data.positive and data.labels say the same thing twice",
        ),
    ],
)
def test_what_fits_several_classes_alone_is_refused_for_two(
    sections: dict[str, Any], said: str
) -> None:
    assert f"recipe: {said}" in refused(**sections)


TWO_STAGES = [{"epochs": 3}, {"epochs": 4}]
FROZEN = {"model": {"freeze_backbone": True}}
GIVEN = {"model": {"embeddings": "e.npy"}}
RISK = {"nevus": "benign", "melanoma": "malignant", "vascular lesion": "benign"}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        # stages
        ({"stages": TWO_STAGES, "training": {"epochs": 6}}, "training.epochs: 6, but the stages"),
        ({"stages": TWO_STAGES, **FROZEN}, "model.freeze_backbone: in a recipe with stages"),
        (
            {"stages": [*TWO_STAGES, {"epochs": 1, "schedule": {"warmup_epochs": 1}}]},
            "stages.2.schedule.warmup_epochs must be less",
        ),
        (
            {"training": {"epochs": 2}, "schedule": {"warmup_epochs": 2}},
            "schedule.warmup_epochs must be less than training.epochs",
        ),
        # risk
        ({"risk": {**RISK, "acne": "benign"}}, "risk: 'acne' is not among the classes (nevus, "),
        ({"risk": {"melanoma": "malignant"}}, "risk: it leaves out nevus, vascular lesion; "),
        ({"risk": {**RISK, "melanoma": "benign"}}, "risk: 'melanoma' counts as melanoma and cann"),
        # options beside each other
        ({"model": {"dropout": 0, "dropout_samples": 2}}, "model.dropout_samples: without"),
        (
            {"model": {"freeze_backbone": True, "frozen_stages": 1}},
            "model.frozen_stages: the whole backbone stays frozen",
        ),
        (
            {"model": {"freeze_backbone": True, "pooling": "gem"}},
            "model.pooling: gem learns with the backbone",
        ),
        (
            {"stages": [{"epochs": 1, "size": 128}], "image": {"size": 128}},
            "stages.0.size: 128 is not below image.size (128)",
        ),
        # embeddings of another model
        (
            {**GIVEN, "augment": [{"flip_horizontal": {}}], "evaluation": {"views": 2}},
            "model.embeddings: there are no images, so augment, evaluation.views cannot be",
        ),
        (
            {"model": {**GIVEN["model"], "pretrained": "imagenet"}},
            "model.embeddings: there are no images, so model.pretrained cannot be",
        ),
    ],
)
def test_what_cannot_stand_beside_each_other_is_refused_by_its_field(
    sections: dict[str, Any], said: str
) -> None:
    assert f"recipe: {said}" in refused(**{**SEVERAL, **copy.deepcopy(sections)})


def test_what_is_just_within_a_rule_is_taken() -> None:
    """Each a step from a refusal above: a rule that refuses too much is wrong as well."""
    for sections in (
        {"stages": TWO_STAGES, "training": {"epochs": 7}},
        {"training": {"epochs": 3}, "schedule": {"warmup_epochs": 2}},
        {"risk": RISK},
        {"risk": {**RISK, "melanoma": "premalignant"}},
        {"model": {"dropout": 0.1, "dropout_samples": 2}},
        {"model": {"freeze_backbone": True, "pooling": "mean"}},
        {"stages": [{"epochs": 1, "size": 96}], "image": {"size": 128}},
        GIVEN,
    ):
        recipe(**{**SEVERAL, **copy.deepcopy(sections)})
