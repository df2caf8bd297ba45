"""What a manifest repeats of recipe.yaml and report.json, and that it does."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from melanoma.data.images import DECODER_VERSION
from melanoma.errors import WeightsError
from melanoma.evaluation.report.schema import ReportContent
from melanoma.recipe.differences import differences
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.context import served_context
from melanoma.scoring.bundle.operating import sealed_intervals
from melanoma.scoring.bundle.served_numbers import served_numbers
from melanoma.scoring.bundle.staging import MANIFEST

FORMAT = "melanoma-bundle/2"
_OWN = ("members", "decoder", "view_order", "sha256")  # what a manifest alone says


def make_statement(recipe: Recipe, report: ReportContent) -> dict[str, Any]:
    """What the manifest repeats of recipe.yaml and report.json, as JSON has it."""
    context = served_context(report)
    elsewhere = [r.model_dump(mode="json", exclude_none=True) for r in report.external_results]
    statement = {
        "format": FORMAT,
        "name": recipe.name,
        "version": recipe.version,
        "backbone": recipe.model.backbone,
        # Left out where there is none: bundles from before there was one stay as they are.
        **({"head": recipe.model.head.model_dump()} if recipe.model.head else {}),
        **({"seeds": len(recipe.seeds)} if recipe.seeds else {}),
        "classes": recipe.classes,
        "melanoma": recipe.melanoma,
        **({"risk": recipe.risk} if recipe.risk else {}),
        **({"image_type": recipe.image_type} if recipe.image_type != "any" else {}),
        "outputs": recipe.outputs,
        "preprocessing": {
            "size": recipe.image.size,
            "fit": recipe.image.fit,
            "normalize": recipe.image.model_dump(mode="json")["normalize"],
            "views": recipe.evaluation.views,
        },
        "folds_expected": report.folds_expected,
        **served_numbers(report).to_json(),
        "threshold_intervals": [asdict(one) for one in sealed_intervals(report)],
        **({"external": elsewhere} if elsewhere else {}),
        **({"quality": report.quality.limits.model_dump()} if report.quality else {}),
        **({"context": context.model_dump(mode="json")} if context else {}),
    }
    plain: dict[str, Any] = json.loads(json.dumps(statement))
    return plain


def restated(manifest: dict[str, Any], recipe: Recipe, report: ReportContent) -> dict[str, Any]:
    """The manifest with another report: what that one does not say is gone."""
    own = {name: manifest[name] for name in _OWN if name in manifest}
    return {**make_statement(recipe, report), **own}


def require_agreement(folder: Path, manifest: dict[str, Any], report: ReportContent) -> Recipe:
    """The recipe. Cross-checks the manifest against recipe.yaml and report.json, which it holds
    digests of and which repeat its numbers."""
    path = folder / MANIFEST
    recipe = make_recipe(yaml.safe_load((folder / "recipe.yaml").read_text()))
    stated = make_statement(recipe, report)
    if "threshold_intervals" not in manifest:  # sealed before they stood there
        del stated["threshold_intervals"]
    if "move" in stated and "move" not in manifest:
        raise WeightsError(
            f"{path}: moved to another prevalence by a version before 30 November 2026, which "
            "moved every member by itself; make it again of the bundle that it is a copy of"
        )
    found = differences({key: manifest[key] for key in stated}, stated)
    shifts = {str(m["fold"]): m["prior_shift"] for m in manifest["members"]}
    stated_shifts = report.calibration.model_dump(mode="json")["prior_shift"]
    found += differences(shifts, stated_shifts, "prior_shift.")
    found += sorted(manifest.keys() - stated.keys() - {*_OWN})
    if (manifest.get("decoder") or 1) > DECODER_VERSION:
        found.append(f"decoder {manifest['decoder']} is newer than {DECODER_VERSION}")
    if found:
        raise WeightsError(
            f"{path} is damaged: it differs from recipe.yaml and report.json ({'; '.join(found)})"
        )
    return recipe
