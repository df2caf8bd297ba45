"""Addresses and what surrounds an answer: HEAD, slashes, a proxy's prefix, headers, compression."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.app import ROUTES, create_app
from api.routes import PAGE
from api.settings import Settings
from melanoma.scoring.scorer import Scorer

PAGES = [*sorted(ROUTES.pages), "/static/main.js", "/static/favicon.svg", "/openapi.json"]
OWN = ("x-request-id", "date", "server")


@pytest.fixture
def below(scorer: Scorer) -> Iterator[TestClient]:
    """The service behind a proxy that serves it at /skin."""
    with TestClient(create_app([scorer], Settings(root_path="/skin"))) as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_head_is_get_without_a_body(client: TestClient, path: str) -> None:
    client.get(path)  # what is counted or kept is so before both
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    same = {n: v for n, v in whole.headers.items() if n not in OWN}
    if path == "/metrics":
        same.pop("content-length")  # it counts the request between the two
    assert {n: head.headers[n] for n in same} == same


def test_head_of_what_only_posts_is_refused(client: TestClient) -> None:
    reply = client.head("/predict")
    assert (reply.status_code, reply.headers["allow"], reply.content) == (405, "POST", b"")
    assert client.head("/nowhere").status_code == 404


def test_a_slash_at_the_end_changes_nothing(fresh_client: TestClient, photograph: bytes) -> None:
    client = fresh_client
    for path in ("/info", "/healthz", "/classes", "/metrics"):
        assert client.get(path + "/").status_code == 200
    for path, field in (("/predict", "file"), ("/predict/batch", "files"), ("/explain", "file")):
        reply = client.post(path + "/", files={field: photograph}, follow_redirects=False)
        assert reply.status_code == 200, path
    labels = client.get("/metrics").text
    assert 'route="/predict/batch"' in labels
    assert 'route="other"' not in labels


def _labels(client: TestClient) -> set[str]:
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if line.startswith("melanoma_requests_total")}


@pytest.mark.parametrize("prefix", ["", "/skin"])
def test_a_prefix_changes_no_answer_label_or_header(
    fresh_client: TestClient, below: TestClient, photograph: bytes, prefix: str
) -> None:
    """Whether the proxy takes it off or not."""
    client = fresh_client
    for path in (*PAGES, "/static/nothing", "/nowhere"):
        plain, moved = client.get(path), below.get(prefix + path)
        assert moved.status_code == plain.status_code, path
        own = (*OWN, "content-length")
        assert {n: v for n, v in moved.headers.items() if n not in own} == {
            n: v for n, v in plain.headers.items() if n not in own
        }, path
    files = {"file": photograph}
    plain, moved = (
        client.post("/predict", files=files),
        below.post(f"{prefix}/predict", files=files),
    )
    assert moved.json()["by_fold"] == plain.json()["by_fold"]
    assert _labels(below) == _labels(client)


def test_the_prefix_alone_leads_to_its_slash_and_openapi_names_it(below: TestClient) -> None:
    reply = below.get("/skin", follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (307, "/skin/")
    assert below.get("/openapi.json").json()["servers"] == [{"url": "/skin"}]


def test_every_link_of_the_page_is_relative() -> None:
    for file in (PAGE / "index.html", *PAGE.glob("*.js"), *PAGE.glob("*.css")):
        text = file.read_text()
        for start in ('href="/', 'src="/', 'fetch("/', "fetch(`/", 'url("/', 'from "/'):
            assert start not in text, (file.name, start)


def test_the_page_is_compressed_for_those_who_can_and_scores_are_not(
    client: TestClient, photograph: bytes
) -> None:
    for path in ("/", "/static/main.js", "/static/style.css"):
        packed = client.get(path, headers={"accept-encoding": "gzip"})
        plain = client.get(path, headers={"accept-encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content
        assert "accept-encoding" in packed.headers["vary"].lower()
    reply = client.post("/predict", files={"file": photograph})
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip; q=0.0, br"])
def test_who_refuses_gzip_gets_none(client: TestClient, accepted: str) -> None:
    for path in ("/", "/report"):
        reply = client.get(path, headers={"accept-encoding": accepted})
        assert "content-encoding" not in reply.headers
        packed = client.get(path, headers={"accept-encoding": "gzip;q=0.5"})
        assert packed.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("prefix", ["", "/skin"])
def test_uvicorn_s_own_prefix_is_known_whether_the_proxy_takes_it_off_or_not(
    scorer: Scorer, prefix: str
) -> None:
    """Uvicorn puts its --root-path before the path that comes."""
    with TestClient(create_app([scorer], Settings()), root_path="/skin") as client:
        for path in ("/info", "/healthz/", "/static/main.js", "/"):
            assert client.get(f"/skin{prefix}{path}").status_code == 200, path
        assert 'route="other"' not in client.get("/skin/metrics").text


@pytest.mark.parametrize("range_", ["x", "bytes=99999999-", "bytes=0-9"])
def test_the_page_s_files_come_whole(client: TestClient, range_: str) -> None:
    reply = client.get("/static/main.js", headers={"range": range_})
    assert (reply.status_code, reply.content) == (200, (PAGE / "main.js").read_bytes())


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/static/charts.css"])
def test_the_page_s_files_are_kept_and_asked_for_anew(client: TestClient, path: str) -> None:
    assert client.get(path).headers["cache-control"] == "no-cache"
