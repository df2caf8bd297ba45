"""The data section of what the ISIC Archive exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import field_validator

from melanoma.recipe.data_section import DataSection, labels_problem, two_classes_problem
from melanoma.recipe.plain_text import as_text
from melanoma.recipe.sections import ClassName


class IsicData(DataSection):
    """The ISIC Archive's export: a table with isic_id and diagnosis_1 to diagnosis_5, and images.

    Without `diagnosis_col` an image is of melanoma where one of the diagnoses says so.
    """

    card = "An export of the ISIC Archive, its table and images (reader isic)"
    reader: Literal["isic"]
    """The ISIC Archive's export."""
    table: str = "metadata.csv"
    """File name of the CSV."""
    images: str = ""
    """Folder of the images below the data folder; the whole of it when absent."""
    diagnosis_col: str | None = None
    """Column whose values are the classes, such as diagnosis_3; none: melanoma against the rest."""
    labels: dict[str, ClassName] | None = None
    """What each value of `diagnosis_col` means: value -> class."""
    undiagnosed: Literal["refuse", "leave_out"] = "refuse"
    """Rows without a diagnosis, or an indeterminate one: a fault, or left out and counted."""
    image_types: tuple[str, ...] = ()
    """Types of images to keep, such as dermoscopic; others are left out and counted."""

    @field_validator("labels", mode="before")
    @classmethod
    def _cells_are_text(cls, labels: Any) -> Any:
        return as_text(labels)

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """Without a column of classes there are two."""
        if self.diagnosis_col is None:
            if self.labels is not None:
                return "data.labels: it says what the values of data.diagnosis_col mean; name that"
            return two_classes_problem(self, binary=binary)
        return labels_problem(self.labels, classes)
