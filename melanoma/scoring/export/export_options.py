"""What may be asked of an export. Nothing here imports torch, so that --help need not wait."""

from __future__ import annotations

from dataclasses import dataclass

from melanoma.errors import RecipeError

# A probability may differ by so much from the bundle's own, or nothing is written.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class ExportOptions:
    """`views`: symmetries that the graph averages, the bundle's own where None. `license`: the
    identifier that a Hugging Face card states, read from LICENSE.md where None.

    Raises RecipeError for views that are not 1 to 8.
    """

    views: int | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        if self.views is not None and not 1 <= self.views <= 8:
            raise RecipeError(f"--views {self.views}: 1 to 8 symmetries of a square")
