"""The routes about the service: classes, report, metrics; and who may ask."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from tiny_service import refused

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


def test_the_classes_are_the_bundles_in_their_order(client, scorer):
    answer = client.get("/classes").json()
    assert answer["model"] == asdict(scorer.info())
    assert answer["classes"] == [
        {"name": "benign", "melanoma": False},
        {"name": "melanoma", "melanoma": True},
    ]
    refused(client.get("/classes?model=nobody"), 404, "unknown_model")
    refused(client.get("/classes?url=http://a"), 422, "unknown_field")
    refused(client.get("/classes?model=tiny&model=tiny"), 422, "invalid_field")
    for name in ("threshold", "prevalence"):
        twice = f"/predict?{name}=0.1&{name}=0.9"
        said = refused(client.post(twice, files={"file": b"x"}), 422, "invalid_field")
        assert said.startswith(f"{name}: ")


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
    strong = first.headers["etag"].removeprefix("W/")
    for known in (first.headers["etag"], f'"other", {first.headers["etag"]}', strong, "*"):
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
    with TestClient(app) as client:
        message = refused(client.get("/report"), 500, "internal")
        assert "changed or removed" in message
        (folder / "report.json").unlink()
        assert refused(client.get("/report"), 500, "internal") == message
        assert client.get("/classes").status_code == 200


def test_the_card_is_of_the_bundle_that_scores_whatever_became_of_its_folder(
    bundle_folder, tmp_path
):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_folder, folder)
    app = create_app([Scorer(load_bundle(folder))], Settings())
    recipe = folder / "recipe.yaml"
    assert "backbone: tiny_resnet" in recipe.read_text()
    recipe.write_text(recipe.read_text().replace("backbone: tiny_resnet", "backbone: resnet18"))
    with TestClient(app, raise_server_exceptions=False) as client:
        card = client.get("/MODEL_CARD.md").text
        recipe.unlink()
        assert client.get("/MODEL_CARD.md").text == card
    assert "tiny_resnet" in card
    assert "resnet18" not in card


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
        known = {"if-none-match": reply.headers["etag"]}
        assert client.get(path, headers=known).status_code == 304
        assert "304" in client.get("/openapi.json").json()["paths"][path]["get"]["responses"]


def test_the_charts_are_those_of_the_report_in_the_language_asked_for(client, scorer):
    reply = client.get("/charts")
    assert reply.json()["charts"] == draw_charts(scorer.bundle.report)
    assert reply.json()["model"] == asdict(scorer.info())
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
