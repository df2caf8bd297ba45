"""Limits: how large one body may be. All together are api.bodies', how many wait api.batching's."""

from __future__ import annotations

from melanoma.data.images import MAX_BYTES

_OVERHEAD = 64 * 1024  # boundaries, part headers, small form fields, JSON around the base64


def form_bytes(photographs: int) -> int:
    """The largest multipart form around so many bytes of photographs."""
    return photographs + _OVERHEAD


def json_bytes(photographs: int) -> int:
    """The largest JSON body around the base64 of so many bytes of photographs."""
    return 4 * -(-photographs // 3) + _OVERHEAD


# Base64 may be wrapped: in JSON a line of 64 and its end are 68 letters at most.
JSON_BYTES = json_bytes(MAX_BYTES) + MAX_BYTES // 12
TOO_LARGE = f"the request is too large; a photograph may have {MAX_BYTES:,} bytes"
