"""predict --url with a service that lies, breaks off or attacks: one line, exit 5, no score."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melanoma.errors import ServiceError, plain_line
from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.scoring.files import service_client as remote
from melanoma.scoring.files.replies import ScoreReply
from melanoma.scoring.files.service_client import RemoteScorer

NO_NOVELTY = "no picture is called unlike the model's own: this bundle has no novelty score"
DESCRIBED = {"name": "tiny", "digest": "d" * 64, "views": 1, "melanoma": ["melanoma"]}
GOOD: dict[str, Any] = {
    "success": True,
    "melanoma_probability": 0.25,
    "flagged": False,
    "threshold": {"value": 0.5, "at": "sensitivity 0.95"},
    "prediction": "nevus",
    "probability": 0.75,
    "by_class": {"nevus": 0.75, "melanoma": 0.25},
    "by_fold": [0.2, 0.3],
    "warnings": ["low_information"],
    "model": {"digest": "d" * 64, "name": "tiny"},
    "a field of tomorrow": [1, 2],
}
Body = bytes | dict[str, Any]


@pytest.fixture
def image(phantom_set: Path) -> Path:
    return next(phantom_set.rglob("*.jpg"))


@contextmanager
def speaking(score: Body, info: Body | None = None, status: int = 200) -> Iterator[str]:
    """A service that answers every photograph with `score`."""
    described = {"models": [DESCRIBED]} if info is None else info

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, described)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(status, score)

        def reply(self, status: int, body: Body) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if data.startswith(b"RAW"):
                self.wfile.write(data[3:])
                return
            self.send_response(status)
            self.send_header("Location", "http://b/\x1b[31m")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def require_one_line(answer: Any, code: int) -> str:
    assert answer.code == code, answer.err
    assert answer.err.startswith("error: "), answer.err
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err[:-1].isprintable(), ascii(answer.err)
    assert "bug" not in answer.err
    assert len(answer.err) < 700
    assert answer.out == ""
    assert not list(Path().glob("*.csv*"))
    return str(answer.err)


def test_a_good_reply_is_believed_and_what_is_new_in_it_is_passed_over(
    image: Path, call_door: Any
) -> None:
    with speaking(GOOD) as address:
        answer = call_door("predict", image, "--url", address)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines() == [
        "warning: low_information",
        "prediction: nevus - 75.0%",
        "melanoma 25.0%, not flagged (threshold 50.0%)",
        # What an older service does not say is not known, and not made up.
        "threshold 50.0% (sensitivity 0.95): its sensitivity and specificity are not known "
        "(no curve in the bundle)",
        "whether the probabilities are calibrated is not known",
        DISCLAIMER,
        NO_NOVELTY,
    ]
    assert pd.read_csv("scores.csv")["melanoma_probability"].tolist() == [0.25]


# Each is GOOD with these fields instead; None of a field's own is not among them.
LIES: dict[str, dict[str, Any]] = {
    "1700 %": {"melanoma_probability": 17.0, "flagged": True},
    "less than nothing": {"melanoma_probability": -0.25},
    "nan": {"melanoma_probability": float("nan")},
    "infinite": {"probability": float("inf")},
    "a number as text": {"melanoma_probability": "0.25"},
    "true as a number": {"probability": True},
    "a number of 400 digits": {"probability": 10**400},
    "no prediction": {"prediction": None},
    "an empty prediction": {"prediction": ""},
    "a prediction of control characters alone": {"prediction": "\x1b\x07"},
    "a prediction of no class": {"prediction": "acne"},
    "a prediction that is a list": {"prediction": ["nevus"]},
    "classes as a list": {"by_class": [0.75, 0.25]},
    "no class": {"by_class": {}},
    "a class of text": {"by_class": {"nevus": "0.75"}},
    "a class of nan": {"by_class": {"nevus": float("nan")}},
    "classes beyond 1": {"by_class": {"nevus": 0.75, "melanoma": 0.75}},
    "folds as a number": {"by_fold": 0.2},
    "no fold": {"by_fold": []},
    "a fold of 2": {"by_fold": [0.2, 2.0]},
    "a nested fold": {"by_fold": [[0.2]]},
    "flagged as text": {"flagged": "no"},
    "flagged as a number": {"flagged": 0},
    "flagged against its threshold": {"flagged": True},
    "not flagged against its threshold": {"threshold": {"value": 0.2, "at": "x"}},
    "a threshold as a number": {"threshold": 0.5},
    "a threshold without a value": {"threshold": {}},
    "a threshold of nan": {"threshold": {"value": float("nan"), "at": "x"}},
    "warnings as text": {"warnings": "low_information"},
    "warnings of numbers": {"warnings": [1]},
    "a million warnings": {"warnings": ["x"] * 1_000},
    "no model": {"model": None},
    "a model as text": {"model": "tiny"},
    "a digest as a number": {"model": {"digest": 1}},
    "a short digest": {"model": {"digest": "d"}},
    "a digest of escape codes": {"model": {"digest": "\x1b[31m" + "d" * 59}},
    "other weights": {"model": {"digest": "e" * 64}},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_score_that_is_none_is_not_believed(image: Path, call_door: Any, lie: str) -> None:
    with speaking(GOOD | LIES[lie]) as address:
        answer = call_door("predict", image, "--url", address)
    said = require_one_line(answer, 5)
    assert lie == "other weights" or next(iter(LIES[lie]), "") in said or "flagged is not" in said


@pytest.mark.parametrize(
    "field", [name for name, field in ScoreReply.model_fields.items() if field.is_required()]
)
def test_a_reply_without_a_field_is_not_believed(image: Path, call_door: Any, field: str) -> None:
    with speaking({key: value for key, value in GOOD.items() if key != field}) as address:
        answer = call_door("predict", image, "--url", address)
    assert f"answers without {field}" in require_one_line(answer, 5)


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>",
    "a list": b"[]",
    "null": b"null",
    "a string": b'"nevus"',
    "half": json.dumps(GOOD).encode()[:100],
    "not UTF-8": b'{"prediction": "\xff"}',
    "a hundred thousand brackets": b"[" * 100_000,
    "a number of 5,000 digits": b'{"probability": ' + b"1" * 5000 + b"}",
    "no HTTP": b"RAWSSH-2.0-\x1b[31mOpenSSH\r\n\r\n",
    "nothing at all": b"RAW",
    "a broken chunk": b"RAWHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\x1b[2J",
    "a status of letters": b"RAWHTTP/1.1 abc\x1b[2J\r\n\r\n",
    "a refusal that breaks off": b"RAWHTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
    "a refusal in a broken chunk": b"RAWHTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a thousand headers": b"RAWHTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("body", BODIES)
def test_what_is_no_reply_ends_in_one_line(image: Path, call_door: Any, body: str) -> None:
    for score, info in ((BODIES[body], None), (GOOD, BODIES[body])):
        with speaking(score, info) as address:
            require_one_line(call_door("predict", image, "--url", address), 5)


INFOS: dict[str, Any] = {
    "no models": {},
    "models as text": {"models": "tiny"},
    "an empty list": {"models": []},
    "a model as text": {"models": ["tiny"]},
    "views as text": {"models": [DESCRIBED | {"views": "1"}]},
    "no views": {"models": [DESCRIBED | {"views": None}]},
    "a thousand views": {"models": [DESCRIBED | {"views": 1000}]},
    "a digest of none": {"models": [DESCRIBED | {"digest": None}]},
    "a name of escape codes": {"models": [DESCRIBED | {"name": "\x1b[31mtiny"}]},
    "a name as a list": {"models": [DESCRIBED | {"name": ["tiny"]}]},
    "a lone surrogate": {"models": [DESCRIBED | {"name": "\ud800"}]},
    "melanoma as text": {"models": [DESCRIBED | {"melanoma": "melanoma"}]},
}


@pytest.mark.parametrize("info", INFOS)
def test_what_describes_no_model_is_not_sent_a_photograph(
    image: Path, call_door: Any, info: str
) -> None:
    with speaking(b"never asked", INFOS[info]) as address:
        answer = call_door("predict", image, "--url", address)
    assert "names no model" in require_one_line(answer, 5)


EVIL = "\x1b]0;title\x07\x1b[31mred\r\n\u202eback\ud800"


def test_no_text_of_a_service_reaches_the_terminal_as_a_command(
    image: Path, call_door: Any
) -> None:
    reply = GOOD | {
        "prediction": EVIL,
        "by_class": {EVIL: 0.75, "melanoma": 0.25},
        "warnings": [EVIL],
    }
    with speaking(reply) as address:
        answer = call_door("predict", image, "--url", address, "--top", "2")
    assert answer.code == 0, answer.err
    for line in (*answer.out.splitlines(), *answer.err.splitlines()):
        assert line.isprintable(), ascii(line)
    text = Path("scores.csv").read_text()
    assert not set("\x1b\x07\r\u202e") & set(text)
    assert "]0;title[31mred back" in text


@pytest.mark.parametrize("status", [302, 401, 404, 418, 500])
def test_no_refusal_of_a_service_reaches_the_terminal_as_a_command(
    image: Path, call_door: Any, status: int
) -> None:
    for error in (
        {"code": EVIL, "message": EVIL * 1000, "request_id": EVIL},
        {"code": None, "message": {"a": [EVIL]}, "request_id": 7},
        EVIL,
    ):
        with speaking({"success": False, "error": error}, status=status) as address:
            answer = call_door("predict", image, "--url", address)
        require_one_line(answer, 2 if status in (302, 401, 404) and error != EVIL else answer.code)


def test_a_refused_image_has_a_plain_sentence(image: Path, call_door: Any) -> None:
    error = {"code": "=" + EVIL, "message": EVIL}
    with speaking({"error": error}, status=422) as address:
        answer = call_door("predict", image, "--url", address)
    assert answer.code == 3
    assert all(line.isprintable() for line in answer.err.splitlines() + answer.out.splitlines())
    (said,) = pd.read_csv("scores.csv")["error"]
    assert said.startswith("'=]0;title")
    assert said.isprintable()


def test_a_body_that_never_ends_is_not_waited_for(
    image: Path, call_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Drip:
        read = 0

        def read1(self, _: int) -> bytes:
            self.read += 1
            return b" "

    clock = iter(range(10_000))
    monkeypatch.setattr(remote.time, "monotonic", lambda: float(next(clock)))
    drip = Drip()
    with pytest.raises(TimeoutError, match="never came to its end"):
        remote._read_body(drip, 100)
    assert drip.read <= 101


def test_an_endless_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flood:
        def read1(self, size: int) -> bytes:
            return b" " * size

    monkeypatch.setattr(remote, "_LARGEST_REPLY", 1_000_000)
    assert len(remote._read_body(Flood(), 100)) < 2_000_000


def test_a_wait_of_5000_digits_is_too_long() -> None:
    for said, wait in {"9" * 5000: 31, "7": 7, "²": 1, "-1": 1, "soon": 1}.items():
        assert remote.Reply(503, {"Retry-After": said}, b"").retry_after == wait


@pytest.mark.parametrize("body", [b"\x89PNG", b"\x89PNG\r\n\x1a\n" + b"\0" * 99, b"MZ", b""])
def test_a_picture_that_is_no_png_is_not_written(image: Path, body: bytes) -> None:
    with speaking(body) as address, pytest.raises(ServiceError, match="did not answer with a PNG"):
        RemoteScorer(address).draw_lime(image.read_bytes(), precision="Low")


def test_a_plain_line_is_printable_whatever_comes() -> None:
    every = "".join(map(chr, range(0x3000)))
    line = plain_line(every + "\ud800", longest=10**6)
    assert not set(line) & (set(map(chr, range(32))) | set("\x7f\x9b\u2028\u202e\ud800"))
    assert "läsion" in plain_line("a läsion")
    assert plain_line("a" * 50, longest=10) == "a" * 7 + "..."
    line.encode()


def test_a_password_in_an_address_is_refused_and_not_repeated(image: Path, call_door: Any) -> None:
    with speaking(GOOD) as address:
        named = address.replace("//", "//somebody:s3cret@")
        ways = (named, named.removeprefix("http://"), named.replace("s3cret", "a/s3cret"))
        for way in (*ways, named.replace("://", ":/")):
            said = require_one_line(call_door("predict", image, "--url", way), 2)
            assert "s3cret" not in said
            assert "--token" in said
        assert RemoteScorer(f"{address}/a@b").name == "tiny"
