"""A bundle without a melanoma class: the service answers classes, and nothing of melanoma."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tiny_service import refused

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def classes_scorer(folder_run: Any) -> Scorer:
    return Scorer(load_bundle(folder_run.weights))


@pytest.fixture(scope="module")
def classes_client(classes_scorer: Scorer) -> Iterator[TestClient]:
    with TestClient(create_app([classes_scorer], Settings())) as client:
        yield client


def answer_of(client: TestClient, data: bytes, **options: Any) -> Any:
    reply = client.post("/predict", files={"file": ("photo", data)}, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_classes_are_answered_and_melanoma_is_null(
    classes_client: TestClient, classes_scorer: Scorer, folder_run: Any
) -> None:
    for file in sorted(folder_run.tree.rglob("*.jpg"))[::40]:
        answer = answer_of(classes_client, file.read_bytes())
        for field in ("melanoma_probability", "threshold", "flagged", "prevalence"):
            assert answer[field] is None
        assert answer["thresholds"] == []
        # In the recipe's order and by its names, whatever these hold.
        assert list(answer["by_class"]) == list(folder_run.recipe.classes)
        assert sum(answer["by_class"].values()) == pytest.approx(1, abs=1e-9)
        assert answer["probability"] == max(answer["by_class"].values())
        assert answer["by_class"][answer["prediction"]] == answer["probability"]
        expected = classes_scorer.score(file.read_bytes())
        assert answer["by_class"] == pytest.approx(expected.by_class)
        assert len(answer["by_fold"]) == 2
        mean = sum(answer["by_fold"]) / 2
        assert mean == pytest.approx(answer["probability"])


@pytest.mark.parametrize("fields", [{}, {"method": "lime", "precision": "Low"}])
def test_explanations_and_batches_are_of_classes_too(
    classes_client: TestClient, folder_run: Any, fields: dict[str, str]
) -> None:
    data = sorted(folder_run.tree.rglob("*.jpg"))[0].read_bytes()
    expected = answer_of(classes_client, data)
    files = {"file": data}
    answer = classes_client.post("/explain", files=files, data=fields).json()
    assert answer["explanation"]["class"] == expected["prediction"]
    assert answer["prediction"]["melanoma_probability"] is None
    assert answer["prediction"]["by_class"] == pytest.approx(expected["by_class"], abs=1e-5)
    named = folder_run.recipe.classes[-1]
    reply = classes_client.post("/explain", files=files, data={**fields, "class": named})
    assert reply.json()["explanation"]["class"] == named
    # There is nothing that this name could stand for.
    reply = classes_client.post("/explain", files=files, data={**fields, "class": "melanoma"})
    message = refused(reply, 422, "invalid_field")
    assert ", ".join(folder_run.recipe.classes) in message
    assert message.endswith(folder_run.recipe.classes[-1])
    (result,) = classes_client.post("/predict/batch", files={"files": data}).json()["results"]
    assert result["melanoma_probability"] is None
    assert result["by_class"] == pytest.approx(expected["by_class"], abs=1e-5)


def test_info_names_the_classes_and_no_melanoma(
    classes_client: TestClient, folder_run: Any
) -> None:
    (model,) = classes_client.get("/info").json()["models"]
    assert model["classes"] == list(folder_run.recipe.classes)
    assert model["melanoma"] == []
    assert model["threshold"] is None
    assert 0 < model["auroc"]["low"] <= model["auroc"]["value"] <= model["auroc"]["high"]


def test_it_is_served_beside_one_that_knows_melanoma(
    scorer: Scorer, classes_scorer: Scorer, photograph: bytes
) -> None:
    with TestClient(create_app([scorer, classes_scorer], Settings())) as client:
        answers = {
            name: answer_of(client, photograph, params={"model": name})
            for name in ("tiny", "folders")
        }
    assert answers["tiny"]["melanoma_probability"] is not None
    assert answers["folders"]["melanoma_probability"] is None
    assert answers["folders"]["model"]["name"] == "folders"
