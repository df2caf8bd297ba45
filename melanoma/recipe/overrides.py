"""From a YAML file and --set a.b=value to a Recipe, every bad field named in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from melanoma.errors import RecipeError, suggest
from melanoma.recipe.data_sections import READERS
from melanoma.recipe.own_files import read_own_files
from melanoma.recipe.plain_text import read_yaml
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import (
    Evaluation,
    Folds,
    Head,
    Image,
    Loss,
    Model,
    Optimizer,
    Part,
    Sampler,
    Scaling,
    Schedule,
    Selection,
    Stage,
    StageOptimizer,
    Training,
)
from melanoma.recipe.source_section import SoftTarget, Source
from melanoma.recipe.training_options import Auxiliary, Mix
from melanoma.storage import read_text

# A long one has a few thousand; the reader takes a second for 100,000.
_LONGEST_TEXT = 200_000


def load_recipe(path: Path, overrides: tuple[str, ...] = (), *, seed: int | None = None) -> Recipe:
    """The recipe in `path`, with `a.b=value` overrides applied in their order.

    Raises RecipeError naming the field, with a suggestion for a misspelled one.
    """
    values = read_values(path, overrides)
    if seed is not None:
        values["seed"] = seed
    recipe = make_recipe(values, origin=str(path))
    return recipe.with_own_files(read_own_files(recipe.augment, path.parent))


def read_values(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values in `path` with the overrides, as plain as they stand there. Raises RecipeError."""
    try:
        text = read_text(path)
        if len(text) > _LONGEST_TEXT:
            raise RecipeError(f"{path} is no recipe: it has {len(text):,} characters")
        values: Any = read_yaml(text)
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.name for p in path.parent.glob("*.yaml"))) or "none"
        raise RecipeError(f"no recipe at {path} (in that folder: {known})") from error
    except OSError as error:
        raise RecipeError(f"no recipe at {path}: {error.strerror}") from error
    except RecursionError as error:
        raise RecipeError(f"{path} is no recipe: it is nested too deeply") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds no recipe: a mapping of sections was expected")
    values.setdefault("name", path.stem)
    for override in overrides:
        _apply_override(values, override)
    return dict(values)


def make_recipe(values: dict[str, Any], *, origin: str = "recipe") -> Recipe:
    """A Recipe from plain values. Raises RecipeError naming every bad field in one line."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        faults = dict.fromkeys(_explain(e) for e in error.errors())
        raise RecipeError(f"{origin}: {'; '.join(faults)}") from None
    switches = _booleans(values)
    if switches:
        raise RecipeError(f"{origin}: {', '.join(switches)}: true or false cannot be meant here")
    return recipe


def _apply_override(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise RecipeError(f"--set {override}: expected a.b=value")
    *sections, leaf = path.split(".")
    node: Any = values
    for section in sections:
        node = _item(node, section, override) if isinstance(node, list) else _part(node, section)
        if not isinstance(node, dict | list):
            raise RecipeError(f"--set {override}: {section} is a value, not a section")
    try:
        # An item's number is no part of its list's name.
        value = read_yaml(text, below=re.sub(r"\.\d+(?=\.|$)", "", path))
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: {text!r} is not a YAML value") from error
    if isinstance(node, list):
        _item(node, leaf, override)
        node[int(leaf)] = value
    else:
        node[leaf] = value


def _part(node: dict[str, Any], section: str) -> Any:
    if node.get(section) is None:  # `model:` with nothing below it, too
        node[section] = {}
    return node[section]


def _item(items: list[Any], number: str, override: str) -> Any:
    if not number.isdecimal() or int(number) >= len(items):
        raise RecipeError(
            f"--set {override}: {number} is no item of that list (0 to {len(items) - 1})"
        )
    return items[int(number)]


_SWITCHES = (
    *("freeze_backbone", "frozen", "bfloat16_weights", "compile", "cuda_graphs", "checkpointing"),
    "held_out",
)


def _booleans(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields given as true or false that are no switches: pydantic would read YAML's yes as 1."""
    fields: list[str] = []
    for key, value in values.items():
        if isinstance(value, bool) and key not in _SWITCHES:
            fields.append(f"{prefix}{key}")
        elif isinstance(value, dict):
            fields += _booleans(value, f"{prefix}{key}.")
        elif key in ("stages", "sources") and isinstance(value, list):
            for number, part in enumerate(value):
                where = f"{prefix}{key}.{number}."
                fields += _booleans(part, where) if isinstance(part, dict) else []
    return fields


def _explain(error: Any) -> str:
    # pydantic puts the union's tag ("siim") into the path; a person never wrote it there.
    parts = error["loc"]
    tagged = {n + 1 for n, p in enumerate(parts) if p == "normalize"}  # by a kind of its value
    location = [str(p) for n, p in enumerate(parts) if p not in READERS and n not in tagged]
    field = ".".join(location)
    if error["type"] == "union_tag_invalid" and location == ["data"]:
        name = error["ctx"]["tag"]
        return f"data.reader: unknown {name!r}; {suggest(name, READERS)}"
    if error["type"] != "extra_forbidden":
        # Nor the alternatives of a union ("literal['auto']", "constrained-int").
        field = ".".join(p for p in location if re.fullmatch(r"\w+", p))
        message = error["msg"].removeprefix("Value error, ")
        received = f" (got {error['input']!r})" if not isinstance(error["input"], dict) else ""
        return f"{field}: {message}{received}" if field else message
    close = difflib.get_close_matches(location[-1], _known_keys(error["loc"][:-1]), n=1)
    known = ", ".join(_known_keys(error["loc"][:-1]))
    hint = f"did you mean {close[0]}?" if close else f"known: {known}"
    return f"{field}: unknown key; {hint}"


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    sections: dict[str, type[Part]] = {
        "image": Image,
        "values": Scaling,
        "folds": Folds,
        "model": Model,
        "loss": Loss,
        "sampler": Sampler,
        "optimizer": Optimizer,
        "schedule": Schedule,
        "head": Head,
        "auxiliary": Auxiliary,
        "mix": Mix,
        "training": Training,
        "selection": Selection,
        "soft_target": SoftTarget,
        "evaluation": Evaluation,
        **READERS,
    }
    if location[:1] == ("stages",):
        sections = {"optimizer": StageOptimizer, "schedule": Schedule}
        owner = sections.get(str(location[-1]), Stage)
    elif location[-2:-1] == ("sources",):
        owner = Source
    else:
        owner = sections.get(str(location[-1]), Recipe) if location else Recipe
    return list(owner.model_fields)
