"""One of the models of a literal dict, as the type of a pydantic field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class AnyOf:
    """Annotated[Base, AnyOf(models, by="kind")]: any of the models, told apart by their `kind`.

    `models` is asked when the schema is built, so that the dict which lists them is the one place.
    """

    def __init__(self, models: Callable[[], Iterable[type[BaseModel]]], *, by: str) -> None:
        self.models, self.by = models, by

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        union: Any = reduce(or_, self.models())
        return handler.generate_schema(Annotated[union, Field(discriminator=self.by)])
