"""What every section of a recipe refuses, whatever its fields are."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from melanoma.recipe.part import ClassName, Count, Part, Positive, Share


class Toy(Part):
    """A section."""

    share: Share = 0.5
    rate: Positive = 1.0
    count: Count = 1
    name: ClassName = "nevus"
    """What it is called."""


REFUSED: dict[str, tuple[Any, ...]] = {
    "share": (-0.01, 1.01, float("nan")),
    "rate": (0.0, -1.0, float("inf"), float("nan")),
    "count": (0, -1, 1.5),
    "name": ("", "   "),
    "shar": (0.5,),
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_value_out_of_its_range_and_an_unknown_key_are_refused(field: str) -> None:
    for value in REFUSED[field]:
        with pytest.raises(ValidationError) as refused:
            Toy.model_validate({field: value})
        assert refused.value.errors()[0]["loc"] == (field,)


def test_the_ends_of_a_range_are_in_it() -> None:
    for share in (0.0, 1.0):
        assert Toy(share=share, rate=1e-300, count=1).share == share


def test_a_class_has_no_space_at_its_ends() -> None:
    assert Toy(name=" nævus \t").name == "nævus"


def test_a_section_stays_as_it_was_read() -> None:
    toy = Toy()
    with pytest.raises(ValidationError):
        toy.share = 0.25
    assert toy.share == 0.5


def test_the_line_below_a_field_is_its_description() -> None:
    properties = Toy.model_json_schema()["properties"]
    assert properties["name"]["description"] == "What it is called."
