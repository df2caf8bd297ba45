"""/predict/patient: each photograph's own answer, and where its lesion stands in the patient."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from made_content import context_stack
from tiny_service import refused

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.scorer import Scorer

PATH = "/predict/patient"
COUNT = 6


@pytest.fixture(scope="module")
def photographs(bundle_folder: Path) -> list[bytes]:
    """Six different phantoms."""
    files = sorted((bundle_folder.parent / "data" / "jpeg").rglob("*.jpg"))[:COUNT]
    return [file.read_bytes() for file in files]


@pytest.fixture(scope="module")
def client(scorer: Scorer) -> Iterator[TestClient]:
    """The bundle, the same with a stack that lowers every score, and without melanoma classes."""
    stack = context_stack(-50.0, 1.0, {"percentile": 0.0})
    lowering = replace(scorer.bundle, name="lowering", context=stack)
    nobody = replace(scorer.bundle, name="nobody", melanoma=(), thresholds=())
    bundles = [scorer.bundle, lowering, nobody]
    app = create_app([Scorer(one, members=scorer.members) for one in bundles], Settings())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def send(client: TestClient, photographs: list[bytes], **fields: Any) -> Any:
    files = [("files", ("photo", data)) for data in photographs]
    return client.post(PATH, files=files, data=fields)


def answer_of(reply: Any) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    assert [result["index"] for result in found["results"]] == list(range(len(found["results"])))
    return found


def test_each_photograph_has_its_own_answer_and_its_rank(client, photographs):
    answer = answer_of(send(client, photographs))
    assert answer["experimental"] is True and any("experimental" in n for n in answer["notes"])
    shares = [result["melanoma_probability"] for result in answer["results"]]
    alone = client.post("/predict", files={"file": photographs[0]}).json()
    assert shares[0] == pytest.approx(alone["melanoma_probability"], abs=1e-5)
    assert answer["results"][0]["verdict"] == alone["verdict"]
    ranks = [result["rank_in_patient"] for result in answer["results"]]
    assert ranks == [1 + sum(other > own for other in shares) for own in shares]
    assert answer["distinct_lesions"] == COUNT == len(answer["lesions"])
    for lesion in answer["lesions"]:
        assert lesion["text"].startswith(f"Rank {lesion['rank_in_patient']} of {COUNT}")
    assert answer["context"] is None and any("no context" in note for note in answer["notes"])


def test_the_order_of_the_files_changes_no_lesion(client, photographs):
    first = answer_of(send(client, photographs))["lesions"]
    order = [3, 0, 5, 1, 4, 2]
    found = answer_of(send(client, [photographs[n] for n in order]))["lesions"]
    for place, number in enumerate(order):
        ours, theirs = found[place], first[number]
        for name in ("rank_in_patient", "outlier", "flagged"):
            assert ours[name] == theirs[name]
        assert ours["odds_of_others"] == pytest.approx(theirs["odds_of_others"], rel=1e-4)


def test_photographs_of_one_lesion_are_one_lesion(client, photographs):
    ids = ["a", "", "a", "", "b", ""]
    form = answer_of(send(client, photographs, lesion_id=ids, site=["torso"] * COUNT))
    images = [base64.b64encode(data).decode() for data in photographs]
    told = {"images": images, "lesion_id": ids, "age": 40, "sex": "female"}
    json = answer_of(client.post(PATH, json=told))
    for answer in (form, json):
        shares = [result["melanoma_probability"] for result in answer["results"]]
        lesion = answer["lesions"][0]
        assert (lesion["lesion_id"], lesion["images"]) == ("a", [0, 2])
        assert lesion["melanoma_probability"] == pytest.approx((shares[0] + shares[2]) / 2)
        assert [lesion["lowest"], lesion["highest"]] == sorted([shares[0], shares[2]])
        assert answer["distinct_lesions"] == 5
        assert [result["lesion"] for result in answer["results"]] == [0, 1, 0, 2, 3, 4]
    assert any(note.startswith("not_used: age and sex") for note in json["notes"])


def test_a_damaged_photograph_costs_the_others_nothing(client, photographs):
    broken = [photographs[0], photographs[1][:200], *photographs[2:]]
    answer = answer_of(send(client, broken))
    assert [result["success"] for result in answer["results"]] == [n != 1 for n in range(COUNT)]
    assert answer["distinct_lesions"] == COUNT - 1
    assert answer["lesions"][1]["images"] == [2]


def test_two_photographs_have_the_single_image_answers_and_it_is_said(client, photographs):
    answer = answer_of(send(client, photographs[:2]))
    assert any(note.startswith("fewer_than_3_lesions") for note in answer["notes"])
    assert [result["rank_in_patient"] for result in answer["results"]] == [None, None]


def test_a_context_that_lowers_every_score_takes_no_flag_away(client, photographs):
    files = [("files", data) for data in photographs]
    answer = answer_of(client.post(f"{PATH}?model=lowering&threshold=0", files=files))
    assert answer["context"]["origin"] == "a test"
    assert all(lesion["context_probability"] < 1e-6 for lesion in answer["lesions"])
    assert all(result["flagged"] for result in answer["results"])
    assert all(lesion["flagged"] for lesion in answer["lesions"])
    assert {result["verdict"]["code"] for result in answer["results"]} == {"flagged"}


def test_a_bundle_without_melanoma_ranks_nobody(client, photographs):
    reply = client.post(f"{PATH}?model=nobody", files=[("files", data) for data in photographs[:2]])
    assert "no melanoma class" in refused(reply, 422, "invalid_field")
