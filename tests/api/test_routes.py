"""The routes about the service: classes, report, metrics; and who may ask."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from tiny_service import encode, refused

from api import reports
from api.app import create_app
from api.settings import Settings
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.render.chart_words import Words
from melanoma.evaluation.render.charts import draw_charts
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer

TOKEN = "a-long-and-secret-word"
GUARDED = ["POST /predict", "POST /predict/batch", "POST /predict/patient", "POST /explain"]
PAGES = ["/info", "/classes", "/report", "/charts", "/metrics", "/report.html", "/MODEL_CARD.md"]
GUARDED += [f"GET {path}" for path in PAGES]
OPEN = ["/", "/static/favicon.svg", "/healthz", "/readyz"]


def test_the_classes_are_the_bundles_in_their_order(client, scorer):
    answer = client.get("/classes").json()
    assert answer["model"] == scorer.info()
    assert answer["classes"] == [
        {"name": "benign", "melanoma": False},
        {"name": "melanoma", "melanoma": True},
    ]
    refused(client.get("/classes?model=nobody"), 404, "unknown_model")
    refused(client.get("/classes?url=http://a"), 422, "unknown_field")
    refused(client.get("/classes?model=tiny&model=tiny"), 422, "invalid_field")


def test_the_report_is_the_bundles_byte_for_byte(client, bundle_folder):
    reply = client.get("/report?model=tiny")
    assert reply.content == (bundle_folder / "report.json").read_bytes()
    assert reply.headers["content-type"] == "application/json"
    refused(client.get("/report?model=nobody"), 404, "unknown_model")


def test_the_report_is_read_once_and_not_sent_to_whoever_has_it(fresh_client, monkeypatch):
    client = fresh_client
    first = client.get("/report", headers={"accept-encoding": "identity"})

    def read(*_: Any) -> None:
        raise AssertionError("it was read again")

    monkeypatch.setattr(reports, "_read", read)
    packed = client.get("/report", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(first.content) / 2
    assert packed.content == first.content
    assert packed.headers["etag"] == first.headers["etag"]
    for known in (first.headers["etag"], f'"other", {first.headers["etag"]}', "*"):
        same = client.get("/report", headers={"if-none-match": known})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == first.headers["etag"]
    assert client.get("/report", headers={"if-none-match": 'W/"other"'}).status_code == 200


def test_a_report_that_was_changed_after_the_start_is_not_served(bundle_folder, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_folder, folder)
    app = create_app([Scorer(load_bundle(folder))], Settings())
    report = json.loads((folder / "report.json").read_text())
    report["metrics"]["auroc"]["value"] = 1.0
    (folder / "report.json").write_text(json.dumps(report))
    with TestClient(app, raise_server_exceptions=False) as client:
        refused(client.get("/report"), 500, "internal")
        assert client.get("/classes").status_code == 200


def test_the_report_and_the_card_are_files_without_images_names(client, scorer):
    report = without_names(scorer.bundle.report)
    for path, kind, part in (
        ("/report.html", "text/html", render_html(report)),
        ("/MODEL_CARD.md", "text/markdown", scorer.bundle.backbone),
    ):
        reply = client.get(path)
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith(kind)
        file = f'attachment; filename="{scorer.bundle.name}_{path[1:]}"'
        assert reply.headers["content-disposition"] == file
        assert part in reply.text
        refused(client.get(f"{path}?model=nobody"), 404, "unknown_model")


def test_the_charts_are_those_of_the_report_in_the_language_asked_for(client, scorer):
    reply = client.get("/charts")
    assert reply.json()["charts"] == draw_charts(scorer.bundle.report)
    assert reply.json()["model"] == scorer.info()
    french = client.get("/charts", headers={"accept-language": "de-CH, fr-CH;q=0.9, en;q=0.5"})
    assert french.json()["charts"] == draw_charts(scorer.bundle.report, Words("fr"))
    assert "sensibilité" in french.text
    assert client.get("/charts", headers={"accept-language": "tlh"}).content == reply.content
    assert "Accept-Language" in reply.headers["vary"]
    assert french.headers["etag"] != reply.headers["etag"]
    known = {"if-none-match": reply.headers["etag"]}
    assert client.get("/charts", headers=known).status_code == 304
    refused(client.get("/charts?model=nobody"), 404, "unknown_model")


def test_the_charts_have_one_look_on_the_page_and_in_the_report(client, scorer):
    rules = client.get("/static/charts.css")
    assert rules.headers["content-type"].startswith("text/css")
    assert rules.text in render_html(scorer.bundle.report)
    colors = set(re.findall(r"var\((--chart-\w+)\)", rules.text))
    page = client.get("/static/style.css").text
    assert colors == set(re.findall(r"(--chart-\w+):", page))


class Found:
    """What /metrics says."""

    def __init__(self, client: TestClient) -> None:
        reply = client.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.text = reply.text
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(reply.text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"melanoma_{name}", frozenset(labels.items())))


def test_the_metrics_count_what_was_asked_and_answered(fresh_client, fresh_app, photograph, scorer):
    client = fresh_client
    before = Found(client)
    assert before("photographs_total", model="tiny", outcome="scored") == 0
    assert before("ready") == 1
    unlabeled = ("name", "image_type")
    info = {key: str(value) for key, value in scorer.info().items() if key not in unlabeled}
    assert before("bundle_info", model="tiny", **info) == 1
    files = {"file": photograph}
    for _ in range(3):
        assert client.post("/predict", files=files).status_code == 200
    client.post("/predict", files={"file": b"x"})
    client.post("/predict/batch", files=[("files", photograph), ("files", b"")])
    client.post("/explain", files=files)
    client.get("/secret/../nowhere<script>")
    client.get("/static/secret.js")
    fresh_app.state.desk.batcher._present = 5
    after = Found(client)
    fresh_app.state.desk.batcher._present = 0
    assert after("requests_total", route="/predict", code="200") == 3
    assert after("requests_total", route="/predict", code="415") == 1
    assert after("requests_total", route="/predict/batch", code="200") == 1
    assert after("requests_total", route="other", code="404") == 1
    assert after("requests_total", route="/static", code="404") == 1
    assert after("request_seconds_count", route="/predict") == 4
    assert 0 < (after("request_seconds_sum", route="/predict") or 0) < 60
    outcomes = {"scored": 4, "unsupported_format": 1, "empty_file": 1, "explained": 1}
    for outcome, count in outcomes.items():
        assert after("photographs_total", model="tiny", outcome=outcome) == count, outcome
    assert after("batch_size_sum", model="tiny") == 4
    assert after("explanation_seconds_count", model="tiny", method="gradcam") == 1
    assert after("queue_length") == 5
    assert "secret" not in after.text


def test_a_failing_model_is_counted(fresh_client, photograph, monkeypatch):
    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(Scorer, "member_probabilities", fail)
    for path in ("/predict", "/explain"):
        refused(fresh_client.post(path, files={"file": photograph}), 500, "internal")
    found = Found(fresh_client)
    assert found("photographs_total", model="tiny", outcome="internal") == 2
    assert found("requests_total", route="/predict", code="500") == 1


def test_two_applications_count_apart(scorer, photograph):
    first, second = (create_app([scorer], Settings()) for _ in range(2))
    with TestClient(first) as one, TestClient(second) as two:
        one.post("/predict", files={"file": photograph})
        assert Found(one)("photographs_total", model="tiny", outcome="scored") == 1
        assert Found(two)("photographs_total", model="tiny", outcome="scored") == 0


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


def test_a_folder_of_two_reports_is_answered_by_name(scorer, folder_run: Any) -> None:
    other = Scorer(load_bundle(folder_run.weights))
    with TestClient(create_app([scorer, other], Settings())) as client:
        for bundle in (scorer.bundle, other.bundle):
            reply = client.get(f"/report?model={bundle.name}")
            assert reply.content == (Path(bundle.folder) / "report.json").read_bytes()
        answer = client.get("/classes?model=folders").json()
    assert [found["name"] for found in answer["classes"]] == list(folder_run.recipe.classes)
    assert not any(found["melanoma"] for found in answer["classes"])


def test_the_metrics_of_reports_are_served_as_data(client, monkeypatch):
    monkeypatch.setitem(METRICS, "toy", replace(METRICS["ece"], title="Toy", title_fr="Jouet"))
    answer = client.get("/info").json()["metrics"]
    assert list(answer) == list(METRICS)
    assert answer["toy"]["title"] == {"en": "Toy", "fr": "Jouet"}
    assert answer["accuracy"]["card"] is None, "a card of the report alone"
    assert answer["auroc"]["card"] < answer["ece"]["card"]
    described = client.get("/openapi.json").json()["components"]["schemas"]["MetricAnswer"]
    assert set(described["properties"]) == set(answer["toy"])
