"""A reply's headers, and its body as an object, whatever an odd server sends."""

from __future__ import annotations

import pytest

from melanoma.errors import ServiceError
from melanoma.scoring.files.http_reply import LONGEST_WAIT, Reply


def test_a_header_is_found_whatever_its_case() -> None:
    assert Reply(302, {"LOCATION": "there"}, b"").header("location", "") == "there"
    assert Reply(302, {}, b"").header("location", "nowhere") == "nowhere"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), (" 12 ", 12), ("0", 0), ("Sat, 28 Nov 2026 21:00:00 GMT", 1), ("-3", 1), ("³", 1)],
)
def test_the_seconds_to_wait_are_a_whole_number_or_one(said: str, seconds: int) -> None:
    assert Reply(503, {"Retry-After": said}, b"").retry_after == seconds


def test_a_wait_of_more_digits_than_anybody_waits_is_too_long() -> None:
    assert Reply(503, {"Retry-After": "9" * 5000}, b"").retry_after > LONGEST_WAIT
    assert Reply(503, {}, b"").retry_after == 1


def test_a_body_is_an_object_or_no_melanoma_service() -> None:
    assert Reply(200, {}, b'{"a": 1}').json("http://x") == {"a": 1}
    for body in (b"", b"[1]", b"<html>", b"\xff", b"[" * 100_000):
        with pytest.raises(ServiceError, match="http://x answers 200 without JSON"):
            Reply(200, {}, body).json("http://x")
