"""From a request to the bytes of one photograph, in memory only."""

from __future__ import annotations

import base64
import binascii

import anyio.to_thread
from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.limits import FORM_BYTES, JSON_BYTES, bounded
from api.refusals import Refusal
from api.schemas import PredictRequest

_MISSING = (
    "send the photograph as the multipart form field `file`, "
    'or as JSON {"image": "<base64>"} with Content-Type: application/json'
)
_JSON_CODES = {
    "json_invalid": ("bad_json", "the body is not JSON"),
    "model_type": ("bad_json", 'the body is not a JSON object; send {"image": "<base64>"}'),
    "missing": ("missing_file", _MISSING),
}


class _MemoryParser(MultiPartParser):
    """Starlette's parser, which writes no upload of an accepted size to the disk."""

    spool_max_size = FORM_BYTES


async def read_photograph(request: Request) -> bytes:
    """The photograph's bytes, not yet decoded. Raises Refusal when there is not exactly one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind == "application/json":
        body = b"".join([chunk async for chunk in bounded(request, JSON_BYTES)])
        # Megabytes of base64 take long enough to be felt by the other requests.
        return await anyio.to_thread.run_sync(_read_json, body)
    raise Refusal("missing_file", _MISSING)


async def _read_form(request: Request) -> bytes:
    parser = _MemoryParser(request.headers, bounded(request, FORM_BYTES), max_files=8, max_fields=8)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal("bad_multipart", f"the multipart form is broken: {error.message}") from error
    try:
        files = [f for f in form.getlist("file") if isinstance(f, UploadFile)]
        if not files:
            raise Refusal("missing_file", _MISSING)
        if set(form) != {"file"}:
            raise Refusal("unknown_field", "the form has other fields than `file`")
        if len(form.multi_items()) > 1:
            raise Refusal("too_many_files", "send one photograph in a request")
        return await files[0].read()
    finally:
        await form.close()


def _read_json(body: bytes) -> bytes:
    if not body:
        raise Refusal("missing_file", _MISSING)
    try:
        wanted = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise _json_refusal(error) from None
    if wanted.explain or wanted.precision is not None:
        raise Refusal("not_available", "explanations are not available; leave out explain")
    try:
        return base64.b64decode(wanted.image, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(
            "bad_base64",
            "`image` is not base64 (no data: prefix, no line breaks; base64 -w0 FILE makes it)",
        ) from None


def _json_refusal(error: ValidationError) -> Refusal:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    kinds = {str(problem["type"]): problem for problem in problems}
    if "extra_forbidden" in kinds:
        known = ", ".join(PredictRequest.model_fields)
        return Refusal("unknown_field", f"the JSON has an unknown field; known: {known}")
    for kind, (code, message) in _JSON_CODES.items():
        if kind in kinds:
            return Refusal(code, message)
    field = ".".join(str(part) for part in problems[0]["loc"])
    return Refusal("invalid_field", f"{field}: {problems[0]['msg']}")
