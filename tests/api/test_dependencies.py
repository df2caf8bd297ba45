"""What routes share: who may ask, which model answers, and what is logged of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tiny_service import encode, refused

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.scorer import Scorer

TOKEN = "a-long-and-secret-word"
GUARDED = ["POST /predict", "POST /predict/batch", "POST /predict/patient", "POST /explain"]
PAGES = ["/info", "/classes", "/report", "/charts", "/metrics", "/report.html", "/MODEL_CARD.md"]
GUARDED += [f"GET {path}" for path in PAGES]
OPEN = ["/", "/static/favicon.svg", "/healthz", "/readyz"]


@pytest.fixture(scope="module")
def locked(scorer: Scorer) -> Any:
    settings = Settings(token=TOKEN)
    with TestClient(create_app([scorer], settings), raise_server_exceptions=False) as client:
        yield client


WRONG_TOKENS = {
    "none": None,
    "another": f"Bearer {TOKEN[:-1]}",
    "a longer one": f"Bearer {TOKEN}x",
    "an oversized one": "Bearer " + "a" * 1_000_000,
    "an empty one": "Bearer ",
    "no scheme": TOKEN,
    "another scheme": f"Basic {TOKEN}",
    "not ASCII": f"Bearer {TOKEN}\xe9".encode("latin-1"),
    "null bytes": b"Bearer \x00",
}


@pytest.mark.parametrize("what", WRONG_TOKENS)
def test_without_the_token_nothing_but_the_page_is_answered(locked, what):
    given = WRONG_TOKENS[what]
    headers = {} if given is None else {"authorization": given}
    for asked in GUARDED:
        method, path = asked.split()
        reply = locked.request(method, path, headers=headers)
        refused(reply, 401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in reply.text
    for path in OPEN:
        assert locked.get(path, headers=headers).status_code == 200


def test_every_route_but_the_open_ones_is_guarded(locked):
    refused(locked.get("/openapi.json"), 401, "unauthorized")
    headers = {"authorization": f"Bearer {TOKEN}"}
    routes = locked.get("/openapi.json", headers=headers).json()["paths"]
    asked = {f"{method.upper()} {path}" for path, found in routes.items() for method in found}
    assert asked - {f"GET {path}" for path in OPEN} == set(GUARDED)


def test_with_the_token_everything_is_answered(locked, photograph, caplog):
    caplog.set_level(logging.DEBUG)
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {TOKEN}"}
        for asked in GUARDED:
            method, path = asked.split()
            sent = [("file", photograph)] * (2 if path == "/predict/patient" else 1)
            files = sent if method == "POST" else None
            reply = locked.request(method, path, headers=headers, files=files)
            assert reply.status_code == 200, (asked, reply.text)
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(Settings(token=TOKEN))


def test_whoever_has_no_token_sends_no_upload(locked):
    reply = locked.post("/predict", content=b"this is not even a form")
    refused(reply, 401, "unauthorized")


HOSTILE = b'../../etc/passwd<script>"'


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/predict/patient", "/explain"])
def test_names_and_metadata_stay_with_the_caller(client, pixels, caplog, path):
    caplog.set_level(logging.DEBUG, logger="melanoma")
    exif = Image.Exif()
    exif[0x010E] = "PATIENT Jane Doe"
    exif.get_ifd(0x8825)[29] = "1999:12:31"
    data = encode(Image.fromarray(pixels), "JPEG", exif=exif, comment=b"Jane Doe")
    assert b"1999:12:31" in data
    part = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="' + HOSTILE + b'"\r\n\r\n'
        + data + b"\r\n"
    )  # fmt: skip
    body = part * (2 if path == "/predict/patient" else 1) + b"--B--\r\n"
    for accept in ("application/json", "image/png"):
        headers = {"content-type": "multipart/form-data; boundary=B", "accept": accept}
        reply = client.post(path, content=body, headers=headers)
        assert reply.status_code == 200, reply.text
        seen = reply.content + str(dict(reply.headers)).encode() + caplog.text.encode()
        for secret in (b"passwd", b"<script>", b"Jane", b"1999:12:31"):
            assert secret not in seen
    assert caplog.text.count("sha256") >= 2
