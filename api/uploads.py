"""From a request to the bytes of its photographs, in memory only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.aside import run_aside
from api.bodies import HELD, Body
from api.error_answers import Refusal
from api.json_texts import lift_texts
from api.limits import JSON_BYTES, TOO_LARGE, form_bytes, json_bytes
from api.requests import (
    ALLOWED,
    MAX_FILES,
    BatchRequest,
    ExplainRequest,
    known_fields,
    parse_body,
    parse_texts,
)
from melanoma.data.images import MAX_BYTES

RequestType = TypeVar("RequestType", bound=ExplainRequest)

_BATCH_BYTES = 64_000_000
_FEW_BYTES = 1_000_000
# A file's name as RFC 5987 writes letters beyond ASCII; the parser passes it over. What it says is
# of no use here.
_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=", re.IGNORECASE)
_LONG_HEADER = (
    "the headers of a part of the form are too long or too many: a file's name may have some "
    "4,000 bytes, and is not used; send a shorter one"
)
_LINE, _MOST_LINES, _STEP = b"\r\n--", 64, 8192


@dataclass(frozen=True)
class Accepted:
    """What a request may hold, and what it is told that holds something else."""

    form_bytes: int
    json_bytes: int
    files: int
    too_large: str
    too_many: str
    missing: str
    fields: int = 8  # texts


ONE = Accepted(
    form_bytes(MAX_BYTES),
    JSON_BYTES,
    1,
    TOO_LARGE,
    "send one photograph in a request; /predict/batch takes several",
    "send the photograph as the multipart form field `file`, "
    'or as JSON {"image": "<base64>"} with Content-Type: application/json',
)
BATCH = Accepted(
    form_bytes(_BATCH_BYTES),
    json_bytes(_BATCH_BYTES),
    MAX_FILES,
    f"the request is too large; its photographs may have {_BATCH_BYTES:,} bytes together",
    f"send up to {MAX_FILES} photographs in a request",
    "send the photographs as multipart form fields `files`, one each, "
    'or as JSON {"images": ["<base64>", ...]} with Content-Type: application/json',
)


async def read_photograph(
    request: Request, request_type: type[RequestType]
) -> tuple[bytes, RequestType]:
    """The photograph's bytes, not yet decoded, and what is wanted of it.

    Raises Refusal when there is not exactly one, or a field that is unknown or cannot be meant.
    """
    kind = kind_of(request)
    if kind == "multipart/form-data":
        async with open_form(request, ONE) as form:
            return await _photograph_of(form, request_type)
    if kind == "application/json":
        body = await read_body(request, ONE)
        # Megabytes of base64 take long enough to be felt by the other requests.
        return await run_aside(_photograph_in, body, request_type)
    raise Refusal("missing_file", ONE.missing)


async def read_photographs(request: Request) -> tuple[list[bytes | Refusal], BatchRequest]:
    """A batch's photographs in their order, a Refusal in the place of each that is not base64, and
    what is wanted of them.

    Raises Refusal when there is none, or more than MAX_FILES.
    """
    kind = kind_of(request)
    if kind == "multipart/form-data":
        async with open_form(request, BATCH) as form:
            return await _photographs_of(form)
    if kind == "application/json":
        body = await read_body(request, BATCH)
        return await run_aside(_photographs_in, body)
    raise Refusal("missing_file", BATCH.missing)


def kind_of(request: Request) -> str:
    """The media type that the request says it has, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, accepted: Accepted) -> bytes:
    """A JSON body, whole. Raises Refusal when it is too large."""
    chunks = [chunk async for chunk in _chunks(request, accepted.json_bytes, accepted)]
    # Off the loop, as all that is done to megabytes.
    return await run_aside(b"".join, chunks)


def _chunks(request: Request, limit: int, accepted: Accepted) -> AsyncGenerator[bytes, None]:
    body = request.scope[HELD]
    assert isinstance(body, Body)
    return body.read(request, limit, too_large=accepted.too_large)


async def _small_steps(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same bytes, those of a form that is all boundaries in pieces: Python looks at each of
    them, and the loop answers others in between."""
    async for chunk in chunks:
        # One letter is counted ten times as fast as four.
        if chunk.count(b"\r") < len(chunk) // 64 or chunk.count(_LINE) <= _MOST_LINES:
            yield chunk
            continue
        for start in range(0, len(chunk), _STEP):
            yield chunk[start : start + _STEP]
            await asyncio.sleep(0)


class _Chunks:
    """A file of a form as its chunks, which are put together once: no upload goes to the disk, and
    a buffer that grows with it would be copied thirty times."""

    _rolled = False  # onto a disk, as Starlette asks

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._chunks.append(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """How much there is."""
        return self._size

    def seek(self, place: int) -> int:
        """To the beginning, which is all that is asked for."""
        return place

    def read(self, size: int = -1) -> bytes:
        """All of it."""
        del size
        return b"".join(self._chunks)

    def close(self) -> None:
        self._chunks.clear()


class _InMemory(MultiPartParser):
    """Starlette's parser, whose files are _Chunks."""

    spool_max_size = 0  # of no limit: nothing goes to the disk

    def on_headers_finished(self) -> None:
        disposition = self._current_part.content_disposition or b""
        if (
            _EXTENDED_NAME.search(disposition)
            and b"filename" not in parse_options_header(disposition)[1]
        ):
            self._current_part.content_disposition = disposition + b'; filename="f"'
        super().on_headers_finished()
        if self._current_part.file is not None:
            self._current_part.file.file.close()
            self._current_part.file.file = _Chunks()  # type: ignore[assignment]


@asynccontextmanager
async def open_form(request: Request, accepted: Accepted) -> AsyncGenerator[FormData, None]:
    """The form, its files forgotten at the end. Raises Refusal when it is broken."""
    parser = _InMemory(
        request.headers,
        _small_steps(_chunks(request, accepted.form_bytes, accepted)),
        max_files=accepted.files,
        max_fields=accepted.fields,
        # A file that was sent as text is told so below, whatever its size.
        max_part_size=accepted.form_bytes,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refusal("too_many_files", accepted.too_many) from error
        long = str(error.__cause__).startswith("Maximum header")  # the parser's own limits
        message = _LONG_HEADER if long else f"the multipart form is broken: {error.message}"
        raise Refusal("bad_multipart", message) from error
    except (UnicodeError, LookupError) as error:
        # Of the names in the form: Python knows charsets that are none, as `undefined` or `hex`.
        message = "the multipart form is broken: its charset cannot be read; use UTF-8"
        raise Refusal("bad_multipart", message) from error
    try:
        yield form
    finally:
        await form.close()


def without_name(field: str) -> str:
    """What a caller is told whose file came as text."""
    return (
        f"the part `{field}` came as text, without a filename; send it as a file "
        f"(curl -F {field}=@photo.jpg, or filename= in its Content-Disposition)"
    )


async def _photograph_of(
    form: FormData, request_type: type[RequestType]
) -> tuple[bytes, RequestType]:
    files = [f for f in form.getlist("file") if isinstance(f, UploadFile)]
    if len(files) < len(form.getlist("file")):
        raise Refusal("missing_file", without_name("file"))
    if not files:
        raise Refusal("missing_file", ONE.missing)
    if len(form.getlist("file")) > 1:
        raise Refusal("too_many_files", ONE.too_many)
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    known = [name for name in known_fields(request_type) if name != "image"]
    if set(form) - {"file"} != set(texts) or set(texts) - set(known):
        raise Refusal("unknown_field", f"the form has fields beyond `file`, {', '.join(known)}")
    if len(form.multi_items()) > len(form):
        raise Refusal("invalid_field", "the form has a text field twice")
    (data,) = await read_files(files)
    return data, parse_texts(texts, request_type)


async def _photographs_of(form: FormData) -> tuple[list[bytes | Refusal], BatchRequest]:
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if set(form) - {"file", "files", "prevalence"}:
        raise Refusal("unknown_field", "the form has other fields than `files`, prevalence")
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    asked = form.getlist("prevalence")
    if len(asked) > 1 or len(asked) != ("prevalence" in texts):
        raise Refusal("invalid_field", f"prevalence: {ALLOWED['prevalence']}")
    if len(files) < len(form.multi_items()) - len(asked):
        raise Refusal("missing_file", without_name("files"))
    if not files:
        raise Refusal("missing_file", BATCH.missing)
    fields = parse_texts(texts, BatchRequest)
    return [*await read_files(files)], fields


async def read_files(files: list[UploadFile]) -> list[bytes]:
    """Their bytes. Megabytes are put together off the loop, a file at a time."""
    if sum(file.size or 0 for file in files) <= _FEW_BYTES:
        return [file.file.read() for file in files]
    return await run_aside(lambda: [file.file.read() for file in files])


def _photograph_in(body: bytes, request_type: type[RequestType]) -> tuple[bytes, RequestType]:
    lifted = lift_texts(body)
    parsed = parse_body(lifted.rest, request_type, missing=ONE.missing)
    data = lifted.decode(parsed.image)
    if isinstance(data, Refusal):
        raise data
    return data, parsed


def _photographs_in(body: bytes) -> tuple[list[bytes | Refusal], BatchRequest]:
    lifted = lift_texts(body)
    parsed = parse_body(lifted.rest, BatchRequest, missing=BATCH.missing)
    images = parsed.images
    if not images:
        raise Refusal("missing_file", BATCH.missing)
    if len(images) > MAX_FILES:
        raise Refusal("too_many_files", BATCH.too_many)
    return [lifted.decode(image) for image in images], parsed
