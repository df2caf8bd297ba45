"""What a fold starts from, and the leak that it would be if those weights saw its held-out images.

--pretrained weights/A/fold_1/model.safetensors gives fold 0 weights that were trained on fold 0's
held-out images; with {fold} in the path each fold starts from the same fold's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import nn

from melanoma.data.name_digests import with_known_names
from melanoma.evaluation.report.schema_parts import StartingWeights as WeightsAudit
from melanoma.models.backbones import find_backbone
from melanoma.models.pretrained import find_weights, load_pretrained
from melanoma.recipe.recipe import Recipe
from melanoma.storage import sha256_of
from melanoma.training.fold_data import FoldData
from melanoma.training.run.facts import RunStart, StartingWeights
from melanoma.training.teacher import Teacher, open_teacher
from melanoma.training.weights_origin import (
    DIGITS,
    Origin,
    Seen,
    find_origin,
    read_seen,
    write_seen,
)


def starting_source(recipe: Recipe, fold: int) -> str:
    """model.pretrained with the fold's number in the place of {fold}."""
    return recipe.model.pretrained.replace("{fold}", str(fold))


def audit_start(recipe: Recipe, data: FoldData, *, imagenet: Path) -> StartingWeights:
    """What the fold's starting weights have seen of its held-out images, by name and by pixels."""
    return _audit(recipe, data, imagenet=imagenet)[0]


def audit_starts(
    recipe: Recipe,
    parts: Iterable[FoldData],
    *,
    imagenet: Path,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Say what is known of the weights that the folds start from; refuse those that leak."""
    unknown = set()
    for part in parts:
        start = audit_start(recipe, part, imagenet=imagenet)
        start.require_clean(allow=part.allow_leak)
        for finding in start.findings:
            say(f"LEAK: {finding}")
        if start.unknown and start.source not in unknown:
            unknown.add(start.source)
            say(
                f"note: {start.source} is of unknown origin, in part or wholly: no record says all "
                "that it was trained on, so held-out images that it saw are not found"
            )


def describe_random_features(recipe: Recipe) -> str | None:
    """A warning where the head learns from a backbone that nobody has trained; None elsewhere."""
    plans = recipe.stage_plans
    if recipe.model.embeddings is not None:
        return None
    if recipe.model.pretrained != "none" or not (plans[0].frozen or recipe.model.frozen_stages):
        return None
    if recipe.model.frozen_stages:
        count = recipe.model.frozen_stages
        what = f"the first {count} stages start from random weights and stay so"
    elif all(plan.frozen for plan in plans):
        what = "the backbone is frozen and starts from random weights, so its features are noise"
    else:
        number = next(n for n, plan in enumerate(plans) if not plan.frozen)
        epochs = sum(plan.epochs for plan in plans[:number])
        what = (
            f"the backbone starts from random weights and is frozen until stage {number + 1}: for "
            f"{epochs} epoch{'s' if epochs > 1 else ''} the head learns from noise"
        )
    return f"{what}; name its weights with --pretrained imagenet or FILE"


def load_start(
    backbone: nn.Module, recipe: Recipe, data: FoldData, *, imagenet: Path, folder: Path | None
) -> tuple[str, StartingWeights]:
    """Load the fold's starting weights into `backbone`; returns their provenance and their audit.

    In `folder`, training_images.csv is written: what its weights will have seen. Raises FoldError
    for weights that saw held-out images, unless data.allow_leak; WeightsError as load_pretrained.
    """
    start, origin = _audit(recipe, data, imagenet=imagenet)
    start.require_clean(allow=data.allow_leak)
    taught = open_teacher(recipe, data)
    source = start.source
    provenance = load_pretrained(backbone, recipe.model.backbone, source=source, folder=imagenet)
    if start.unknown:
        more = (
            f"of unknown origin ({start.seen:,} images known)" if start.seen else "unknown origin"
        )
        provenance += f", {more}"
    if taught is not None:
        provenance += f"; taught by {taught.name}"
    if folder is not None:
        write_seen(
            folder, _own(data), origin.seen | _taught(taught, data.fold), data.seen_in_sources
        )
    return provenance, start


def resumed_start(
    earlier: RunStart | None, data: FoldData, *, folder: Path
) -> tuple[str, StartingWeights]:
    """What load_start gave for a run in `folder` that goes on; `earlier` are its facts so far.

    Its state is what it starts from: with --force-resume and another fold file that may have seen
    what is held out now, which is refused in the same way.
    """
    provenance = str(earlier.pretrained if earlier else "unknown")
    before = read_seen(folder)
    stated = earlier.starting_weights if earlier else None
    if stated is None:
        unknown = not provenance.startswith(("none", "imagenet"))
        stated = StartingWeights(source=provenance, fold=data.fold, unknown=unknown)
    # By name alone: pairs of identical images within the fold file are its own audit's.
    seen = {*before, *stated.overlap}
    overlap = tuple(name for name in _held_out(data) if name in seen)
    start = stated.model_copy(update={"fold": data.fold, "overlap": overlap})
    if start.overlap:
        here = start.model_copy(update={"source": f"the run in {folder}"})
        here.require_clean(allow=data.allow_leak)
    write_seen(folder, _own(data), before, data.seen_in_sources)
    return provenance, start


def starting_file(recipe: Recipe, fold: int, *, imagenet: Path) -> str | None:
    """sha256 of the file that the fold starts from; None where there is none, or not at hand."""
    source = starting_source(recipe, fold)
    if source in ("none", "imagenet"):
        return None
    path = find_weights(source, imagenet)
    return sha256_of(path) if path.is_file() else None


def changed_start(recipe: Recipe, fold: int, earlier: RunStart, *, imagenet: Path) -> list[str]:
    """What differs where the file that the fold starts from is not the one that the `earlier` run
    began with: folders' files are called alike. Nothing where that file is not at hand any more."""
    before = re.search(r"^file sha256:(\w+)", str(earlier.pretrained))
    now = None if before is None else starting_file(recipe, fold, imagenet=imagenet)
    if before is None or now is None:
        return []
    return [] if now == before[1] else [f"model.pretrained: {before[1][:12]} -> {now[:12]}"]


def with_start(
    facts: RunStart, data: FoldData, provenance: str, start: StartingWeights
) -> RunStart:
    """The facts with what the fold starts from, and its leaks behind those that they have."""
    findings = (*facts.leaks, *start.findings)
    weights_audit = WeightsAudit(held_out_seen=len(start.overlap), unknown=start.unknown)
    audit = facts.audit.model_copy(
        update={
            "findings": findings,
            "allowed": bool(findings),
            "starting_weights": weights_audit,
        }
    )
    return facts.model_copy(
        update={
            "pretrained": provenance,
            "starting_weights": start,
            "leaks": findings,
            "audit": audit,
        }
    )


def _audit(recipe: Recipe, data: FoldData, *, imagenet: Path) -> tuple[StartingWeights, Origin]:
    source = starting_source(recipe, data.fold)
    origin = Origin()
    if source not in ("none", "imagenet"):
        path = find_weights(source, imagenet)
        published = find_backbone(recipe.model.backbone).pretrained
        # Absent files are refused where they are loaded, with what to do.
        if path.is_file() and not sha256_of(path).startswith(published.sha256):
            origin = find_origin(path, data.folds, library=imagenet.parent)
    # The same fold's weights are of no help for what all of them have seen.
    always = {name: digits for name, digits in origin.seen.items() if name in origin.always}
    start = StartingWeights(
        source=source,
        fold=data.fold,
        seen=len(origin.seen),
        unknown=origin.unknown,
        by_fold=origin.by_fold and not _overlap(data, always),
        overlap=_overlap(data, origin.seen),
    )
    return start, origin


def _overlap(data: FoldData, seen: Seen) -> tuple[str, ...]:
    """Held-out images that were seen, under their own name or pixel for pixel under another."""
    held_out, digests = _held_out(data), set(seen.values()) - {""}
    # A shipped bundle's list may hold digests of names.
    names = set(with_known_names(seen, held_out))
    return tuple(n for n in held_out if n in names or _digest(data, n) in digests)


def _held_out(data: FoldData) -> list[str]:
    frame = data.folds.frame
    return [*frame["image_name"][frame["fold"] == data.fold], *data.folds.test["image_name"]]


def _taught(teacher: Teacher | None, fold: int) -> Seen:
    """What the fold's teachers had seen beside the folds, and the student through them."""
    return dict.fromkeys(teacher.seen_for(fold), "") if teacher else {}


def _own(data: FoldData) -> Seen:
    names = [data.array.names[row] for row in data.training]
    return {name: _digest(data, name) for name in names}


def _digest(data: FoldData, name: str) -> str:
    return data.array.row_digests[data.array.row_of[name]][:DIGITS]
