"""What two recipes differ in: a line for each value, by the names of what has one."""

from __future__ import annotations

from typing import Any

import pytest

from melanoma.recipe.differences import differences
from tests.support.recipes import recipe


def with_sources(*sources: dict[str, Any]) -> dict[str, Any]:
    """The identity of a recipe with these sources."""
    full = [{"data": {"reader": "csv_folder"}, **source} for source in sources]
    return recipe(data={"reader": "csv_folder", "sources": full}).identity()


def test_differences_are_leaves_with_both_values() -> None:
    ours, theirs = recipe(seed=1, optimizer={"rate": 0.01}), recipe(augment=[{"transpose": {}}])
    assert differences(ours.identity(), theirs.identity()) == [
        "augment: [{'transpose': {}}] -> []",
        "optimizer.rate: 0.0001 -> 0.01",
        "seed: 0 -> 1",
    ]
    assert differences(ours.identity(), ours.identity()) == []
    assert differences({"a": 1}, {"b": {"c": 2}}) == ["a: None -> 1", "b: {'c': 2} -> None"]


def test_sources_are_told_by_name_and_value_not_as_two_whole_lists() -> None:
    ours = with_sources({"name": "a", "weight": 0.5}, {"name": "b"}, {"name": "c"})
    assert differences(ours, with_sources({"name": "a"}, {"name": "b"})) == [
        "data.sources: a, b -> a, b, c",
        "data.sources.a.weight: 1.0 -> 0.5",
    ]
    assert differences(ours, with_sources()) == ["data.sources: none -> a, b, c"]
    assert differences(with_sources(), ours) == ["data.sources: a, b, c -> none"]
    assert differences(ours, ours) == []


def test_another_order_of_the_same_sources_is_a_difference() -> None:
    one, other = {"name": "a"}, {"name": "b"}
    told = differences(with_sources(one, other), with_sources(other, one))
    assert told == ["data.sources: b, a -> a, b"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([{"name": "a", "x": 1}, {"name": "a", "x": 2}], [{"name": "a", "x": 2}]),
        ([{"name": "a", "x": 1}], [{"x": 2}]),
        ([{"name": "a", "x": 1}], ["a"]),
        ([{"name": 1}], [{"name": 2}]),
        ([{"name": "a"}], 3),
        ([], None),
    ],
    ids=["one name twice", "no name", "words", "a number for a name", "no list", "empty"],
)
def test_lists_without_a_name_for_each_item_are_told_whole(ours: Any, theirs: Any) -> None:
    assert differences({"k": ours}, {"k": theirs}) == [f"k: {theirs} -> {ours}"]
