"""A bundle whose members are not those that were evaluated scores nothing, at either door."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import Settings
from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.errors import WeightsError
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle import golden
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.golden import check_golden, open_scorer, require_golden
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of

Manifest = dict[str, Any]


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


@pytest.fixture
def photograph(phantom_set: Path) -> Path:
    return next(phantom_set.rglob("*.jpg"))


def edit_manifest(folder: Path, change: Callable[[Manifest], Any]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def exchange_members(folder: Path) -> None:
    """Two folds have each other's weights, under digests that are right."""
    first, second = (
        m["file"] for m in json.loads((folder / "manifest.json").read_text())["members"][:2]
    )
    kept = (folder / first).read_bytes()
    shutil.copyfile(folder / second, folder / first)
    (folder / second).write_bytes(kept)
    restate(folder, first, second)


def restate(folder: Path, *files: str) -> None:
    digests = {file: sha256_of(folder / file) for file in files}
    edit_manifest(folder, lambda manifest: manifest["sha256"].update(digests))


def copy_weights(folder: Path) -> None:
    """Fold 1 has fold 0's weights, in a file of its own."""
    members = json.loads((folder / "manifest.json").read_text())["members"]
    shutil.copyfile(folder / members[0]["file"], folder / members[1]["file"])
    restate(folder, members[1]["file"])


TWICE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a member listed twice": (
        lambda folder: edit_manifest(folder, lambda m: m["members"].append(m["members"][0])),
        "fold 0 stands 2 times",
    ),
    "a file of two folds": (
        lambda folder: edit_manifest(
            folder, lambda m: m["members"][1].update(file=m["members"][0]["file"])
        ),
        "folds 0 and 1 have the same weights",
    ),
    "a copy of a file": (copy_weights, "folds 0 and 1 have the same weights"),
    "a fold that is a text": (
        lambda folder: edit_manifest(folder, lambda m: m["members"][1].update(fold="1")),
        "folds are whole numbers",
    ),
    "a fold that is true": (
        lambda folder: edit_manifest(folder, lambda m: m["members"][1].update(fold=True)),
        "folds are whole numbers",
    ),
}


@pytest.mark.parametrize("what", TWICE)
def test_a_fold_stands_once_with_weights_of_its_own(
    copied: Path, photograph: Path, call_door: Any, what: str
) -> None:
    spoil, words = TWICE[what]
    spoil(copied)
    with pytest.raises(WeightsError, match=words):
        load_bundle(copied)
    answer = call_door("predict", photograph, "--weights", copied, "--device", "cpu")
    assert (answer.code, answer.err.count("\n")) == (5, 1)
    assert words in answer.err


def test_members_exchanged_under_right_digests_are_refused_by_both_doors(
    copied: Path, photograph: Path, call_door: Any
) -> None:
    exchange_members(copied)
    scorer = Scorer(load_bundle(copied), views=1)
    with pytest.raises(WeightsError, match="does not give the scores that it was sealed with"):
        require_golden(scorer)
    for door in ("predict", "explain"):
        answer = call_door(door, photograph, "--weights", copied, "--device", "cpu")
        assert (answer.code, answer.err.count("\n")) == (5, 1), answer.err
        assert "does not give the scores that it was sealed with" in answer.err
    assert not list(Path().glob("*.csv*")) + list(Path().glob("*.png"))
    require_no_score(scorer, photograph, "does not give the scores")


def require_no_score(scorer: Scorer, photograph: Path, words: str) -> None:
    """Every route of the service that scores answers 503, and so does /readyz."""
    data = photograph.read_bytes()
    file = {"file": ("a.jpg", data)}
    with TestClient(create_app([scorer], Settings())) as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        for path, options in {
            "/predict": {"files": file},
            "/predict/batch": {"files": [("files", ("a.jpg", data))]},
            "/explain": {"files": file},
        }.items():
            reply = client.post(path, **options)
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "not_ready"), path
            assert words in reply.json()["error"]["message"]
        for method in ("gradcam", "lime"):
            reply = client.post("/explain", files=file, data={"method": method})
            assert reply.status_code == 503
        reply = client.post("/predict/batch", files=[("files", ("a.jpg", b"no photograph"))])
        assert reply.status_code == 503


FAILURES: dict[str, Exception] = {
    "a fault of the network": RuntimeError("no memory"),
    "a number that is none": WeightsError("nothing"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_golden_score_that_cannot_be_made_closes_every_route(
    bundle_folder: Path, photograph: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(_: Scorer) -> None:
        raise FAILURES[what]

    scorer = Scorer(load_bundle(bundle_folder), views=1)
    monkeypatch.setattr(golden, "score_golden", fail)
    require_no_score(scorer, photograph, "does not give the scores")


def test_before_the_check_no_route_scores(bundle_folder: Path, photograph: Path) -> None:
    client = TestClient(create_app([Scorer(load_bundle(bundle_folder), views=1)], Settings()))
    reply = client.post("/predict", files={"file": ("a.jpg", photograph.read_bytes())})
    assert reply.status_code == 503
    assert "has not given its golden score yet" in reply.json()["error"]["message"]


SPOILED_GOLDEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no logits": lambda stored: stored.pop("logits"),
    "logits of no fold": lambda stored: stored["logits"].clear(),
    "logits that are no numbers": lambda stored: stored["logits"].update({"0": [float("nan")]}),
    "logits of another length": lambda stored: stored["logits"].update({"0": [1.0, 1.0]}),
    "logits of texts": lambda stored: stored["logits"].update({"0": ["a"]}),
    "no image": lambda stored: stored.pop("image"),
}


@pytest.mark.parametrize("what", SPOILED_GOLDEN)
def test_a_golden_score_that_says_nothing_does_not_hold(copied: Path, what: str) -> None:
    stored = json.loads((copied / "golden.json").read_text())
    SPOILED_GOLDEN[what](stored)
    (copied / "golden.json").write_text(json.dumps(stored))
    restate(copied, "golden.json")
    with pytest.raises(WeightsError, match="golden"):
        open_scorer(copied, engine=Engine("torch"))


def test_the_golden_score_is_asked_for_with_the_views_that_it_was_sealed_with() -> None:
    scorer = open_scorer(SHIPPED, views=1, engine=Engine("torch"))
    assert scorer.views == 1
    found = check_golden(scorer)
    assert found.largest is not None
    assert found.holds
    assert scorer.views == 1, "the caller's scorer is as it was"
