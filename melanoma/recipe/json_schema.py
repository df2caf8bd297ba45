"""The recipe as JSON Schema, for editors: configs/recipe.schema.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melanoma.recipe.recipe import Recipe
from melanoma.storage import write_json


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe's YAML, every field with its description.

    `name` may be absent from a file: it is the file's own then.
    """
    schema = Recipe.model_json_schema()
    schema["required"] = [name for name in schema["required"] if name != "name"]
    return schema


def save_recipe_schema(path: Path) -> None:
    """Write configs/recipe.schema.json."""
    write_json(path, recipe_schema())
