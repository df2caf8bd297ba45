"""POST /predict/patient: several photographs of one patient, scored together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from api.dependencies import SCORING, Guarded, TheScorer, TheService, TheThreshold, log_answer
from api.error_answers import Refusal, request_id_of
from api.openapi import PATIENT_BODY
from api.patient_upload import PatientUpload, read_patient
from api.responses import ItemRefusal, ModelAnswer
from api.responses_patient import (
    ContextAnswer,
    PatientAnswer,
    PatientItemAnswer,
    PatientLesionAnswer,
)
from api.routes_predict import answer_item, score_uploads
from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.evaluation.report.schema_patients import ContextStack
from melanoma.scoring.patient_answer import PatientResult, answer_patient, missing_context
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer

router = APIRouter(dependencies=[Guarded])
_NO_MELANOMA = "this bundle names no melanoma class: a patient's lesions cannot be ranked by it"


@router.post("/predict/patient", responses=SCORING, openapi_extra=PATIENT_BODY)
async def predict_patient(
    request: Request, service: TheService, scorer: TheScorer, threshold: TheThreshold
) -> PatientAnswer:
    """Each photograph's own score, and where its lesion stands among the patient's (experimental).

    Verdicts are those of the single images: context never takes a flag away.
    """
    start = time.perf_counter()
    if not scorer.bundle.melanoma:
        raise Refusal("invalid_field", _NO_MELANOMA)
    service.readiness.require(scorer)
    service.batcher.require_room()
    upload = await read_patient(request)
    readable = [data for data in upload.photographs if isinstance(data, bytes)]
    outcomes = await score_uploads(request, service, scorer, upload.photographs, threshold)
    result = _compare(scorer, upload, outcomes, threshold)
    seconds = time.perf_counter() - start
    await log_answer(request, f"{len(outcomes)} photographs of a patient", readable, seconds)
    notes = [*result.notes]
    if upload.unused:
        unused = " and ".join(upload.unused)
        notes.append(f"not_used: {unused}; the model sees photographs alone")
    stack = scorer.bundle.context
    return PatientAnswer(
        results=[_item(index, outcome, result) for index, outcome in enumerate(outcomes)],
        lesions=[PatientLesionAnswer(**asdict(lesion)) for lesion in result.lesions],
        distinct_lesions=result.distinct,
        notes=notes,
        context=None if stack is None else ContextAnswer.model_validate(_describe(stack)),
        model=ModelAnswer(**asdict(scorer.info())),
        request_id=request_id_of(request),
        milliseconds=round(1000 * seconds, 1),
        disclaimer=DISCLAIMER,
    )


def _compare(
    scorer: Scorer,
    upload: PatientUpload,
    outcomes: Sequence[Prediction | Refusal],
    threshold: float | None,
) -> PatientResult:
    bundle = scorer.bundle
    if threshold is None:
        flagging = scorer.threshold if scorer.threshold is not None else bundle.thresholds[0].value
    else:
        flagging = threshold
    return answer_patient(
        [comparable_probability(one) for one in outcomes],
        [isinstance(one, Prediction) and bool(one.flagged) for one in outcomes],
        threshold=flagging,
        stack=bundle.context,
        missing=missing_context(bundle),
        lesion_ids=upload.lesion_ids,
        sites=upload.sites,
    )


def comparable_probability(outcome: Prediction | Refusal) -> float | None:
    """What a photograph's lesion is compared by; None without a score that counts."""
    if isinstance(outcome, Refusal):
        return None
    if outcome.verdict is not None and outcome.verdict.code == "unscorable":
        return None
    return outcome.melanoma_probability


def _item(
    index: int, outcome: Prediction | Refusal, result: PatientResult
) -> PatientItemAnswer | ItemRefusal:
    item = answer_item(index, outcome)
    if isinstance(item, ItemRefusal):
        return item
    number = next((n for n, one in enumerate(result.lesions) if index in one.images), None)
    lesion = None if number is None else result.lesions[number]
    return PatientItemAnswer(
        **item.model_dump(),
        lesion=number,
        rank_in_patient=lesion.rank_in_patient if lesion else None,
        outlier=lesion.outlier if lesion else None,
        context_probability=lesion.context_probability if lesion else None,
    )


def _describe(stack: ContextStack) -> dict[str, Any]:
    return {
        "origin": stack.origin,
        "patients": stack.patients,
        "lesions": stack.lesions,
        "melanomas": stack.melanomas,
        "auroc_difference": stack.gain.auroc_difference.model_dump(),
    }
