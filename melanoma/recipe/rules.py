"""Rules between sections of a recipe: what is wrong with it as a whole, as a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from melanoma.recipe.sections import SUSPICIOUS, Sampler
from melanoma.recipe.source_section import sources_problem

if TYPE_CHECKING:
    from melanoma.recipe.recipe import Recipe

# The losses that are a log-likelihood, which alone says what a set of classes is worth.
PLAIN_LOSSES = ("bce", "cross_entropy")


def stage_problem(recipe: Recipe, total: int) -> str | None:
    """What is wrong with the stages, or with the one that stands for none."""
    if recipe.stages and recipe.training.epochs != total:
        return (
            f"training.epochs: {recipe.training.epochs}, but the stages have {total} together; "
            "leave it out, or --set stages.0.epochs=N"
        )
    if recipe.stages and recipe.model.freeze_backbone:
        return "model.freeze_backbone: in a recipe with stages each says it for itself (frozen)"
    for number, plan in enumerate(recipe.stage_plans):
        if plan.schedule.warmup_epochs >= plan.epochs:
            if not recipe.stages:
                return "schedule.warmup_epochs must be less than training.epochs"
            return f"stages.{number}.schedule.warmup_epochs must be less than its epochs"
    return None


def class_problem(recipe: Recipe) -> str | None:
    """What is wrong with `classes` and `melanoma` themselves."""
    classes, known = recipe.classes, ", ".join(recipe.classes)
    for field, names in (("classes", classes), ("melanoma", recipe.melanoma)):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            return f"{field}: {twice[0]!r} stands twice"
    foreign = [name for name in recipe.melanoma if name not in classes]
    if foreign:
        return (
            f"melanoma: {foreign[0]!r} is not among the classes ({known}); name those that count "
            "as melanoma, or [] for a recipe without a melanoma probability"
        )
    if len(recipe.melanoma) == len(classes):
        return "melanoma: it names every class, so nothing is left to tell melanoma from"
    # oof.csv has the columns logit_NAME, logit_best_NAME and logit_last_NAME.
    shared = [(w, c) for w in ("best", "last") for c in classes if f"{w}_{c}" in classes]
    if shared:
        (which, name) = shared[0]
        return f"classes: {name!r} and '{which}_{name}' would share a column of scores; rename one"
    return None


def risk_problem(recipe: Recipe) -> str | None:
    """What is wrong with `risk`: it names every class once, or none."""
    risk, classes = recipe.risk, recipe.classes
    if not risk:
        return None
    foreign = [name for name in risk if name not in classes]
    if foreign:
        return f"risk: {foreign[0]!r} is not among the classes ({', '.join(classes)})"
    absent = [name for name in classes if name not in risk]
    if absent:
        return f"risk: it leaves out {', '.join(absent)}; name every class or none"
    mild = [name for name in recipe.melanoma if risk[name] not in SUSPICIOUS]
    if mild:
        return f"risk: {mild[0]!r} counts as melanoma and cannot be {risk[mild[0]]}"
    return None


def source_problem(recipe: Recipe) -> str | None:
    """What is wrong with `data.sources`, and with labels that only a source may lack."""
    if getattr(recipe.data, "target_col", "") is None:
        return "data.target_col: null is for a source (data.sources) whose rows have no labels"
    if not recipe.data.sources:
        return None
    if recipe.loss.name not in PLAIN_LOSSES:
        return (
            f"data.sources: labels of several possible classes and soft targets need loss.name "
            f"{' or '.join(PLAIN_LOSSES)} (got {recipe.loss.name!r})"
        )
    held_out = next((one.name for one in recipe.data.sources if one.held_out), None)
    if held_out is not None and recipe.folds.k == 1:
        return (
            f"data.sources.{held_out}.held_out: each of several folds leaves a part out; "
            "folds.k: 1 is a single split"
        )
    return sources_problem(recipe.data.sources, recipe.classes, recipe.melanoma)


def option_problem(recipe: Recipe) -> str | None:
    """What is wrong with options of the network and the training beside each other."""
    model, training = recipe.model, recipe.training
    if model.dropout_samples > 1 and model.dropout == 0:
        return "model.dropout_samples: without model.dropout every draw is the same"
    if recipe.is_frozen and model.frozen_stages:
        return "model.frozen_stages: the whole backbone stays frozen"
    if recipe.is_frozen and model.pooling != "mean":
        return f"model.pooling: {model.pooling} learns with the backbone, which stays frozen"
    if recipe.is_frozen and training.bfloat16_weights and model.embeddings is None:
        return "training.bfloat16_weights: the backbone stays frozen, its weights as they are"
    if recipe.is_frozen and training.mix is not None and not recipe.augment:
        return "training.mix: embeddings of a frozen backbone are not mixed; it needs augment"
    for number, plan in enumerate(recipe.stage_plans):
        if plan.size is not None and plan.size >= recipe.image.size:
            return (
                f"stages.{number}.size: {plan.size} is not below image.size ({recipe.image.size}); "
                "leave it out for whole squares"
            )
    return None


def embedding_problem(recipe: Recipe) -> str | None:
    """What cannot be meant beside another model's embeddings, which no image is read for."""
    if recipe.model.embeddings is None:
        return None
    unused = {
        "augment": recipe.augment,
        "data.sources": recipe.data.sources,
        "model.pretrained": recipe.model.pretrained != "none",
        "training.precise_bn": recipe.training.precise_bn,
        "training.bfloat16_weights": recipe.training.bfloat16_weights,
        "training.mix": recipe.training.mix,
        "evaluation.views": recipe.evaluation.views > 1,
    }
    asked = [name for name, value in unused.items() if value]
    if asked:
        return f"model.embeddings: there are no images, so {', '.join(asked)} cannot be meant"
    return None


def binary_problem(recipe: Recipe) -> str | None:
    """What fits one output alone, or several alone, or needs a melanoma probability."""
    loss, several = recipe.loss, f"with {recipe.outputs} outputs"
    if recipe.is_binary:
        if loss.class_weight != "none":
            return "loss.class_weight: with one output it is loss.positive_weight (ratio or none)"
        if loss.cap is not None and isinstance(loss.positive_weight, float):
            return (
                "loss.cap: it bounds the ratio, and loss.positive_weight is the number "
                f"{loss.positive_weight:g}; keep one of the two"
            )
        return None
    if loss.positive_weight != "none":
        return f"loss.positive_weight: {several} it is loss.class_weight (balanced, sqrt or none)"
    if recipe.sampler.positive_share != Sampler().positive_share:
        return f"sampler.positive_share: {several}, balanced draws every class equally often"
    if recipe.selection.metric in ("auroc", "auprc") and not recipe.melanoma:
        return (
            f"selection.metric: {recipe.selection.metric} is melanoma against the rest, and "
            "melanoma names no class; use macro_auroc"
        )
    return None
