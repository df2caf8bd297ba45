"""What POST /predict/patient answers, as the OpenAPI page tells it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from api.responses import (
    ItemAnswer,
    ItemRefusal,
    MeasuredAnswer,
    ModelAnswer,
    _Request,
    _Succeeded,
)


class PatientItemAnswer(ItemAnswer):
    """One photograph's own score, and beside it where its lesion stands in the patient.

    `lesion` is its place in `lesions`; null, as is what follows, where the photograph is none that
    can be scored.
    """

    lesion: int | None
    rank_in_patient: int | None
    outlier: bool | None
    context_probability: float | None


class PatientLesionAnswer(BaseModel):
    """One lesion. `images` are its photographs' indexes, `melanoma_probability` the mean of theirs
    from `lowest` to `highest`; `flagged` where the mean or any photograph is.

    `rank_in_patient` is 1 for the highest; it, `outlier` and `odds_of_others` (the lesion's odds
    over those of the others' median) are null with fewer than three distinct lesions.
    `context_probability` is null without a context stack, and the lesion's own with fewer than
    three; `context_flags` where it alone reaches the threshold. It never takes a flag away.
    """

    lesion_id: str | None
    images: list[int]
    melanoma_probability: float
    lowest: float
    highest: float
    flagged: bool
    rank_in_patient: int | None
    outlier: bool | None
    odds_of_others: float | None
    context_probability: float | None
    context_flags: bool
    text: str


class ContextAnswer(BaseModel):
    """The bundle's context stack: what it was fitted on, and the change of the AUROC that it made
    on withheld patients there."""

    origin: str
    patients: int
    lesions: int
    melanomas: int
    auroc_difference: MeasuredAnswer


class PatientAnswer(_Request, _Succeeded):
    """A result for each photograph, in the order in which they were sent, and each lesion's.

    `context` is null where the bundle has no stack; `notes` say why, and what else to know.
    """

    experimental: Literal[True] = True
    results: list[PatientItemAnswer | ItemRefusal]
    lesions: list[PatientLesionAnswer]
    distinct_lesions: int
    notes: list[str]
    context: ContextAnswer | None
    model: ModelAnswer
