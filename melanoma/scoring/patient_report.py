"""A report's part about patients: a context stack fitted on it, or a sealed one tested."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from melanoma.evaluation.report.build import Report
from melanoma.evaluation.report.schema_patients import ContextStack, PatientContext
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.scoring.patient_stack import (
    PatientTable,
    apply_stack,
    fit_context,
    make_patient_table,
    measure_gain,
)
from melanoma.types import Floats

NO_PATIENTS = "no context: the table names no patients"


def add_context(report: Report, *, resamples: int, seed: int) -> Report:
    """The report of held-out images with what the patients' other lesions add to them."""
    images, content = report.images, report.content
    if not images.melanoma:
        return report
    table = patient_table(images)
    if table is None:
        context = PatientContext(status=NO_PATIENTS)
    else:
        origin = f"the held-out images of {content.recipe}"
        context = fit_context(table, origin=origin, resamples=resamples, seed=seed)
    return replace(report, content=content.model_copy(update={"patients": context}))


def check_context(
    images: ScoredImages, stack: ContextStack | None, *, resamples: int, seed: int
) -> PatientContext | None:
    """What a sealed stack adds on a labeled set, nothing fitted; None without patients in it."""
    table = patient_table(images) if images.melanoma else None
    if table is None:
        return None
    if stack is None:
        return PatientContext(status="no context: the bundle has none")
    if refusal := table.refusal:
        return PatientContext(status=f"context not tested: {refusal}")
    gain = measure_gain(table, apply_stack(stack, table), resamples=resamples, seed=seed)
    return PatientContext(status=f"context of {stack.origin}, nothing refitted", gain=gain)


def patient_table(images: ScoredImages, embeddings: Floats | None = None) -> PatientTable | None:
    """The lesions of the table's patients; None where it names none. `embeddings` (N, D) are the
    images', a lesion's their mean."""
    lesions = images.lesions
    if not len(lesions.row):
        return None
    sites = None
    if "site" in images.table:
        sites = images.table["site"].fillna("").astype(str).to_numpy()[lesions.row].tolist()
    means = None
    if embeddings is not None:
        owned = np.flatnonzero(lesions.lesion >= 0)
        means = np.zeros((len(lesions.row), embeddings.shape[1]))
        np.add.at(means, lesions.lesion[owned], embeddings[owned])
    return make_patient_table(
        patient=lesions.patient,
        groups=images.groups[lesions.row],
        positive=lesions.positive,
        probability=lesions.score,
        embeddings=means,
        sites=sites,
    )
