"""What a fold starts from, and the leak that it would be if those weights saw its held-out images.

--pretrained weights/A/fold_1/model.safetensors gives fold 0 weights that were trained on fold 0's
held-out images; with {fold} in the path each fold starts from the same fold's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from melanoma.errors import FoldError
from melanoma.models.backbones import find_backbone
from melanoma.models.pretrained import find_weights, load_pretrained
from melanoma.recipe.recipe import Recipe
from melanoma.storage import sha256_of
from melanoma.training.fold_data import FoldData
from melanoma.training.weights_origin import (
    DIGITS,
    Origin,
    Seen,
    find_origin,
    read_seen,
    write_seen,
)

_SHOWN = 3


@dataclass(frozen=True)
class StartingWeights:
    """A fold's start: `overlap` are the held-out images that its weights were trained on.

    `seen` says how many images they are known to have seen; `unknown`, that they may have seen
    others too. Held out are the fold's own images and those of a test part.
    """

    source: str
    fold: int
    seen: int = 0
    unknown: bool = False
    by_fold: bool = False
    overlap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # JSON has lists only.
        object.__setattr__(self, "overlap", tuple(self.overlap))

    def as_facts(self) -> dict[str, Any]:
        """What run.json holds of it, as plain JSON."""
        return {**asdict(self), "overlap": list(self.overlap)}

    @property
    def findings(self) -> tuple[str, ...]:
        """The leak as a report says it; nothing where there is none."""
        if not self.overlap:
            return ()
        shown = ", ".join(self.overlap[:_SHOWN])
        more = ", ..." if len(self.overlap) > _SHOWN else ""
        return (
            f"{len(self.overlap)} held-out images of fold {self.fold} that its starting weights "
            f"were trained on ({shown}{more})",
        )

    def require_clean(self, *, allow: bool) -> StartingWeights:
        """Itself. Raises FoldError where it leaks, unless `allow`."""
        if not self.overlap or allow:
            return self
        template = re.sub(r"fold_\d+(?=[/.])", "fold_{fold}", self.source)
        advice = "start from weights that never saw them"
        if self.by_fold and template != self.source:
            advice = f"start each fold from the same fold's weights, --pretrained '{template}'"
        raise FoldError(
            f"{self.source} leaks: {self.findings[0]}; {advice}, or pass --allow-leak and the "
            "report will say so"
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
        for finding in start.findings:
            say(f"LEAK: {finding}")
        start.require_clean(allow=part.allow_leak)
        if start.unknown and start.source not in unknown:
            unknown.add(start.source)
            say(
                f"note: {start.source} is of unknown origin, in part or wholly: no record says all "
                "that it was trained on, so held-out images that it saw are not found"
            )


def describe_random_features(recipe: Recipe) -> str | None:
    """A warning where the head learns from a backbone that nobody has trained; None elsewhere."""
    plans = recipe.stage_plans
    if recipe.model.pretrained != "none" or not plans[0].frozen:
        return None
    if all(plan.frozen for plan in plans):
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
) -> dict[str, Any]:
    """Load the fold's starting weights into `backbone`; returns facts for run.json.

    In `folder`, training_images.csv is written: what its weights will have seen. Raises FoldError
    for weights that saw held-out images, unless data.allow_leak; WeightsError as load_pretrained.
    """
    start, origin = _audit(recipe, data, imagenet=imagenet)
    start.require_clean(allow=data.allow_leak)
    source = start.source
    provenance = load_pretrained(backbone, recipe.model.backbone, source=source, folder=imagenet)
    if start.unknown:
        more = (
            f"of unknown origin ({start.seen:,} images known)" if start.seen else "unknown origin"
        )
        provenance += f", {more}"
    if folder is not None:
        write_seen(folder, _own(data), origin.seen)
    return {"pretrained": provenance, "starting_weights": start.as_facts()}


def resumed_start(facts: dict[str, Any], data: FoldData, *, folder: Path) -> dict[str, Any]:
    """The facts of load_start for a run in `folder` that goes on; `facts` are its own so far.

    Its state is what it starts from: with --force-resume and another fold file that may have seen
    what is held out now, which is refused in the same way.
    """
    provenance = str(facts.get("pretrained", "unknown"))
    before = read_seen(folder)
    stated = facts.get("starting_weights")
    if stated is None:
        unknown = not provenance.startswith(("none", "imagenet"))
        stated = StartingWeights(provenance, data.fold, unknown=unknown).as_facts()
    # By name alone: pairs of identical images within the fold file are its own audit's.
    seen = {*before, *stated["overlap"]}
    overlap = tuple(name for name in _held_out(data) if name in seen)
    start = StartingWeights(**{**stated, "fold": data.fold, "overlap": overlap})
    if start.overlap:
        replace(start, source=f"the run in {folder}").require_clean(allow=data.allow_leak)
    write_seen(folder, _own(data), before)
    return {"pretrained": provenance, "starting_weights": start.as_facts()}


def audit_facts(data: FoldData, start: StartingWeights) -> dict[str, Any]:
    """run.json's `leaks` and `audit`: of the fold file and of the starting weights."""
    audit = data.audit.as_facts()
    findings = [*data.audit.findings, *start.findings]
    return {
        "leaks": findings,
        "audit": {
            **audit,
            "findings": findings,
            "allowed": audit["allowed"] or bool(start.overlap),
            "starting_weights": {"held_out_seen": len(start.overlap), "unknown": start.unknown},
        },
    }


def _audit(recipe: Recipe, data: FoldData, *, imagenet: Path) -> tuple[StartingWeights, Origin]:
    source = starting_source(recipe, data.fold)
    origin = Origin()
    if source not in ("none", "imagenet"):
        path = find_weights(source, imagenet)
        published = find_backbone(recipe.model.backbone).pretrained
        # Absent files are refused where they are loaded, with what to do.
        if path.is_file() and not sha256_of(path).startswith(published.sha256):
            origin = find_origin(path, data.folds, library=imagenet.parent)
    start = StartingWeights(
        source,
        data.fold,
        len(origin.seen),
        origin.unknown,
        origin.by_fold,
        _overlap(data, origin.seen),
    )
    return start, origin


def _overlap(data: FoldData, seen: Seen) -> tuple[str, ...]:
    """Held-out images that were seen, under their own name or pixel for pixel under another."""
    digests = set(seen.values()) - {""}
    return tuple(n for n in _held_out(data) if n in seen or _digest(data, n) in digests)


def _held_out(data: FoldData) -> list[str]:
    frame = data.folds.frame
    return [*frame["image_name"][frame["fold"] == data.fold], *data.folds.test["image_name"]]


def _own(data: FoldData) -> Seen:
    names = [data.array.names[row] for row in data.training]
    return {name: _digest(data, name) for name in names}


def _digest(data: FoldData, name: str) -> str:
    return data.array.row_digests[data.array.row_of[name]][:DIGITS]
