"""From a request to one patient's photographs, and what is said of each and of the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from api.aside import run_aside
from api.error_answers import Refusal
from api.json_texts import lift_texts
from api.requests import ALLOWED, MOST_OF_A_PATIENT, PatientRequest, parse_body, parse_patient
from api.uploads import BATCH, kind_of, open_form, read_body, read_files, without_name

_LISTS = ("site", "lesion_id")  # of the form: one field a photograph, in their order
PATIENT = replace(
    BATCH,
    files=MOST_OF_A_PATIENT,
    fields=len(_LISTS) * MOST_OF_A_PATIENT + 2,
    too_many=f"send 2 to {MOST_OF_A_PATIENT} photographs of one patient in a request",
    missing=f"send 2 to {MOST_OF_A_PATIENT} photographs of one patient as multipart form fields "
    '`files`, one each, or as JSON {"images": ["<base64>", ...]} with Content-Type: '
    "application/json; /predict takes a single one",
)


@dataclass(frozen=True)
class PatientUpload:
    """Photographs in their order, a Refusal in the place of each that is not base64; `sites` and
    `lesion_ids` of each, "" where unknown, None where none are given."""

    photographs: list[bytes | Refusal]
    sites: list[str] | None
    lesion_ids: list[str] | None
    unused: tuple[str, ...]  # age, sex: what was said and no number depends on


async def read_patient(request: Request) -> PatientUpload:
    """What the request holds. Raises Refusal when there are not 2 to 64 photographs, or a site or
    lesion_id for some of them alone."""
    kind = kind_of(request)
    if kind == "multipart/form-data":
        async with open_form(request, PATIENT) as form:
            return await _of_form(form)
    if kind == "application/json":
        body = await read_body(request, PATIENT)
        return await run_aside(_of_json, body)
    raise Refusal("missing_file", PATIENT.missing)


async def _of_form(form: FormData) -> PatientUpload:
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    if any(name in ("file", "files") for name, _ in texts):
        raise Refusal("missing_file", without_name("files"))
    values: dict[str, object] = {}
    for name, value in texts:
        if name in _LISTS:
            values[name] = [*form.getlist(name)]
        elif name in values:
            raise Refusal("invalid_field", f"{name}: {ALLOWED.get(name, 'send it once')}")
        else:
            values[name] = value
    if {name for name, value in form.multi_items() if isinstance(value, UploadFile)} - {
        "file",
        "files",
    }:
        raise Refusal("unknown_field", "the form has files in other fields than `files`")
    asked = parse_patient(values)
    return _checked([*await read_files(files)], asked)


def _of_json(body: bytes) -> PatientUpload:
    lifted = lift_texts(body)
    asked = parse_body(lifted.rest, PatientRequest, missing=PATIENT.missing)
    _require_count(asked.images)
    return _checked([lifted.decode(image) for image in asked.images], asked)


def _checked(photographs: list[bytes | Refusal], asked: PatientRequest) -> PatientUpload:
    _require_count(photographs)
    for name in _LISTS:
        values = getattr(asked, name)
        if values is not None and len(values) != len(photographs):
            raise Refusal("invalid_field", f"{name}: {ALLOWED[name]}")
    unused = tuple(name for name in ("age", "sex") if getattr(asked, name) is not None)
    return PatientUpload(photographs, asked.site, asked.lesion_id, unused)


def _require_count(photographs: Sequence[object]) -> None:
    if len(photographs) < 2:
        raise Refusal("missing_file", PATIENT.missing)
    if len(photographs) > MOST_OF_A_PATIENT:
        raise Refusal("too_many_files", PATIENT.too_many)
