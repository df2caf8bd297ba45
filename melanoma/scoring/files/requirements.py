"""What must hold before a file is scored: options and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melanoma.errors import RecipeError
from melanoma.evaluation.asked_prevalence import require_asked

if TYPE_CHECKING:
    from melanoma.scoring.files.find import ImageFile


def require_meant(
    views: int | None,
    threshold: float | None,
    prevalence: float | None,
    channels: str | None,
    patient_col: str | None,
) -> None:
    """Raises RecipeError for an option whose value cannot be meant."""
    if channels not in (None, "rgb", "bgr"):
        raise RecipeError(f"--array-channels {channels}: rgb or bgr")
    if views is not None and views not in (1, 2, 4, 8):
        raise RecipeError(f"--views {views}: 1, 2, 4 or 8")
    if threshold is not None and not 0 <= threshold <= 1:
        raise RecipeError(f"--threshold {threshold:g}: a probability from 0 to 1, such as 0.5")
    if prevalence is not None:
        require_asked(prevalence)
    if patient_col and prevalence is not None:
        raise RecipeError("--patient-col compares lesions as the bundle scores: no --prevalence")


def refuse_given(context: Any, names: Sequence[str], why: str) -> None:
    """Raise RecipeError for one of the options `names` (of a typer.Context) that was given."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise RecipeError(f"{parameter.opts[0]} means nothing {why}; leave one out")


def require_outputs(
    outputs: Sequence[Path], files: Sequence[ImageFile], inputs: Sequence[Path | None]
) -> None:
    """Raises where an output cannot be written in the end, would replace what is read, or another
    output."""
    from melanoma.scoring.files.array_rows import own_table
    from melanoma.storage import require_writable

    tables = {own_table(file.path) for file in files if file.square}  # of an array's rows
    read = {path.resolve() for path in (*inputs, *tables, *(f.path for f in files)) if path}
    written: set[Path] = set()
    for path in outputs:
        if path.resolve() in read:
            raise RecipeError(f"{path} is read here; name another file to write")
        if path.resolve() in written:
            raise RecipeError(f"{path} would be written twice; name another file for one of both")
        written.add(path.resolve())
        require_writable(path)
