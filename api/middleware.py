"""Limits: how large a body may be. How many requests may wait is api.batching's."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import Request

from api.errors import Refusal
from melanoma.data.images import MAX_BYTES

_OVERHEAD = 64 * 1024  # boundaries, part headers, small form fields, JSON around the base64


def form_bytes(photographs: int) -> int:
    """The largest multipart form around so many bytes of photographs."""
    return photographs + _OVERHEAD


def json_bytes(photographs: int) -> int:
    """The largest JSON body around the base64 of so many bytes of photographs."""
    return 4 * -(-photographs // 3) + _OVERHEAD


JSON_BYTES = json_bytes(MAX_BYTES)
TOO_LARGE = f"the request is too large; a photograph may have {MAX_BYTES:,} bytes"


async def bounded(
    request: Request, limit: int, too_large: str = TOO_LARGE
) -> AsyncGenerator[bytes, None]:
    """The body's chunks. Raises Refusal before the first when the header declares too many
    bytes, and in mid-stream when too many come."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise Refusal("too_large", too_large)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Refusal("too_large", too_large)
        yield chunk
