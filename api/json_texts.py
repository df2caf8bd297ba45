"""Photographs in JSON: base64, taken out before the JSON is parsed and decoded a piece at a time.

A parser and a decoder keep Python's lock until they are done, a tenth of a second for a batch's
megabytes; meanwhile nobody else is answered. Between the pieces everybody else goes on.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable
from typing import NamedTuple

from api.error_answers import Refusal

PIECE = 1 << 20
# Shorter texts are left where they are: of the largest request they are some megabytes at most.
LONG = 1 << 16
_MOST_TEXTS, _MOST_ESCAPED = 5_000, 1_000
_MOST_SLASHES = 64  # in a row; base64 has none, and JSON one before a slash or a line's end
_MOST_REST = 6_000_000
_DATA = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)  # as a browser's FileReader has it
_SPACE = b" \t\n\r\x0b\x0c"
_ESCAPES = ((b"\\/", b"/"), (b"\\n", b""), (b"\\r", b""), (b"\\t", b""))
# Base64's own signs as some libraries write them: .NET's the plus, Gson the equals sign.
_NUMBERS = {b"2b": b"+", b"2f": b"/", b"3d": b"=", b"0a": b"", b"0d": b""}
_NUMBERED = tuple(
    (b"\\u00" + number, sign) for low, sign in _NUMBERS.items() for number in (low, low.upper())
)
_LONGEST_ESCAPE = 6
BAD_BASE64 = "bad_base64"
NOT_BASE64 = "the image is not base64 (base64 FILE makes it)"


class LiftedJson(NamedTuple):
    """A JSON body whose long texts are elsewhere, each under the name that stands in its place."""

    rest: bytes
    texts: dict[str, memoryview]

    def decode(self, text: str) -> bytes | Refusal:
        """The bytes of a text that the parser found, which is base64, wrapped or not, or a data:
        address, whose type is not believed."""
        lifted = self.texts.get(text)
        if lifted is None:
            return _decode(text.encode("utf-8", "surrogatepass"), _without_spaces)
        return _decode(lifted, _without_escapes)


def lift_texts(data: bytes) -> LiftedJson:
    """The body without its long texts. Raises Refusal where what is left is too much for any
    request."""
    rest = len(data)
    mark = secrets.token_hex(8)  # no caller knows it, so none can ask for another's text
    pieces: list[bytes] = []
    texts: dict[str, memoryview] = {}
    view = memoryview(data)
    copied = at = count = 0
    while (start := data.find(b'"', at) + 1) and (count := count + 1) <= _MOST_TEXTS:
        end = _closing(data, start)
        if end is None:  # the parser says what is wrong with it
            break
        if end - start > LONG:
            name = f"{mark}:{len(texts)}"
            pieces += [data[copied:start], name.encode()]
            texts[name], copied = view[start:end], end
            rest -= end - start
        at = end + 1
    if rest > _MOST_REST:
        raise Refusal("bad_json", "the JSON holds more than any request does beside photographs")
    return LiftedJson(b"".join([*pieces, data[copied:]]), texts)


def _closing(data: bytes, at: int) -> int | None:
    """Where the quotation mark stands that ends the text which begins at `at`."""
    for _ in range(_MOST_ESCAPED):
        end = data.find(b'"', at)
        if end < 0:
            return None
        before = data[max(at, end - _MOST_SLASHES) : end]
        slashes = len(before) - len(before.rstrip(b"\\"))
        if slashes == _MOST_SLASHES:
            return None
        if slashes % 2 == 0:
            return end
        at = end + 1
    return None


def _decode(text: bytes | memoryview, plain: Callable[[bytes], bytes]) -> bytes | Refusal:
    """The bytes of base64, which `plain` leaves nothing else of, or of a data: address."""
    start = 0
    if header := _DATA.match(bytes(text[:300])):
        start = header.end()
    decoded: list[bytes] = []
    rest = b""
    try:
        while start < len(text):
            end = min(start + PIECE, len(text))
            if end < len(text):  # not amid an escape
                tail = bytes(text[end - _LONGEST_ESCAPE + 1 : end])
                end -= len(tail) - tail.rfind(b"\\") if b"\\" in tail else 0
            rest += plain(bytes(text[start:end]))
            whole = len(rest) if end == len(text) else len(rest) // 4 * 4
            if end < len(text) and b"=" in rest:
                whole = rest.index(b"=") // 4 * 4
                if len(rest) > whole + 4:
                    raise binascii.Error  # its end, and more than spaces behind it
            decoded.append(base64.b64decode(rest[:whole], validate=True))
            rest, start = rest[whole:], end
    except (binascii.Error, ValueError):
        return Refusal(BAD_BASE64, NOT_BASE64)
    return decoded[0] if len(decoded) == 1 else b"".join(decoded)


def _without_spaces(piece: bytes) -> bytes:
    return piece.translate(None, _SPACE)


def _without_escapes(piece: bytes) -> bytes:
    """What JSON writes for a line's end goes as well, and escaped signs are plain ones."""
    if b"\\" in piece:
        for escaped, plain in _ESCAPES + (_NUMBERED if b"\\u" in piece else ()):
            piece = piece.replace(escaped, plain)
    return _without_spaces(piece)
