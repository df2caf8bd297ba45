"""Schemathesis over the service's own OpenAPI: whatever is sent, the answer is a documented one."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from api.app import create_app
from api.settings import Settings
from melanoma.scoring.explain.explain_options import PRECISIONS
from melanoma.scoring.scorer import Scorer

TOKEN = {"Authorization": "Bearer s3cret"}
PATIENCE = 600  # seconds; schemathesis gives up after ten, which a busy machine needs for LIME
load_all_checks()
# That the bytes are no photograph, and the class none of the bundle's, no schema can say.
BEYOND_SCHEMA = [CHECKS.get_one("positive_data_acceptance")]
# Of a body that was changed after it was drawn, schemathesis does not know that it is allowed.
CHANGED = [CHECKS.get_one("negative_data_rejection")]
# The same cases on every machine, and nothing kept from one run to the next.
steady = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def guarded(scorer: Scorer) -> Iterator[FastAPI]:
    """With a token, since the schema says that there is one."""
    with pytest.MonkeyPatch.context() as patch:
        # An explanation gives way to whatever else this machine does; here it is waited for.
        patch.setattr("api.explain_slot.step_back", lambda niceness: None)
        patch.setitem(PRECISIONS, "Low", 10)  # how often is no matter here
        yield create_app([scorer], Settings(token="s3cret", lime_seconds=600))


@pytest.fixture(scope="module")
def operations(guarded: FastAPI) -> list[APIOperation]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", guarded, headers=TOKEN)
    return [found.ok() for found in schema.get_all_operations()]


def ask_each(
    operations: list[APIOperation],
    mode: GenerationMode,
    ask: Callable[[Case], Any],
    *,
    examples: int,
) -> dict[str, Counter[int]]:
    """The statuses of each operation's answers."""
    return {
        operation.label: _ask_one(operation, mode, ask, examples=examples)
        for operation in operations
    }


def _ask_one(
    operation: APIOperation, mode: GenerationMode, ask: Callable[[Case], Any], *, examples: int
) -> Counter[int]:
    statuses: Counter[int] = Counter()

    @settings(steady, max_examples=examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case) -> None:
        statuses[ask(case).status_code] += 1

    run()
    return statuses


def test_every_route_is_in_the_schema(operations: list[APIOperation]) -> None:
    labels = {operation.label for operation in operations}
    posts = {f"POST /{name}" for name in ("predict", "predict/batch", "predict/patient", "explain")}
    about = ("info", "classes", "report", "report.html", "MODEL_CARD.md", "charts")
    gets = {f"GET /{name}" for name in (*about, "healthz", "readyz", "metrics")}
    assert labels == posts | gets


def test_what_the_schema_allows_is_answered_as_it_says(operations: list[APIOperation]) -> None:
    def ask(case: Case) -> Any:
        reply = case.call(headers=TOKEN, timeout=PATIENCE)
        case.validate_response(reply, excluded_checks=BEYOND_SCHEMA)
        return reply

    # Of an address alone there is little to vary.
    gets, posts = ([o for o in operations if o.method == method] for method in ("get", "post"))
    found = ask_each(gets, GenerationMode.POSITIVE, ask, examples=4)
    found |= ask_each(posts, GenerationMode.POSITIVE, ask, examples=12)
    assert found.keys() == {operation.label for operation in operations}
    for label, statuses in found.items():
        assert max(statuses) < 500, label
        assert 200 in statuses or label.startswith("POST"), label


def test_what_the_schema_forbids_is_refused_as_it_says(operations: list[APIOperation]) -> None:
    def ask(case: Case) -> Any:
        # Of the schema's own violations of the token there is a test below.
        reply = case.call(headers=TOKEN, timeout=PATIENCE)
        case.validate_response(reply)
        return reply

    with_body = [operation for operation in operations if operation.method == "post"]
    found = ask_each(with_body, GenerationMode.NEGATIVE, ask, examples=16)
    for label, statuses in found.items():
        assert max(statuses) < 500, label
        assert {400, 422} & set(statuses), label


def test_a_photograph_with_whatever_the_schema_allows_beside_it_is_answered(
    operations: list[APIOperation], photograph: bytes
) -> None:
    encoded = base64.b64encode(photograph).decode()

    def ask(case: Case) -> Any:
        assume(isinstance(case.body, dict))
        body = dict(case.body)
        for name in {"file", "image"} & set(body):
            body[name] = photograph if name == "file" else encoded
        for name in {"files", "images"} & set(body):
            given = photograph if name == "files" else encoded
            body[name] = [given for _ in body[name]]
        for name in {"site", "lesion_id"} & set(body):
            # One for each photograph, which JSON Schema cannot say.
            body[name] = [""] * len(body.get("images") or body["files"])
        if "class" in body:
            body["class"] = "melanoma"
        if body.get("seed") is not None:
            body["seed"] = int(body["seed"])  # 7.0 is an integer of JSON Schema, and is refused
        if {"precision", "seed"} & set(body):
            body["method"] = "lime"  # they are refused beside the other
        if body.get("explain") or body.get("method") == "lime":
            body["method"], body["precision"] = "lime", "Low"  # more evaluations take too long
        case.body, case.query = body, {}
        reply = case.call(headers=TOKEN, timeout=PATIENCE)
        case.validate_response(reply, excluded_checks=CHANGED)
        assert reply.status_code == 200, reply.text
        return reply

    posts = [operation for operation in operations if operation.method == "post"]
    found = ask_each(posts, GenerationMode.POSITIVE, ask, examples=6)
    assert all(statuses.total() >= 5 for statuses in found.values())


def test_the_token_guards_what_the_schema_says_and_nothing_else(guarded: FastAPI) -> None:
    with TestClient(guarded) as client:
        for path, methods in guarded.openapi()["paths"].items():
            for method, described in methods.items():
                for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "s3cret"}):
                    reply = client.request(method, path, headers=headers)
                    assert (reply.status_code == 401) == ("security" in described), path
                    assert ("401" in described["responses"]) == ("security" in described), path
