"""Where a recipe's files lie unless a command says otherwise, and which folds it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import make_recipe
from melanoma.workflows.places import fold_file, fold_numbers, weights_folder

RECIPE = make_recipe({"name": "mine", "data": {"reader": "siim"}, "folds": {"name": "shared"}})


def test_all_folds_or_one_that_exists_are_meant() -> None:
    assert fold_numbers("all", [0, 2, 10]) == [0, 2, 10]
    assert fold_numbers("10", [0, 2, 10]) == [10]


@pytest.mark.parametrize("text", ["1", "-1", "", "0,2", "ALL", "2.0", "²"])
def test_what_is_no_fold_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(RecipeError) as refused:
        fold_numbers(text, [0, 2, 10])
    assert str(refused.value) == f"--fold {text}: the folds are 0, 2, 10, or all"


def test_folds_are_named_by_their_section_and_weights_by_the_recipe() -> None:
    assert fold_file(None, RECIPE) == Path("folds/shared.csv")
    assert weights_folder(None, RECIPE) == Path("weights/mine")
    given = Path("elsewhere/x")
    assert fold_file(given, RECIPE) == weights_folder(given, RECIPE) == given
