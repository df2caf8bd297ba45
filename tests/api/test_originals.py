"""What the five originals' clients send and read is taken here as it is (docs/coming-from.md)."""

from __future__ import annotations

import base64
import textwrap

import pytest
from fastapi.testclient import TestClient
from tiny_service import refused

from api.app import create_app
from api.limits import JSON_BYTES
from api.settings import Settings
from melanoma.data.images import MAX_BYTES


def _score(reply) -> float:
    assert reply.status_code == 200, reply.text
    return reply.json()["melanoma_probability"]


def test_a_data_address_and_wrapped_base64_are_the_same_photograph(client, photograph):
    text = base64.b64encode(photograph).decode()
    wrapped = "\n".join(textwrap.wrap(text, 64)) + "\r\n"
    plain = _score(client.post("/predict", json={"image": text}))
    for image in (wrapped, f"data:image/jpeg;base64,{text}", f"DATA:;charset=x;BASE64,{wrapped}"):
        assert _score(client.post("/predict", json={"image": image})) == plain
    both = client.post("/predict/batch", json={"images": [f"data:image/jpeg;base64,{text}", text]})
    assert [one["melanoma_probability"] for one in both.json()["results"]] == pytest.approx(
        [plain, plain], abs=1e-6
    )
    # A body of base64 that was wrapped may be as much longer as its line ends are.
    assert len(text) and JSON_BYTES > MAX_BYTES * 4 / 3 * 68 / 64


@pytest.mark.parametrize("text", ["data:image/png;base64,", "data:;base64,?", "data:base64,aaaa"])
def test_a_data_address_without_a_photograph_is_refused(client, text):
    reply = client.post("/predict", json={"image": text})
    refused(reply, 422, "empty_file" if text.endswith("base64,") else "bad_base64")


@pytest.mark.parametrize("precision", ["low", "LOW", "Low"])
def test_a_precision_is_known_in_any_case(client, photograph, precision):
    image = base64.b64encode(photograph).decode()
    body = {"image": image, "explain": True, "precision": precision}
    reply = client.post("/predict", json=body)
    assert reply.json()["explanation"]["precision"] == "Low"


@pytest.mark.parametrize("prefix", ["", "/skin"])
def test_the_originals_addresses_are_aliases_under_a_prefix_too(scorer, photograph, prefix):
    with TestClient(create_app([scorer], Settings(root_path=prefix))) as client:
        found = client.post(f"{prefix}/api/predict", files={"file": photograph})
        assert _score(found) == _score(client.post("/predict", files={"file": photograph}))
        info = f"{prefix}/api/info"
        assert client.get(info).json()["models"] == client.get("/info").json()["models"]
        assert client.get(f"{prefix}/api/report/").content == client.get("/report").content
        assert client.head(f"{prefix}/api/info").status_code == 200
        refused(client.get(f"{prefix}/api/predict"), 405, "method_not_allowed")
        refused(client.get(f"{prefix}/api/metrics"), 404, "not_found")
        assert 'route="/predict"' in client.get("/metrics").text
        assert "/api/" not in client.get("/metrics").text


def test_an_alias_asks_for_the_token_as_its_route_does(scorer, photograph):
    with TestClient(create_app([scorer], Settings(token="secret"))) as client:
        refused(client.get("/api/info"), 401, "unauthorized")
        refused(client.get("/api/report"), 401, "unauthorized")
        refused(client.post("/api/predict", files={"file": photograph}), 401, "unauthorized")
        allowed = {"authorization": "Bearer secret"}
        assert client.get("/api/info", headers=allowed).status_code == 200
