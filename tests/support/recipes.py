"""Recipes of two classes or several, built or refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe

BASE: dict[str, Any] = {"name": "r", "data": {"reader": "siim"}, "folds": {"name": "f"}}


def recipe(**sections: Any) -> Recipe:
    values = copy.deepcopy(BASE)
    for name, section in sections.items():
        both = isinstance(section, dict) and isinstance(values.get(name), dict)
        values[name] = {**values[name], **section} if both else section
    return make_recipe(values)


def refused(**sections: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(**sections)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SEVERAL: dict[str, Any] = {
    "data": {"reader": "csv_folder"},
    "classes": ["nevus", "melanoma", "vascular lesion"],
    "loss": {"name": "cross_entropy"},
}


def several(**sections: Any) -> Recipe:
    return recipe(**{**SEVERAL, **sections})
