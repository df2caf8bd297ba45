"""The answer for one patient: each lesion's own score, and beside it where it stands.

Context only adds. Verdicts stay those of the single images; what is flagged by itself stays so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from melanoma.data.placeholders import known_id
from melanoma.evaluation.number_format import percent, share
from melanoma.evaluation.report.schema_patients import ContextStack
from melanoma.scoring.patient import FEWEST, PatientFeatures, lesion_features
from melanoma.scoring.patient_stack import context_logits, safe_logit
from melanoma.types import Floats

if TYPE_CHECKING:
    from melanoma.scoring.bundle.bundle import Bundle

EXPERIMENTAL = (
    "experimental: ranks and marks within a patient are not shown to find more melanomas; each "
    "lesion's own score and verdict stand as they are"
)
FEW = (
    f"fewer_than_{FEWEST}_lesions: with fewer than {FEWEST} distinct lesions there is nothing to "
    "compare; the single-image answers stand alone"
)


@dataclass(frozen=True)
class PatientLesion:
    """One lesion of the patient; `images` are the numbers of its photographs, from 0.

    `melanoma_probability` is the mean of theirs, `lowest` and `highest` the ends; `flagged` where
    the mean or any of them is. `rank_in_patient` is 1 for the highest, None where there are too few
    lesions to compare, as are `outlier` and `odds_of_others` (its odds over those of the others'
    median). `context_probability` is None without a context stack, and the lesion's own with too
    few lesions; `context_flags` where it alone reaches the threshold.
    """

    lesion_id: str | None
    images: tuple[int, ...]
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


@dataclass(frozen=True)
class PatientResult:
    """The patient's lesions, in the order of their first photographs, and what to know of them.

    `distinct` counts the lesions, copies of one photograph as one.
    """

    lesions: tuple[PatientLesion, ...]
    distinct: int
    notes: tuple[str, ...]


def missing_context(bundle: Bundle) -> str:
    """Why a bundle has no context stack; empty where it has one."""
    if bundle.context is not None:
        return ""
    stated = bundle.report.patients
    if stated is not None and stated.stack is not None:
        return "no context: the bundle was moved to another prevalence than its stack's"
    return stated.status if stated else "no context: this bundle was sealed without patients"


def answer_patient(
    probabilities: Sequence[float | None],
    flagged: Sequence[bool],
    *,
    threshold: float | None,
    stack: ContextStack | None = None,
    missing: str = "",
    lesion_ids: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
) -> PatientResult:
    """The result of a patient's photographs, in their order; None in `probabilities` where one has
    no score that counts. `lesion_ids` group photographs of one lesion, "" where each is its own;
    `missing` says why there is no `stack`."""
    scored = [number for number, value in enumerate(probabilities) if value is not None]
    # Two lesions that are both called unknown are two.
    lesion_ids = [known_id(one) for one in lesion_ids] if lesion_ids else None
    # And two sites that nobody knows are no common site, as in a table's column.
    sites = [known_id(one) for one in sites] if sites else None
    groups = _group(scored, lesion_ids)
    notes = [EXPERIMENTAL]
    if not groups:
        return PatientResult((), 0, tuple(notes))
    # Sorted: a mean is then the same number whatever the order of the files.
    of_each = [sorted(float(probabilities[n] or 0.0) for n in rows) for rows in groups]
    means = np.array([float(np.mean(values)) for values in of_each])
    where = (
        [next((sites[n] for n in sorted(rows) if sites[n]), "") for rows in groups]
        if sites
        else None
    )
    features = lesion_features(safe_logit(means), sites=where)
    if not features.comparable:
        notes.append(FEW)
    if missing:
        notes.append(missing)
    context = _context(stack, means, features)
    lesions = tuple(
        _lesion(
            (lesion_ids[rows[0]] or None) if lesion_ids else None,
            rows,
            of_each[number],
            features,
            number,
            flagged=any(flagged[n] for n in rows),
            context=None if context is None else float(context[number]),
            threshold=threshold,
        )
        for number, rows in enumerate(groups)
    )
    return PatientResult(lesions, features.others + 1, tuple(notes))


def _group(scored: Sequence[int], lesion_ids: Sequence[str] | None) -> list[tuple[int, ...]]:
    groups: dict[str, list[int]] = {}
    for number in scored:
        known = lesion_ids[number] if lesion_ids else ""
        groups.setdefault(f"lesion {known}" if known else f"image {number}", []).append(number)
    return [tuple(rows) for rows in groups.values()]


def _context(stack: ContextStack | None, means: Floats, features: PatientFeatures) -> Floats | None:
    if stack is None:
        return None
    if not features.comparable:
        return means
    trusted = {name: values * features.trust for name, values in features.values.items()}
    probabilities: Floats = expit(context_logits(stack, safe_logit(means), trusted))
    return probabilities


def _lesion(
    lesion_id: str | None,
    rows: tuple[int, ...],
    values: Sequence[float],
    features: PatientFeatures,
    number: int,
    *,
    flagged: bool,
    context: float | None,
    threshold: float | None,
) -> PatientLesion:
    mean = float(np.mean(values))
    own = flagged or (threshold is not None and mean >= threshold)
    lifted = not own and threshold is not None and context is not None and context >= threshold
    compared = features.comparable
    odds = float(np.exp(features.values["above_median"][number])) if compared else None
    marked = bool(features.outlier[number]) if compared else None
    rank = int(features.rank[number]) if compared else None
    sentences = [f"Rank {rank} of {features.others + 1} in this patient." if compared else FEW]
    if len(values) > 1:
        ends = f"{percent(values[0])} to {percent(values[-1])}"
        sentences.append(f"The mean of {len(values)} photographs, which range from {ends}.")
    if marked and odds is not None:
        sentences.append(
            f"It stands out: its odds of melanoma are {odds:,.0f} times the middle of the "
            "patient's other lesions. Have a doctor look at it."
        )
    if lifted and context is not None:
        sentences.append(
            f"With the other lesions in view its probability is {share(context)}, which reaches "
            "the threshold. Have a doctor look at it."
        )
    return PatientLesion(
        lesion_id=lesion_id,
        images=rows,
        melanoma_probability=mean,
        lowest=values[0],
        highest=values[-1],
        flagged=own,
        rank_in_patient=rank,
        outlier=marked,
        odds_of_others=odds,
        context_probability=context,
        context_flags=lifted,
        text=" ".join(sentences),
    )
