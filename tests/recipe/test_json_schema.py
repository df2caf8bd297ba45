"""configs/recipe.schema.json: current, and every committed recipe is one by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from melanoma.recipe.json_schema import recipe_schema

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
AGAIN = (
    'python -c "from pathlib import Path; from melanoma.recipe.json_schema import '
    "save_recipe_schema; save_recipe_schema(Path('configs/recipe.schema.json'))\""
)


def parts(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The recipe and its sections, by name."""
    return [("Recipe", schema), *schema["$defs"].items()]


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((CONFIGS / "recipe.schema.json").read_text())
    assert committed == json.loads(json.dumps(recipe_schema())), f"write it again: {AGAIN}"


def test_every_field_is_described() -> None:
    bare = [
        f"{name}.{field}"
        for name, part in parts(recipe_schema())
        for field, says in part.get("properties", {}).items()
        if len(says.get("description", "").split()) < 2
    ]
    assert bare == []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_committed_recipe_is_valid_and_names_the_schema(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    problems = list(Draft202012Validator(recipe_schema()).iter_errors(yaml.safe_load(text)))
    assert problems == []


def test_a_misspelled_field_is_a_problem_in_an_editor_too() -> None:
    values = yaml.safe_load((CONFIGS / "demo.yaml").read_text())
    values["training"]["epoch"] = 3
    problems = [e.message for e in Draft202012Validator(recipe_schema()).iter_errors(values)]
    assert any("epoch" in problem for problem in problems)
