"""/predict/batch: several photographs in one request, an answer or an error for each."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from tiny_service import encode, refused

from api.app import create_app
from api.settings import Settings
from melanoma.data.images import MAX_BYTES
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def photographs(bundle_folder: Path) -> list[bytes]:
    """Thirty-two different phantoms."""
    files = sorted((bundle_folder.parent / "data" / "jpeg").rglob("*.jpg"))[:32]
    return [file.read_bytes() for file in files]


def send(client: TestClient, photographs: list[bytes], name: str = "files") -> Any:
    files = [(name, ("photo", data)) for data in photographs]
    return client.post("/predict/batch", files=files)


def results_of(reply: Any) -> list[Any]:
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [result["index"] for result in results] == list(range(len(results)))
    return list(results)


def test_each_photograph_is_answered_in_order_as_predict_and_the_scorer_do(
    client, post, photographs, scorer
):
    results = results_of(send(client, photographs))
    found = [result["melanoma_probability"] for result in results]
    offline = [scorer.score(data).melanoma_probability for data in photographs]
    assert found == pytest.approx(offline, abs=1e-5)
    assert len({round(value, 6) for value in found}) > 16, "the photographs are told apart"
    alone = [post(data).json()["melanoma_probability"] for data in photographs[:4]]
    assert found[:4] == pytest.approx(alone, abs=1e-5)
    assert set(results[0]) == {"index", "success", *scorer.score(photographs[0]).as_dict()}


def test_one_damaged_photograph_costs_the_others_nothing(client, photographs):
    whole = results_of(send(client, photographs))
    damaged = [*photographs]
    damaged[17] = damaged[17][: len(damaged[17]) // 2]
    reply = send(client, damaged)
    results = results_of(reply)
    assert reply.json()["success"] is True
    assert [r["success"] for r in results] == [n != 17 for n in range(32)]
    assert set(results[17]) == {"index", "success", "error"}
    assert results[17]["error"]["code"] == "corrupt_image"
    assert results[17]["error"]["message"].startswith("the image is damaged")
    for n in (0, 16, 18, 31):
        assert results[n]["melanoma_probability"] == pytest.approx(
            whole[n]["melanoma_probability"], abs=1e-5
        )


def test_the_answer_names_the_model_and_carries_the_disclaimer(client, photographs, scorer):
    reply = send(client, photographs[:1])
    answer = reply.json()
    assert answer["model"] == asdict(scorer.info())
    assert "not a medical device" in answer["disclaimer"]
    assert answer["request_id"] == reply.headers["x-request-id"]
    assert answer["milliseconds"] > 0
    refused(client.post("/predict/batch?model=nobody"), 404, "unknown_model")
    refused(client.post("/predict/batch?url=http://a"), 422, "unknown_field")


def test_json_and_either_name_of_the_field_mean_the_same(client, photographs):
    three = photographs[:3]
    images = [base64.b64encode(data).decode() for data in three]
    replies = [
        send(client, three),
        send(client, three, "file"),
        client.post("/predict/batch", json={"images": images}),
    ]
    found = [[r["melanoma_probability"] for r in results_of(reply)] for reply in replies]
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert found[2] == pytest.approx(found[0], abs=1e-6)


def test_every_kind_of_error_stands_in_its_place(client, photograph):
    files = [b"", b"text", photograph, b"\0" * (MAX_BYTES + 1), encode(Image.new("RGB", (4, 4)))]
    results = results_of(send(client, files))
    codes = [result.get("error", {}).get("code") for result in results]
    assert codes == ["empty_file", "unsupported_format", None, "too_large", "too_small"]
    images = ["?!", base64.b64encode(photograph).decode()]
    first, second = results_of(client.post("/predict/batch", json={"images": images}))
    assert first["error"]["code"] == "bad_base64"
    assert second["success"] is True
    (only,) = results_of(client.post("/predict/batch", json={"images": ["?!"]}))
    assert only["error"]["code"] == "bad_base64"


def test_a_failing_model_is_an_error_in_each_place(client, photographs, monkeypatch):
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA out of memory at /srv/secret")

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "member_probabilities", fail)
        reply = send(client, photographs[:2])
    assert "CUDA" not in reply.text
    assert [result["error"]["code"] for result in results_of(reply)] == ["internal"] * 2
    assert [result["success"] for result in results_of(send(client, photographs[:2]))] == [True] * 2


def test_a_score_that_is_no_number_is_an_error_in_its_place(bundle_folder: Path, photographs):
    scorer = Scorer(load_bundle(bundle_folder))
    with TestClient(create_app([scorer], Settings())) as client:
        # After the start, where the golden score would have closed every route.
        with torch.no_grad():
            next(iter(scorer.classifiers[0].parameters())).fill_(float("nan"))
        reply = send(client, photographs[:2])
    assert "NaN" not in reply.text
    codes = [result["error"]["code"] for result in results_of(reply)]
    assert codes == ["non_finite_score"] * 2


def _json(value: Any) -> dict[str, Any]:
    return {"content": json.dumps(value), "headers": {"content-type": "application/json"}}


REFUSED: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "nothing": ({}, 422, "missing_file", "`files`"),
    "text": ({"data": {"files": "x"}}, 422, "missing_file", "`files`"),
    "text beside a file": (
        {"files": {"files": b"x"}, "data": {"files": "x"}}, 422, "missing_file", "`files`",
    ),
    "another field": ({"files": {"photo": b"x"}}, 422, "unknown_field", "`files`"),
    "a field beside": (
        {"files": {"files": b"x"}, "data": {"explain": "true"}}, 422, "unknown_field", "`files`",
    ),
    "33 files": ({"files": [("files", b"x")] * 33}, 422, "too_many_files", "32"),
    "33 of both names": (
        {"files": [("files", b"x")] * 20 + [("file", b"x")] * 13}, 422, "too_many_files", "32",
    ),
    "33 in JSON": (_json({"images": ["aaaa"] * 33}), 422, "too_many_files", "32"),
    "a million in JSON": (_json({"images": [""] * 1_000_000}), 400, "bad_json", "values"),
    "an empty list": (_json({"images": []}), 422, "missing_file", "images"),
    "no list": (_json({"images": "aaaa"}), 422, "invalid_field", "images"),
    "numbers": (_json({"images": [1]}), 422, "invalid_field", "images"),
    "an empty object": (_json({}), 422, "missing_file", "images"),
    "one image": (_json({"image": "aaaa"}), 422, "unknown_field", "images"),
    "no object": (_json([]), 400, "bad_json", "images"),
    "an address": (_json({"images": ["aaaa"], "url": "http://a"}), 422, "unknown_field", "images"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_batch_is_refused(client, what):
    options, status, code, word = REFUSED[what]
    assert word in refused(client.post("/predict/batch", **options), status, code)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=B", "application/json"])
def test_a_batch_has_64_megabytes_whatever_its_header_says(client, kind):
    headers = {"content-type": kind, "content-length": "999999999999"}
    reply = client.post("/predict/batch", content=b"--B", headers=headers)
    assert "64,000,000" in refused(reply, 413, "too_large")

    def chunks() -> Any:
        yield b'--B\r\nContent-Disposition: form-data; name="files"; filename="f"\r\n\r\n'
        for _ in range(100):
            yield b"\0" * 1_000_000

    reply = client.post("/predict/batch", content=chunks(), headers={"content-type": kind})
    assert "64,000,000" in refused(reply, 413, "too_large")


def test_a_batch_larger_than_a_photograph_is_accepted_and_never_touches_the_disk(
    client, monkeypatch
):
    def spooled(self: Any) -> None:
        raise AssertionError("an upload went to the disk")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", spooled)
    noise = np.random.default_rng(0).integers(0, 256, (1750, 1750, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), compress_level=0)
    results = results_of(send(client, [data, b"\0" * 30_000_000, data]))
    assert [result["success"] for result in results] == [True, False, True]
    assert results[1]["error"]["code"] == "too_large"


def test_a_full_queue_refuses_a_batch_before_it_is_read(scorer):
    app = create_app([scorer], Settings(queue=0))
    with TestClient(app) as client:
        app.state.service.batcher._present = 1
        headers = {"content-type": "multipart/form-data"}
        reply = client.post("/predict/batch", content=b"no form", headers=headers)
        refused(reply, 503, "busy")
        assert int(reply.headers["retry-after"]) >= 1
