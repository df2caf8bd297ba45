"""Photographs damaged in every way that Hypothesis finds: a score or a refusal, never else."""

from __future__ import annotations

import io
import math
import resource
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_service import ROOT, encode, refused

from api.error_answers import STATUS
from melanoma.data.images import MAX_PIXELS, decode_image
from melanoma.errors import ImageError

Mutation = Callable[[bytearray], None]
steady = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def _photographs() -> list[bytes]:
    """The golden phantom in the formats that are taken, and in a few of their variants."""
    golden = (ROOT / "tests" / "data" / "golden_phantom.jpg").read_bytes()
    image = Image.open(io.BytesIO(golden)).convert("RGB").resize((96, 72))
    exif = Image.Exif()
    exif[0x0112] = 6
    second = image.rotate(180)
    return [
        golden,
        encode(image, "JPEG", progressive=True, exif=exif),
        encode(image.convert("CMYK"), "JPEG"),
        encode(image),
        encode(image.quantize(32)),
        encode(image.convert("RGBA")),
        encode(image, "PNG", save_all=True, append_images=[second]),
        encode(image, "WEBP"),
        encode(image, "WEBP", lossless=True, save_all=True, append_images=[second]),
    ]


PHOTOGRAPHS = _photographs()
# Where a format keeps its sizes and lengths, a change matters more than in its pixels.
places = st.one_of(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0, 0.06))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A photograph with one to four places overwritten, cut out, doubled, cut off or exchanged."""
    data = bytearray(draw(st.sampled_from(PHOTOGRAPHS)))
    for _ in range(draw(st.integers(1, 4))):
        start = int(draw(places) * len(data))
        length = draw(st.sampled_from([1, 1, 2, 4, 16, 200]))
        piece = data[start : start + length]
        kind = draw(st.sampled_from(["set", "flip", "cut", "double", "put in", "end", "exchange"]))
        if kind == "set":
            data[start : start + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "flip" and piece:
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[start : start + length]
        elif kind == "double":
            data[start:start] = piece
        elif kind == "put in":
            data[start:start] = draw(st.binary(max_size=40))
        elif kind == "end":
            del data[max(start, 1) :]
        else:
            other = draw(st.sampled_from(PHOTOGRAPHS))
            data[start:] = other[int(draw(places) * len(other)) :]
    return bytes(data)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_the_decoder_gives_pixels_or_a_refusal_that_the_service_knows() -> None:
    outcomes: Counter[str] = Counter()
    before = _peak_bytes()

    @settings(steady, max_examples=800)
    @given(data=damaged())
    def run(data: bytes) -> None:
        try:
            photograph = decode_image(data)
        except ImageError as error:
            assert 400 <= STATUS[error.code] < 500
            outcomes[error.code] += 1
            return
        height, width, channels = photograph.pixels.shape
        assert (channels, photograph.pixels.dtype.name) == (3, "uint8")
        assert height * width <= MAX_PIXELS
        outcomes["pixels"] += 1

    run()
    # The damage is neither so light nor so heavy that one side is never seen.
    for outcome in ("pixels", "corrupt_image", "unsupported_format"):
        assert outcomes[outcome] >= 30, outcomes
    # At most a few copies of the largest photograph that is decoded, 3 or 4 bytes a pixel.
    assert _peak_bytes() - before < 20 * MAX_PIXELS


def _check(reply: Any) -> int:
    if reply.status_code == 200:
        answer = reply.json()
        assert 0 <= answer["melanoma_probability"] <= 1
        assert math.isfinite(sum(answer["by_fold"]))
    else:
        code = reply.json()["error"]["code"]
        assert 400 <= reply.status_code < 500, reply.text
        refused(reply, STATUS[code], code)
    return int(reply.status_code)


def test_the_service_answers_a_damaged_photograph_with_a_score_or_a_refusal(
    client: TestClient,
) -> None:
    found: Counter[int] = Counter()

    @settings(steady, max_examples=150)
    @given(data=damaged())
    def run(data: bytes) -> None:
        found[_check(client.post("/predict", files={"file": data}))] += 1

    run()
    assert set(found) >= {200, 415, 422}
    assert client.get("/readyz").status_code == 200


def test_in_a_batch_each_damaged_photograph_is_answered_for_itself(client: TestClient) -> None:
    @settings(steady, max_examples=15)
    @given(uploads=st.lists(damaged(), min_size=1, max_size=8))
    def run(uploads: list[bytes]) -> None:
        reply = client.post("/predict/batch", files=[("files", data) for data in uploads])
        assert reply.status_code == 200, reply.text
        for data, result in zip(uploads, reply.json()["results"], strict=True):
            alone = client.post("/predict", files={"file": data}).json()
            assert result["success"] == alone["success"]
            if not alone["success"]:
                assert result["error"]["code"] == alone["error"]["code"]

    run()


def test_a_damaged_photograph_is_explained_or_refused(client: TestClient) -> None:
    @settings(steady, max_examples=25)
    @given(data=damaged())
    def run(data: bytes) -> None:
        scored = client.post("/predict", files={"file": data})
        explained = client.post("/explain", files={"file": data})
        assert explained.status_code == scored.status_code, explained.text

    run()


@pytest.mark.parametrize("boundary", [b"B", b"--", b"\r\n"])
def test_a_damaged_form_is_answered_with_a_score_or_a_refusal(
    client: TestClient, photograph: bytes, boundary: bytes
) -> None:
    head = b'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    whole = b"--B\r\n" + head + photograph[:500] + b"\r\n--B--\r\n"
    kind = {"content-type": b"multipart/form-data; boundary=" + boundary.strip()}

    @settings(steady, max_examples=60)
    @given(
        start=st.integers(0, 90), length=st.integers(0, 40), piece=st.binary(max_size=20),
        end=st.integers(0, len(whole)),
    )  # fmt: skip
    def run(start: int, length: int, piece: bytes, end: int) -> None:
        body = (whole[:start] + piece + whole[start + length :])[:end]
        _check(client.post("/predict", content=body, headers=kind))

    run()


def test_damaged_json_is_answered_with_a_refusal(client: TestClient) -> None:
    whole = b'{"image": "aGVsbG8=", "explain": true, "precision": "Low", "class": null, "seed": 1}'

    @settings(steady, max_examples=200)
    @given(
        start=st.integers(0, len(whole)), length=st.integers(0, 20),
        piece=st.one_of(
            st.binary(max_size=12),
            st.sampled_from([b"1e999", b"NaN", b"[" * 5000, b"\\ud800", b"-0", b'"\x00"', b"{}"]),
        ),
    )  # fmt: skip
    def run(start: int, length: int, piece: bytes) -> None:
        body = whole[:start] + piece + whole[start + length :]
        kind = {"content-type": "application/json"}
        assert _check(client.post("/predict", content=body, headers=kind)) != 200

    run()
