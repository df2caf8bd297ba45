"""One of a dict's models as the type of a field: they are told apart by their kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from melanoma.recipe.any_of import AnyOf


class Shape(BaseModel):
    kind: str


class Square(Shape):
    kind: Literal["square"]
    side: float


class Circle(Shape):
    kind: Literal["circle"]
    radius: float


class Triangle(Shape):
    kind: Literal["triangle"]
    sides: tuple[float, float, float]


def adapter(*models: type[Shape]) -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[Shape, AnyOf(lambda: models, by="kind")])


@pytest.mark.parametrize(
    ("values", "model"),
    [({"kind": "square", "side": 2}, Square), ({"kind": "circle", "radius": 3}, Circle)],
)
def test_a_value_is_of_the_model_that_its_kind_names(
    values: dict[str, Any], model: type[Shape]
) -> None:
    found = adapter(Square, Circle).validate_python(values)
    assert type(found) is model, "and not of the base, which would lose its fields"
    assert found.model_dump() == values


def test_an_unknown_kind_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValidationError, match=r"'triangle'.*'square', 'circle'"):
        adapter(Square, Circle).validate_python({"kind": "triangle", "sides": [1, 1, 1]})


def test_a_fault_is_the_named_model_s_own_alone() -> None:
    with pytest.raises(ValidationError) as caught:
        adapter(Square, Circle).validate_python({"kind": "circle", "side": 1})
    [fault] = caught.value.errors()
    assert fault["loc"] == ("circle", "radius")


def test_a_model_that_is_listed_later_is_known_once_a_schema_is_built() -> None:
    listed: dict[str, type[Shape]] = {"square": Square, "circle": Circle}
    kind = AnyOf(listed.values, by="kind")
    listed["triangle"] = Triangle
    found: TypeAdapter[Any] = TypeAdapter(Annotated[Shape, kind])
    values = {"kind": "triangle", "sides": [3, 4, 5]}
    assert isinstance(found.validate_python(values), Triangle)
    mapping = found.json_schema()["discriminator"]["mapping"]
    assert set(mapping) == set(listed)
