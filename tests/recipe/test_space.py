"""A sweep's space: ranges and choices of a recipe's fields, every bad one refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.space import Range, as_overrides, load_space


@pytest.fixture
def space_of(tiny_recipe: Callable[..., Path], tmp_path: Path) -> Callable[[str], object]:
    """load_space of a text, on a small recipe."""
    recipe = tiny_recipe()

    def load(text: str) -> object:
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return load_space(path, recipe)

    return load


def test_ranges_and_choices_are_read_and_become_options(
    tiny_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe, path = tiny_recipe(), tmp_path / "space.yaml"
    path.write_text(
        "trials: 7\nspace:\n"
        "  optimizer.rate: {low: 1.0e-5, high: 1.0e-2, log: true}\n"
        "  training.epochs: {low: 2, high: 4}\n"
        "  loss.name: [bce, focal]\n"
        "  augment: [[], [{flip_horizontal: {}}]]\n"
    )
    space = load_space(path, recipe)
    assert space.trials == 7
    rate, epochs = space.space["optimizer.rate"], space.space["training.epochs"]
    assert isinstance(rate, Range)
    assert isinstance(epochs, Range)
    assert (rate.log, rate.whole, epochs.whole) == (True, False, True)
    assert space.digest == space.model_copy(update={"trials": 9}).digest
    given = as_overrides({"loss.name": "focal", "training.epochs": 3, "optimizer.rate": 0.002})
    made = load_recipe(recipe, given)
    assert (made.loss.name, made.training.epochs, made.optimizer.rate) == ("focal", 3, 0.002)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("space: {optimizer.rat: [1]}", "optimizer.rat: unknown key; did you mean rate"),
        ("space: {model.dropout: {low: 0.0, high: 2.0}}", "model.dropout"),
        ("space: {model.dropout: {low: 0.5, high: 0.1}}", "low must be below high"),
        ("space: {optimizer.rate: {low: 0, high: 1, log: true}}", "log needs low above 0"),
        ("space: {folds.k: [3, 5]}", "folds.k is not searched"),
        ("space: {image.size: [64]}", "image.size is not searched"),
        ("space: {seed: [1, 2]}", "seed is not searched"),
        ("space: {}", "space"),
        ("trials: 0\nspace: {loss.name: [bce]}", "trials"),
        ("space: {loss.name: []}", "loss.name"),
        ("more: 1\nspace: {loss.name: [bce]}", "more"),
        ("- 1", "space.yaml"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    text: str, reason: str, space_of: Callable[[str], object]
) -> None:
    with pytest.raises(RecipeError) as refused:
        space_of(text)
    assert reason in str(refused.value)


def test_an_absent_space_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no search space at"):
        load_space(tmp_path / "none.yaml", tmp_path / "none.yaml")


def test_a_step_below_one_is_no_step_of_whole_numbers() -> None:
    assert Range(low=0, high=8, step=2).whole
    assert not Range(low=0, high=1, step=0.25).whole
