"""Whatever is sent, the answer is one JSON shape with a code, a sentence and an id."""

from __future__ import annotations

import base64
import io
import re
import socket
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from image_bytes import palette_png_without_palette
from PIL import EpsImagePlugin, Image
from tiny_service import ROOT, encode, refused

from api.app import create_app
from api.error_answers import STATUS
from api.settings import Settings
from melanoma.data.images import MAX_BYTES
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer

FORM = {"content-type": "multipart/form-data; boundary=B"}


def part(name: bytes, data: bytes, more: bytes = b'; filename="f"') -> bytes:
    return (
        b'--B\r\nContent-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n"
        + data + b"\r\n"
    )  # fmt: skip


def test_every_code_of_the_decoder_has_a_status():
    sources = (ROOT / "melanoma" / "data").glob("*.py")
    text = "".join(path.read_text() for path in sources)
    raised = set(re.findall(r'ImageError\(\s*"(\w+)"', text))
    assert len(raised) > 7
    assert raised - {"unreadable_file"} <= set(STATUS)  # that one is about paths, not bytes


NOTHING = {
    "no body": {},
    "a wrong field name": {"files": {"photo": b"x"}},
    "a text field": {"data": {"file": "x"}, "files": {"other": b"x"}},
    "only a text field": {"content": part(b"file", b"x", b"") + b"--B--\r\n", "headers": FORM},
    "an empty JSON object": {"json": {}},
    "JSON without a body": {"headers": {"content-type": "application/json"}},
    "JSON declared as text": {"content": b'{"image": "x"}'},
    "raw image bytes": {"content": b"\xff\xd8", "headers": {"content-type": "image/jpeg"}},
    "a query of many parts": {
        "content": b"a;" * 100_000,
        "headers": {"content-type": "application/x-www-form-urlencoded"},
    },
}


@pytest.mark.parametrize("what", NOTHING)
def test_a_missing_photograph_is_refused_naming_the_field(client, what):
    message = refused(client.post("/predict", **NOTHING[what]), 422, "missing_file")
    assert "`file`" in message


BROKEN = {
    "no boundary": (b"x", "multipart/form-data"),
    "another boundary": (part(b"file", b"x"), "multipart/form-data; boundary=C"),
    "no name": (b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n", None),
    "not a form": (b"\x00" * 1000, None),
    "1,001 fields": (part(b"a", b"x", b"") * 1001 + b"--B--\r\n", None),
    "a header of 5 MB": (b"--B\r\nX-A: " + b"a" * 5_000_000 + b"\r\n\r\nx\r\n--B--\r\n", None),
}


@pytest.mark.timeout(100)  # a hundred times what it takes
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_form_is_refused_at_once(client, what):
    body, kind = BROKEN[what]
    reply = client.post("/predict", content=body, headers={"content-type": kind} if kind else FORM)
    refused(reply, 400, "bad_multipart")


@pytest.mark.timeout(100)
def test_a_thousand_files_are_refused_at_once(client):
    body = part(b"file", b"x") * 1001 + b"--B--\r\n"
    for path in ("/predict", "/explain", "/predict/batch"):
        refused(client.post(path, content=body, headers=FORM), 422, "too_many_files")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_cut_form_is_refused_and_does_not_hang(client, photograph, share):
    body = part(b"file", photograph) + b"--B--\r\n"
    reply = client.post("/predict", content=body[: int(len(body) * share)], headers=FORM)
    assert reply.status_code in (400, 422)
    refused(reply, reply.status_code, reply.json()["error"]["code"])


def test_an_empty_file_is_refused(post):
    refused(post(b""), 422, "empty_file")


def test_the_limit_counts_the_photograph_and_not_the_form_around_it(post, client):
    refused(post(b"\0" * MAX_BYTES), 415, "unsupported_format")
    assert f"{MAX_BYTES:,}" in refused(post(b"\0" * (MAX_BYTES + 1)), 413, "too_large")
    assert f"{MAX_BYTES:,}" in refused(post(b"\0" * (MAX_BYTES + 70_000)), 413, "too_large")
    full = {"image": base64.b64encode(b"\0" * MAX_BYTES).decode()}
    refused(client.post("/predict", json=full), 415, "unsupported_format")
    more = {"image": base64.b64encode(b"\0" * (MAX_BYTES + 90_000)).decode()}
    refused(client.post("/predict", json=more), 413, "too_large")


def test_a_declared_length_beyond_the_limit_is_refused_and_nobody_else_reads_a_body(client):
    headers = {"content-type": "application/json", "content-length": "999999999999"}
    for path in ("/predict", "/predict/batch", "/explain"):
        refused(client.post(path, content=b"{}", headers=headers), 413, "too_large")
    refused(client.post("/nowhere", content=b"{}", headers=headers), 404, "not_found")
    refused(client.post("/healthz", content=b"{}", headers=headers), 405, "method_not_allowed")


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jpg", b"x")
    return buffer.getvalue()


SVG = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><text>&x;</text></svg>'
)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"
SCENE = Image.linear_gradient("L").convert("RGB")
OTHERS = {
    "text": b"hello, this is not a photograph",
    "pdf": b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF",
    "svg": SVG,
    "eps": EPS,
    "zip": _zip(),
    "gif": encode(SCENE, "GIF"),
    "tiff": encode(SCENE, "TIFF"),
    "bmp": encode(SCENE, "BMP"),
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200,
    "dicom": b"\0" * 128 + b"DICM" + b"\0" * 200,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_refused_with_what_to_do(post, monkeypatch, kind):
    def called(*_, **__):
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", called)
    message = refused(post(OTHERS[kind]), 415, "unsupported_format")
    assert "convert to JPEG/PNG" in message
    assert "root:" not in message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("cut", ["half", "the last 50 bytes"])
def test_a_cut_photograph_is_corrupt(post, pixels, kind, cut):
    data = encode(Image.fromarray(pixels).resize((200, 200)), kind)
    refused(post(data[: len(data) // 2] if cut == "half" else data[:-50]), 422, "corrupt_image")


def test_a_palette_image_without_its_palette_is_corrupt(post):
    refused(post(palette_png_without_palette()), 422, "corrupt_image")


def test_random_bytes_in_a_photograph_are_never_our_fault(post, pixels):
    generator = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP"):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "scene"
        whole = encode(Image.fromarray(pixels), kind, exif=exif)
        for _ in range(40):
            data = bytearray(whole)
            start = int(generator.integers(4, len(data) - 12))
            data[start : start + 8] = generator.bytes(8)
            reply = post(bytes(data))
            assert reply.status_code in (200, 413, 415, 422), (kind, start, reply.text)


def _png_bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (2501 * 20_000), 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def _huge_jpeg() -> bytes:
    data = bytearray(encode(SCENE, "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


@pytest.mark.parametrize("make", [_png_bomb, _huge_jpeg])
def test_a_bomb_is_refused_before_it_is_decoded(post, monkeypatch, make):
    def decoded(*_, **__):
        raise AssertionError("the pixels were decoded")

    data = make()
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    refused(post(data), 422, "too_many_pixels")


SIZES = {
    (1, 1): "too_small",
    (15, 64): "too_small",
    (1, 5000): "too_small",
    (20, 900): "bad_aspect",
}


@pytest.mark.parametrize("size", SIZES)
def test_scraps_and_strips_are_refused(post, size):
    refused(post(encode(Image.new("RGB", size))), 422, SIZES[size])


JSON_REFUSALS = {
    "broken": (b'{"image": ', 400, "bad_json", "JSON"),
    "not UTF-8": (b'{"image": "\xff"}', 400, "bad_json", "JSON"),
    "a list": (b"[]", 400, "bad_json", "object"),
    "deep": (b"[" * 100_000, 400, "bad_json", "JSON"),
    "a number": (b'{"image": 1}', 422, "invalid_field", "image"),
    "text": (b'{"image": "?!"}', 422, "bad_base64", "base64"),
    "a data address": (b'{"image": "data:image/png,%89PNG"}', 422, "bad_base64", "base64"),
    "bad padding": (b'{"image": "aaaaa"}', 422, "bad_base64", "base64"),
    "empty": (b'{"image": ""}', 422, "empty_file", "empty"),
    "a url": (b'{"url": "http://169.254.169.254"}', 422, "unknown_field", "image"),
    "unknown": (b'{"image": "aaaa", "explian": true}', 422, "unknown_field", "explain"),
    "explain": (b'{"image": "aaaa", "explain": "yes"}', 422, "invalid_field", "explain: true or"),
    "precision": (b'{"image": "aaaa", "precision": 1}', 422, "invalid_field", "High (1000)"),
    "too many values": (b"[" + b"0," * 2000 + b"0]", 400, "bad_json", "values"),
}


@pytest.mark.parametrize("what", JSON_REFUSALS)
def test_json_that_cannot_be_meant_is_refused(client, what):
    body, status, code, word = JSON_REFUSALS[what]
    reply = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert word in refused(reply, status, code)


def test_explain_false_is_what_happens_anyway(client, photograph):
    body = {"image": base64.b64encode(photograph).decode(), "explain": False}
    assert client.post("/predict", json=body).status_code == 200


def test_nothing_is_ever_fetched_for_a_caller(client, photograph, monkeypatch):
    def connect(self, address):
        raise AssertionError(f"a connection to {address} was opened")

    address = "http://169.254.169.254/latest"
    monkeypatch.setattr(socket.socket, "connect", connect)
    refused(client.post(f"/predict?url={address}"), 422, "unknown_field")
    refused(
        client.post(f"/predict?url={address}", files={"file": photograph}), 422, "unknown_field"
    )
    for path in ("/predict", "/predict/batch", "/explain"):
        for options in ({"data": {"url": address}}, {"params": {"url": address}}):
            reply = client.post(path, files={"file": photograph}, **options)
            refused(reply, 422, "unknown_field")
    for path in ("/classes", "/report"):
        refused(client.get(path, params={"url": address}), 422, "unknown_field")


def test_two_photographs_are_not_silently_one(client, photograph):
    files = [("file", photograph), ("file", photograph)]
    refused(client.post("/predict", files=files), 422, "too_many_files")


def test_a_wrong_method_is_told_the_right_one(client):
    for method, path, allowed in [
        ("GET", "/predict", "POST"),
        ("PUT", "/predict", "POST"),
        ("GET", "/predict/batch", "POST"),
        ("GET", "/explain", "POST"),
        ("DELETE", "/report", "GET, HEAD"),
        ("POST", "/info", "GET, HEAD"),
        ("GET", "/predict/", "POST"),
        ("POST", "/static/main.js", "GET, HEAD"),
    ]:
        reply = client.request(method, path)
        refused(reply, 405, "method_not_allowed")
        assert reply.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/docs",
        "/redoc",
        "/static/",
        "/static/nothing.js",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/%00",
    ],
)
def test_an_unknown_path_is_404_in_the_same_shape(client, path):
    refused(client.get(path), 404, "not_found")


def test_no_origin_is_let_in(client):
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for reply in (
        client.options("/predict", headers=headers),
        client.options("/predict/batch", headers=headers),
        client.options("/explain", headers=headers),
        client.get("/info", headers=headers),
    ):
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_failing_model_costs_one_request(client, photograph, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("CUDA out of memory at /srv/secret")

    files = {"file": photograph}
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "member_probabilities", fail)
        reply = client.post("/predict", files=files)
    assert "CUDA" not in refused(reply, 500, "internal")
    # The log has the id that the caller was given, and the reason.
    assert reply.json()["error"]["request_id"] in caplog.text
    assert "CUDA out of memory" in caplog.text
    assert client.post("/predict", files=files).status_code == 200


def test_a_failure_outside_scoring_is_the_same_json(client, photograph, monkeypatch):
    monkeypatch.setattr("api.routes_predict.PredictAnswer", None)
    refused(client.post("/predict", files={"file": photograph}), 500, "internal")


def test_a_score_that_is_no_number_is_never_sent(bundle_folder: Path, photograph):
    scorer = Scorer(load_bundle(bundle_folder))
    with TestClient(create_app([scorer], Settings()), raise_server_exceptions=False) as client:
        # After the start, where the golden score would have closed every route.
        with torch.no_grad():
            next(iter(scorer.classifiers[0].parameters())).fill_(float("nan"))
        reply = client.post("/predict", files={"file": photograph})
        refused(reply, 500, "non_finite_score")
        assert "NaN" not in reply.text
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/info", "/predict", "/nowhere", "/static/main.js"])
def test_every_reply_has_the_security_headers_and_an_id_of_its_own(client, path):
    first, second = client.get(path), client.get(path)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in first.headers["content-security-policy"]
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["referrer-policy"] == "no-referrer"
    assert first.headers["x-frame-options"] == "DENY"


def test_an_answer_is_never_stored(post, client, photograph):
    assert post(photograph).headers["cache-control"] == "no-store"
    assert post(b"").headers["cache-control"] == "no-store"


def test_the_page_has_no_inline_script_and_names_no_other_host():
    texts = [path for path in (ROOT / "api" / "page").iterdir() if path.is_file()]
    assert {".html", ".css", ".js", ".svg"} <= {path.suffix for path in texts}
    for file in texts:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(^|\s)// .*", "", text), file.name
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text), file.name
