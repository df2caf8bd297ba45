"""A recipe, an epoch and a start as flat names and values, as trackers take them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunStart
from melanoma.training.watchers import EpochRecord


def flatten(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Each leaf of the recipe as (section.field, value in JSON or plain text)."""

    def walk(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
        for key, value in values.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)

    return walk(recipe.model_dump(mode="json"), "")


def epoch_metrics(record: EpochRecord) -> dict[str, float]:
    """The record's finite numbers by name; of the groups' rates the lowest and the highest."""
    rates = record.get("rates") or []
    spread = {"rate_low": min(rates), "rate_high": max(rates)} if rates else {}
    numbers = {**record, **spread}
    return {
        key: float(value)
        for key, value in numbers.items()
        if isinstance(value, int | float) and math.isfinite(value) and key not in ("fold", "epoch")
    }


def version_tags(facts: RunStart) -> dict[str, str]:
    """The start's digests and device, and the versions of the libraries."""
    plain = ("fold", "device", "recipe_digest", "folds_digest", "array_digest")
    tags = {key: str(getattr(facts, key)) for key in plain}
    return tags | {f"version.{key}": number for key, number in facts.versions.items()}
