"""Whole reports without a training run, by the real builder from drawn scores.

A figure drawn from them looks as one of a run does, and what the builder gains they have too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma.evaluation.report.build import build_report
from melanoma.evaluation.report.schema import External, ReportContent, validate_report
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.schema_patients import ContextGain, ContextStack
from melanoma.evaluation.report.schema_sources import HeldOutSource
from melanoma.evaluation.report.summary import plain_summary
from melanoma.evaluation.score_table import LOGITS, make_scores
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts

FOLDS = 3
SEVEN = (
    *("melanocytic nevi", "melanoma", "benign keratosis", "basal cell carcinoma"),
    *("actinic keratosis", "vascular lesion", "dermatofibroma"),
)
AWKWARD = (
    "<script>alert(1)</script>",
    "basal cell carcinoma & variants",
    "seborrheic keratosis / solar lentigo, flat",
    "vascular | lesion",
    "`code` *star* [link](x)",
)
TWENTY_TWO = (
    *AWKWARD,
    *("acne", "atopic dermatitis", "bullous disease", "cellulitis impetigo", "eczema"),
    *("exanthems and drug eruptions", "hair loss", "herpes, HPV and other STDs"),
    *("light diseases and disorders of pigmentation", "lupus and other connective tissue"),
    *("nail fungus", "poison ivy", "psoriasis and lichen planus", "scabies and Lyme disease"),
    *("systemic disease", "tinea and ringworm", "urticaria"),
)
NO_LEAK = {
    "patients": 0,
    "lesions": 0,
    "groups": 0,
    "identical": 0,
    "near_duplicates": 0,
    "findings": [],
    "allowed": False,
}
LEAKS = NO_LEAK | {
    "patients": 312,
    "groups": 312,
    "near_duplicates": None,
    "findings": ["312 patients stand in more than one fold (IP_0000123, IP_0000456, IP_0000789)"],
    "allowed": True,
}


class Made(NamedTuple):
    """A report's content and the recipe it is of."""

    content: ReportContent
    recipe: Recipe


@cache
def binary(
    *,
    images: int = 900,
    rate: float = 0.2,
    prevalence: float | None = 0.02,
    leaky: bool = False,
    keep: str = "best",
) -> Made:
    """Benign and melanoma, with subgroups (some too small), shortcuts and another prevalence."""
    rng = np.random.default_rng(1)
    target = (rng.random(images) < rate).astype(np.int64)
    logit = rng.normal(size=images) * 1.2 + 2.0 * target - 2.6
    return make_report(
        recipe_of("synthetic", selection={"keep": keep}),
        target,
        logit,
        prevalence=prevalence,
        audit=LEAKS if leaky else NO_LEAK,
    )


@cache
def many(classes: tuple[str, ...], melanoma: tuple[str, ...] = (), *, images: int = 1500) -> Made:
    """As many classes as are named, the later the rarer."""
    rng = np.random.default_rng(2)
    share = 1 / np.arange(1, len(classes) + 1)
    target = rng.choice(len(classes), size=images, p=share / share.sum())
    logits = rng.normal(size=(images, len(classes)))
    logits[np.arange(images), target] += 2.2
    recipe = recipe_of(
        "many",
        classes=list(classes),
        melanoma=list(melanoma),
        data={"reader": "csv_folder"},
        loss={"name": "cross_entropy", "class_weight": "sqrt"},
    )
    return make_report(recipe, target, logits)


@cache
def external() -> Made:
    """The binary report as that of an external set, some of whose images were trained on."""
    made = binary(images=300)
    finding = "2 images stand in the training set too (ISIC_0000001, ISIC_0000002)"
    overlap = NO_LEAK | {"identical": 2, "findings": [finding]}
    changes = {
        "folds": [],
        "selection": None,
        "retargeted": None,
        "warnings": [f"LEAK: {finding}", "only 64 positives: the intervals are wide"],
        "external": {
            "recipe": "ham10000_melanoma",
            "model": "siim_mobilenet",
            "model_digest": "ab" * 32,
            "overlap": overlap,
            "recalibration": {"slope": 0.61, "intercept": -0.42, "brier_as_sealed": 0.1234},
        },
    }
    return Made(changed(made.content, **changes), made.recipe)


@cache
def undefined() -> Made:
    """A report in which nothing that could be undefined is defined."""
    made = binary(images=300)
    plain: dict[str, Any] = _without_numbers(made.content.model_dump(mode="json"))
    plain |= {"curves": None, "net_benefit": None, "retargeted": None}
    return Made(changed(made.content, **plain), made.recipe)


def external_fit(fit: dict[str, float] | None) -> External:
    """What a report says of a set elsewhere on which a recalibration would be `fit`."""
    facts = {"recipe": "elsewhere", "model": "small", "model_digest": "ab" * 32}
    return External.model_validate({**facts, "overlap": NO_LEAK, "recalibration": fit})


def changed(content: ReportContent, **changes: Any) -> ReportContent:
    """The content with fields replaced, its summary said anew."""
    replaced = validate_report(content.model_dump(mode="json") | changes)
    return replaced.model_copy(update={"summary": plain_summary(replaced)})


def recipe_of(name: str, **changes: Any) -> Recipe:
    return make_recipe(
        {
            "name": name,
            "data": {"reader": "siim"},
            "folds": {"name": name, "k": FOLDS},
            "augment": [{"flip_horizontal": {"p": 0.5}}],
            "evaluation": {"resamples": 100},
            **changes,
        }
    )


def make_report(
    recipe: Recipe,
    target: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float64],
    *,
    prevalence: float | None = None,
    audit: dict[str, Any] = NO_LEAK,
) -> Made:
    """The real builder's content for these scores; patients of two images, in three folds."""
    rng = np.random.default_rng(3)
    images = len(target)
    patient = np.arange(images) // 2
    frame = pd.DataFrame(
        {
            "image_name": [f"ISIC_{i:07d}" for i in range(images)],
            "patient_id": [f"IP_{p:07d}" for p in patient],
            "group": [f"g{p}" for p in patient],
            "label": np.array(recipe.classes)[target],
            "target": target,
            "fold": patient % FOLDS,
            "age": rng.choice([35.0, 45.0, 55.0, 65.0, np.nan], images),
            "sex": rng.choice(["female", "male", ""], images, p=[0.5, 0.47, 0.03]),
            "site": _sites(rng, images),
            "bytes": rng.normal(1e6, 1e5, images) + 1.5e5 * target,
        }
    )
    scores = make_scores(frame, recipe.classes, dict.fromkeys(LOGITS, logits.reshape(images, -1)))
    content = build_report(
        recipe, scores, _facts(recipe, audit), table=frame, prevalence=prevalence
    ).content
    return Made(content, recipe)


def _sites(rng: np.random.Generator, images: int) -> npt.NDArray[np.str_]:
    sites: Sequence[str] = ("torso", "lower extremity", "head/neck", "oral/genital mucosa & lips")
    return rng.choice(sites, images, p=[0.5, 0.3, 0.185, 0.015])


def _facts(recipe: Recipe, audit: dict[str, Any]) -> list[RunFacts]:
    return [
        RunFacts.model_validate(
            {
                "fold": fold,
                "prior_shift": 0.0 if recipe.is_binary else [0.0] * len(recipe.classes),
                "audit": audit,
                "leaks": audit["findings"],
                "kept": recipe.selection.keep,
                "best_epoch": 3 + fold,
                "last_epoch": 9,
                "seconds": 108.4,
                "recipe_digest": recipe.digest(),
                "folds_digest": "9f" * 32,
                "array_digest": "3c" * 32,
                "versions": {"python": "3.11.7", "torch": "2.15.0", "melanoma": "0.1.0"},
                "device": "cpu",
                "precision": "float32",
                "pretrained": "file sha256:115e5ff7 from mobilenet_v2_imagenet.safetensors",
            }
        )
        for fold in range(FOLDS)
    ]


def _without_numbers(value: Any) -> Any:
    """The same with every measured value null, and without bins."""
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high"}:
            return dict.fromkeys(value)
        return {key: [] if key == "bins" else _without_numbers(v) for key, v in value.items()}
    return [_without_numbers(v) for v in value] if isinstance(value, list) else value


def held_out_source(**changes: Any) -> HeldOutSource:
    """What the folds reach on a source's images, and what a test says of it."""
    some = Measured(value=0.7531, low=0.7, high=0.8)
    made = HeldOutSource(
        images=100,
        positives=30,
        patients=None,
        auroc=some,
        at="sensitivity 0.95",
        threshold=0.04,
        sensitivity=some,
        specificity=some,
        ece=some,
        ece_at_own_share=Measured(value=None),
    )
    return made.model_copy(update=changes)


def context_stack(intercept: float, slope: float, coefficients: dict[str, float]) -> ContextStack:
    """A patient's context of given numbers, fitted on nothing."""
    nothing = Measured(value=0.0)
    gain = {
        f"{name}_{which}": nothing
        for name in ("auroc", "concordance")
        for which in ("plain", "context", "difference")
    }
    counts = {"patients": 30, "lesions": 90, "melanomas": 20}
    return ContextStack(
        origin="a test",
        **counts,
        intercept=Measured(value=intercept),
        slope=Measured(value=slope),
        coefficients={name: Measured(value=value) for name, value in coefficients.items()},
        half_trusted=2.0,
        gain=ContextGain(**counts, **gain),
    )
