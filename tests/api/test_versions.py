"""Several versions of one bundle: each by NAME@VERSION, the newest where none is named."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import Settings
from api.versions import find_scorer, name_scorers
from melanoma.errors import RecipeError
from melanoma.scoring.files.service_client import _choose_model
from melanoma.scoring.scorer import Scorer


def _scorer(name: str, version: int) -> Any:
    return SimpleNamespace(bundle=SimpleNamespace(name=name, version=version))


@pytest.mark.parametrize("order", [(2, 9, 10), (10, 2, 9), (9, 10, 2)])
def test_the_newest_stands_first_whatever_the_order_and_ten_is_more_than_nine(
    order: tuple[int, ...],
) -> None:
    served = name_scorers([*(_scorer("a", version) for version in order), _scorer("b", 1)])
    assert list(served) == ["a@10", "a@9", "a@2", "b"]
    assert find_scorer(served, "a") is served["a@10"]
    assert find_scorer(served, "a@2") is served["a@2"]
    assert find_scorer(served, "b") is find_scorer(served, "b@1") is served["b"]
    for nobody in ("a@3", "b@2", "c", "a@", "@2", "a@02"):
        assert find_scorer(served, nobody) is None


def test_the_first_name_answers_where_none_is_given() -> None:
    served = name_scorers([_scorer("b", 1), _scorer("a", 3), _scorer("b", 2)])
    assert list(served) == ["b@2", "b@1", "a"]


def test_one_version_twice_is_refused_and_so_is_nothing() -> None:
    with pytest.raises(RecipeError, match="two bundles are a@2"):
        name_scorers([_scorer("a", 2), _scorer("a", 2)])
    with pytest.raises(RecipeError, match="no bundle"):
        name_scorers([])


def test_two_versions_are_served_listed_counted_and_told_apart(
    scorer: Scorer, photograph: bytes
) -> None:
    bundle = scorer.bundle
    # Higher log-odds whatever the training gave.
    assert isinstance(bundle.calibration.intercept, float)
    higher = bundle.calibration.intercept + 3
    calibration = dataclasses.replace(bundle.calibration, intercept=higher)
    newer = Scorer(
        dataclasses.replace(
            bundle, version=bundle.version + 9, digest="f" * 64, calibration=calibration
        )
    )
    old, new = f"tiny@{bundle.version}", f"tiny@{bundle.version + 9}"
    queries = ("", "?model=tiny", f"?model={new}", f"?model={old}", "?model=tiny@99")
    # The newer one's golden score is another, as its calibration is: let it answer all the same.
    app = create_app([scorer, newer], Settings())
    with TestClient(app) as client:
        app.state.service.readiness._passed.add(id(newer))
        replies = [client.post(f"/predict{q}", files={"file": photograph}) for q in queries]
        info = client.get("/info").json()["models"]
        counted = client.get("/metrics").text
        ready = client.get("/readyz").json()["bundles"]
    *answers, refused = replies
    versions = [answer.json()["model"]["version"] for answer in answers]
    assert versions == [bundle.version + 9] * 3 + [bundle.version]
    probabilities = [answer.json()["melanoma_probability"] for answer in answers]
    assert probabilities[0] == probabilities[1] == probabilities[2] > probabilities[3]
    assert [(m["name"], m["version"]) for m in info] == [
        ("tiny", bundle.version + 9),
        ("tiny", bundle.version),
    ]
    assert f'model="{new}",outcome="scored"}} 3.0' in counted
    assert f'model="{old}",outcome="scored"}} 1.0' in counted
    assert set(ready) == {old, new}
    assert refused.status_code == 404
    assert f"{new}, {old}" in refused.json()["error"]["message"]


def test_a_client_names_what_the_service_lists() -> None:
    def entry(name: str, version: int) -> dict[str, Any]:
        return {"name": name, "version": version, "digest": "d" * 64, "views": 1, "melanoma": []}

    info = {"models": [entry("a", 10), entry("a", 2), entry("b", 1)]}
    for wanted, key, version in (
        (None, "a@10", 10),
        ("a", "a@10", 10),
        ("a@2", "a@2", 2),
        ("b", "b", 1),
        ("b@1", "b", 1),
    ):
        named, described = _choose_model(info, wanted, "http://x")
        assert (named, described.version) == (key, version)
    with pytest.raises(RecipeError, match=r"serves a@10, a@2, b$"):
        _choose_model(info, "a@3", "http://x")
