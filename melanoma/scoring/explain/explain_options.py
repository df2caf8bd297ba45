"""What may be asked of an explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["Low", "Medium", "High"]
# Evaluations of the classifier, the untouched image among them.
PRECISIONS: dict[str, int] = {"Low": 50, "Medium": 200, "High": 1000}


def as_precision(text: object) -> object:
    """The precision that is meant, whatever its case; what is none stays as it is."""
    return text.capitalize() if isinstance(text, str) and text.capitalize() in PRECISIONS else text


@dataclass(frozen=True)
class Question:
    """How to explain, `method` being a name in EXPLAINERS; `target` is a class, None the
    predicted one. A method reads those of the others that its entry names."""

    method: str
    precision: str = "Medium"
    target: str | None = None
    seed: int = 0
