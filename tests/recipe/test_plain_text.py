"""Bare scalars of YAML mean their text wherever cells, columns and classes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.recipe.plain_text import read_yaml
from melanoma.recipe.recipe import Recipe

SCALARS = ("True", "false", "yes", "NO", "on", "2", "1.0", "007", "1e3", "0x1F", "2020-01-01")
SCALARS += ("null", "~", "12:30:00", ".inf", "'1.0'", "1_000", "Malignant")
CSV = "name: x\nfolds: {name: x}\n"


def recipe(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    path = tmp_path / "x.yaml"
    path.write_text(CSV + text)
    return load_recipe(path, overrides)


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_bare_scalar_is_the_text_that_it_stands_for(scalar: str, tmp_path: Path) -> None:
    text = scalar.strip("'")
    data = f"data: {{reader: csv_folder, positive: [{scalar}, b]}}\n"
    found = recipe(tmp_path, data).data
    assert found.positive == (text, "b")  # type: ignore[attr-defined]
    said = "data: {reader: csv_folder}\n"
    found = recipe(tmp_path, said, f"data.positive=[{scalar}]").data
    assert found.positive == (text,)  # type: ignore[attr-defined]
    labels = f"data.labels={{{scalar}: benign, b: melanoma}}"
    found = recipe(tmp_path, said, labels).data
    assert found.labels == {text: "benign", "b": "melanoma"}  # type: ignore[attr-defined]


def test_one_value_needs_no_brackets_and_null_is_none(tmp_path: Path) -> None:
    data = "data: {reader: csv_folder, positive: [a]}\n"
    found = [
        recipe(tmp_path, data, f"data.positive={text}").data.positive  # type: ignore[attr-defined]
        for text in ("True", "1.0", "null", "", "'null'")
    ]
    assert found == [("True",), ("1.0",), None, None, ("null",)]


def test_columns_and_classes_are_text_and_other_fields_are_not(tmp_path: Path) -> None:
    found = recipe(
        tmp_path,
        "classes: [no, yes]\nmelanoma: [yes]\ndata: {reader: csv_folder, keep_cols: [1]}\n",
        *("data.target_col=2", "classes.0=0", "seed=7", "data.labels.1=yes"),
    )
    assert found.classes == ("0", "yes")
    assert found.melanoma == ("yes",)
    assert found.data.target_col == "2"  # type: ignore[attr-defined]
    assert found.data.keep_cols == ("1",)  # type: ignore[attr-defined]
    assert found.data.labels == {"1": "yes"}  # type: ignore[attr-defined]
    assert found.seed == 7


def test_a_resolved_recipe_is_read_again_alike(tmp_path: Path) -> None:
    data = {"reader": "csv_folder", "positive": [True, 2, 1.0]}
    first = make_recipe({"name": "x", "data": data, "folds": {"name": "x"}})
    assert first.data.positive == ("True", "2", "1.0")  # type: ignore[attr-defined]
    again = tmp_path / "again.yaml"
    again.write_text(first.to_yaml())
    assert load_recipe(again) == first


@pytest.mark.parametrize("text", ["data.positive={a: b}", "data.labels=[a]", "training.epochs=yes"])
def test_what_is_no_list_or_map_of_text_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=text.partition("=")[0]):
        recipe(tmp_path, "data: {reader: csv_folder}\n", text)


def test_yaml_that_is_empty_or_broken_is_what_it_was() -> None:
    assert read_yaml("") is None
    found: Any = read_yaml("a: &x [yes]\nb: *x\n")
    assert found == {"a": [True], "b": [True]}
