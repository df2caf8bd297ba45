"""A sweep's space: which fields of a recipe are searched, and between what; one plain YAML file.

trials: 20
space:
  optimizer.rate: {low: 1.0e-5, high: 1.0e-2, log: true}
  training.epochs: {low: 5, high: 10}     # whole numbers, since both ends are
  model.dropout: {low: 0.0, high: 0.5, step: 0.1}
  loss.name: [bce, focal]
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import load_recipe
from melanoma.storage import digest_of, read_text

TrialSettings = dict[str, Any]
# They decide who is held out, which array is read, or nothing: no setting of a search.
_REFUSED = (
    *("name", "version", "classes", "melanoma", "risk", "seed", "selection.metric"),
    *("data.", "folds.", "image.size", "image.fit", "study.", "evaluation."),
)


class Range(BaseModel):
    """From `low` to `high`, both included; whole numbers where both and `step` are. `log` draws
    magnitudes. Steps are counted from `low`: where they pass `high` by, the last one is below."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int | float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _can_be_meant(self) -> Range:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0, and no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is of whole numbers."""
        ends = isinstance(self.low, int) and isinstance(self.high, int)
        return ends and float(self.step or 1).is_integer()

    @property
    def last(self) -> float:
        """`high`, or the last step below it."""
        return self.high if self.step is None else self._at(self._steps())

    def values(self) -> list[float]:
        """Those that `step` allows; none without one."""
        return [] if self.step is None else [self._at(n) for n in range(self._steps() + 1)]

    def _at(self, number: int) -> float:
        return float(Decimal(str(self.low)) + number * Decimal(str(self.step)))

    def _steps(self) -> int:
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) // Decimal(str(self.step)))


Choices = Annotated[list[Any], Field(min_length=1)]


class Space(BaseModel):
    """The fields that are searched, as --set names them, and how many settings are tried."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: Annotated[int, Field(ge=1)] = 20
    space: Annotated[dict[str, Range | Choices], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """sha256 of the fields and their ends; the number of trials is no part of it."""
        return digest_of(self.model_dump(mode="json", exclude={"trials"}))


def load_space(path: Path, config: Path, overrides: tuple[str, ...] = ()) -> Space:
    """The space in `path`, each of its fields tried on the recipe in `config` with the overrides.

    Raises RecipeError for what is no space, a field that no sweep may change, or a value that the
    recipe refuses.
    """
    try:
        values = yaml.safe_load(read_text(path))
        space = Space.model_validate(values)
    except FileNotFoundError as error:
        raise RecipeError(f"no search space at {path}") from error
    except OSError as error:
        raise RecipeError(f"no search space at {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error)}") from None
    for name, values in space.space.items():
        if name.startswith(_REFUSED):
            raise RecipeError(f"{path}: {name} is not searched: it decides what is compared")
        ends = [values.low, values.high] if isinstance(values, Range) else values
        for value in ends:
            load_recipe(config, (*overrides, *as_overrides({name: value})))
    return space


def as_overrides(settings: TrialSettings) -> tuple[str, ...]:
    """The settings as --set takes them."""
    return tuple(f"{name}={json.dumps(value)}" for name, value in settings.items())


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if str(part) not in ("Range", "list[any]"))
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
