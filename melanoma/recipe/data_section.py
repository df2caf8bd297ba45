"""DataSection: what every reader's section of a recipe is, and the rules that several share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from melanoma.recipe.sections import Part
from melanoma.recipe.source_section import Source

# Columns of the fold file and of oof.csv that mean something of their own.
RESERVED = (
    *("image_name", "patient_id", "lesion_id", "age", "sex", "site", "source", "target", "label"),
    *("melanoma", "width", "height", "bytes", "group", "fold", "logit", "logit_best", "logit_last"),
    *("prob", "prob_crossfit", "part"),
)


class DataSection(Part):
    """What a recipe says of its images: `reader` names the layout, the rest is the reader's own.

    `card` is the model card's sentence of where such images come from, without its full stop.
    `later` are fields that came later, with the value that means what was before them. `phantoms`
    says that its images are drawings: what is trained on them says nothing of photographs.
    """

    card: ClassVar[str]
    phantoms: ClassVar[bool] = False
    later: ClassVar[tuple[tuple[str, Any], ...]] = ()
    reader: str
    """The layout of the table and the images."""
    sources: tuple[Source, ...] = ()
    """Other tables whose rows train as well, and are never held out."""

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """What is wrong with the section beside these classes, as a sentence."""
        return None


def two_classes_problem(data: DataSection, *, binary: bool) -> str | None:
    """What is wrong with a reader of two classes beside others, as a sentence."""
    if binary:
        return None
    return (
        f"classes: reader {data.reader} knows two, of which the second alone is melanoma; "
        "readers csv_folder and class_folders take any"
    )


def labels_problem(labels: dict[str, str] | None, classes: Sequence[str]) -> str | None:
    """What is wrong with labels that mean classes, as a sentence."""
    for value, name in (labels or {}).items():
        if name not in classes:
            known = ", ".join(classes)
            return f"data.labels: {value} means {name!r}, which is not among the classes ({known})"
    return None
