"""A recipe's own Python files: beside the recipe, each named with its sha256 in the recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from melanoma.errors import RecipeError

Steps = Sequence[Mapping[str, Any]]
OWN = "own"  # the step of `augment` that names such a file


def read_own_files(steps: Steps, folder: Path) -> dict[str, bytes]:
    """The files that the steps name, by name. None of it is run.

    They lie in `folder`; of an evaluated run, whose recipe lies above its folds, in these.
    Raises RecipeError for a name that is a path, a file that is absent, or one whose sha256 is not
    the recipe's; the message has the sha256 that it is.
    """
    contents: dict[str, bytes] = {}
    for place, step in _own_steps(steps, "augment"):
        name, stated = step.get("file"), step.get("sha256")
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".py"):
            raise RecipeError(f"{place}.file: the name of a .py file beside the recipe")
        try:
            data = _beside(folder, name).read_bytes()
        except OSError as error:
            raise RecipeError(f"{place}.file: no {name} in {folder}") from error
        digest = hashlib.sha256(data).hexdigest()
        if stated is None:
            raise RecipeError(f"{place}.sha256: it is missing; write sha256: '{digest}'")
        if stated != digest:
            raise RecipeError(
                f"{place}.sha256: {name} has {digest}, the recipe says {stated}; a change that is "
                "meant is written into the recipe"
            )
        contents[name] = data
    return contents


def _beside(folder: Path, name: str) -> Path:
    kept = () if (folder / name).exists() else sorted(folder.glob("fold_*/recipe.yaml"))
    return next((one.with_name(name) for one in kept), folder / name)


def _own_steps(steps: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The own steps, those within one_of too, each with its field."""
    for number, step in enumerate(steps if isinstance(steps, list | tuple) else ()):
        for name, arguments in step.items() if isinstance(step, dict) else ():
            if not isinstance(arguments, dict):
                continue
            if name == OWN:
                yield f"{place}.{number}.{OWN}", arguments
            yield from _own_steps(arguments.get("of"), f"{place}.{number}.{name}.of")
