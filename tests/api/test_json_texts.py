"""Base64 in JSON is found and decoded a piece at a time, as a parser would find it."""

from __future__ import annotations

import base64
import json
import textwrap

import numpy as np
import pytest

from api import json_texts
from api.error_answers import Refusal
from api.json_texts import lift_texts

DATA = np.random.default_rng(0).integers(0, 256, 5_000, dtype=np.uint8).tobytes()
PLAIN = base64.b64encode(DATA).decode()


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_texts, "PIECE", 101)
    monkeypatch.setattr(json_texts, "LONG", 200)


WAYS = {
    "plain": PLAIN,
    "wrapped": "\r\n".join(textwrap.wrap(PLAIN, 76)) + "\n",
    "an address": f"data:image/jpeg;base64,{PLAIN}",
    "not whole threes": base64.b64encode(DATA[:-1]).decode(),
}


WRITERS = {
    "plain": {},
    "PHP": {"/": "\\/"},
    ".NET": {"+": "\\u002B"},
    "Gson": {"=": "\\u003d"},
    "every sign by its number": {"+": "\\u002b", "/": "\\u002F", "=": "\\u003D", "\\n": "\\u000a"},
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("way", WAYS)
def test_a_long_text_is_lifted_and_decoded(way: str, writer: str) -> None:
    text = json.dumps({"image": WAYS[way], "explain": True})
    for sign, written in WRITERS[writer].items():
        text = text.replace(sign, written)
    body = text.encode()
    lifted = lift_texts(body)
    parsed = json.loads(lifted.rest)
    assert parsed["explain"] is True
    assert len(lifted.rest) < 100
    expected = DATA[:-1] if way == "not whole threes" else DATA
    assert lifted.decode(parsed["image"]) == expected


def test_short_texts_and_quotation_marks_stay_as_they_are() -> None:
    body = json.dumps(
        {"image": PLAIN[:100], "class": 'a "b" \\', "x": ["\\" * 10, '"' * 20]}
    ).encode()
    lifted = lift_texts(body)
    assert lifted.rest == body
    assert not lifted.texts
    assert lifted.decode(PLAIN[:100]) == DATA[:75]


BROKEN = {
    "a letter that is none": PLAIN[:3000] + "?" + PLAIN[3001:],
    "an end in the middle": PLAIN[:3000] + "====" + PLAIN[3000:],
    "a letter too many": PLAIN.rstrip("=") + "A" * (1 + PLAIN.count("=")),
    "quotation marks": PLAIN[:3000] + '"' + PLAIN[3000:],
    "a slash that JSON doubled": PLAIN[:3000] + "\\/" + PLAIN[3000:],
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_no_base64_is_refused(how: str) -> None:
    for text in (BROKEN[how], BROKEN[how][2950:3050]):
        lifted = lift_texts(json.dumps([text]).encode())
        (found,) = (lifted.decode(one) for one in json.loads(lifted.rest))
        assert isinstance(found, Refusal) or (len(text) == 100 and how == "a letter too many")


def test_no_caller_can_ask_for_another_text() -> None:
    first = lift_texts(json.dumps([PLAIN]).encode())
    second = lift_texts(json.dumps([PLAIN, *json.loads(first.rest)]).encode())
    assert isinstance(second.decode(json.loads(second.rest)[1]), Refusal)


@pytest.mark.parametrize(
    "body", [b'"' + b"a" * 500, b'["' + b"\\" * 500 + b'"]', b'{"a' * 6_000, b'"\\"' * 3_000]
)
def test_what_cannot_be_read_is_left_to_the_parser(body: bytes) -> None:
    assert lift_texts(body).rest == body


def test_more_text_than_photographs_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_texts, "_MOST_REST", 1_000)
    with pytest.raises(Refusal, match="beside photographs"):
        lift_texts(json.dumps(["a" * 150] * 10).encode())
    lift_texts(json.dumps(["a" * 2_000]).encode())
