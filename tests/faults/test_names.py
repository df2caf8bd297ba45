"""Names of training images, often patients', leave the house under digests or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from made_content import external

from api.app import create_app
from api.settings import Settings
from benchmarks.shipped import RESULTS
from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.data.name_digests import training_name_digest, with_known_names
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.shipped_copy import TRAINING_IMAGES, ship_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of
from melanoma.workflows.evaluate import evaluate_folds


@pytest.fixture(scope="module")
def names(folder_run: Any) -> list[str]:
    """All of them, and the patients'."""
    table = pd.read_csv(folder_run.folds, dtype=str)
    return [*table["image_name"], *table["patient_id"].dropna()]


def texts(folder: Path) -> str:
    kinds = {".json", ".html", ".md", ".csv", ".yaml"}
    return "\n".join(path.read_text() for path in sorted(folder.rglob("*")) if path.suffix in kinds)


def test_a_digest_is_of_the_whole_name_and_stands_for_itself() -> None:
    digest = training_name_digest("Doe_Jane_1980-02-03")
    assert digest != training_name_digest("Doe_Jane_1980-02-04")
    assert training_name_digest(digest) == digest
    # Written down: a list that was shipped must be read by every later version.
    assert digest == "hmac:1461e219f773e445"
    assert with_known_names([digest, "b", training_name_digest("c")], ["Doe_Jane_1980-02-03"]) == [
        "Doe_Jane_1980-02-03",
        "b",
        training_name_digest("c"),
    ]


@pytest.mark.parametrize("asked", [False, True])
def test_a_report_names_images_only_where_that_is_asked(
    asked: bool, folder_run: Any, names: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for fold in folder_run.weights.glob("fold_*"):
        shutil.copytree(fold, folder / fold.name, copy_function=os.link)
    report = evaluate_folds(folder_run.recipe, folder, folder_run.folds, names=asked)
    listed = {error.image_name for error in report.content.largest_errors}
    assert listed
    digests = {training_name_digest(name): name for name in names}
    assert listed <= (set(names) if asked else set(digests))
    for file in ("report.json", "report.html"):
        text = (folder / file).read_text()
        assert any(name in text for name in names) == asked
    # The service gives none, whatever was asked for.
    with TestClient(create_app([Scorer(load_bundle(folder))], Settings())) as client:
        for path in ("/report", "/info"):
            answer = client.get(path).text
            assert not [name for name in names if name in answer]
        told = client.get("/report").json()["largest_errors"]
        assert {error["image_name"] for error in told} <= set(digests)


def test_a_shipped_copy_holds_no_name(folder_run: Any, names: list[str], tmp_path: Path) -> None:
    bundle = load_bundle(folder_run.weights)
    with_digests = ship_bundle(bundle, tmp_path / "a").bundle.folder
    without = ship_bundle(bundle, tmp_path / "b", names=False).bundle.folder
    for folder in (with_digests, without):
        text = texts(folder)
        assert not [name for name in names if name in text]
    assert "hmac:" in (with_digests / TRAINING_IMAGES).read_text()
    assert not (without / TRAINING_IMAGES).exists()
    assert "hmac:" not in texts(without)
    assert json.loads((without / "report.json").read_text())["largest_errors"] == []


def test_a_bundle_of_before_loses_its_names_when_it_is_shipped_again(tmp_path: Path) -> None:
    before = Path(shutil.copytree(SHIPPED, tmp_path / "before"))
    plain = pd.read_csv(RESULTS / "oof.csv.gz", usecols=["image_name"])["image_name"].tolist()
    (before / TRAINING_IMAGES).write_text("\n".join(["image_name", *plain, ""]))
    manifest = json.loads((before / "manifest.json").read_text())
    manifest["sha256"][TRAINING_IMAGES] = sha256_of(before / TRAINING_IMAGES)
    (before / "manifest.json").write_text(json.dumps(manifest))
    copy = ship_bundle(load_bundle(before), tmp_path / "copy").bundle.folder
    listed = (copy / TRAINING_IMAGES).read_text().splitlines()[1:]
    assert set(with_known_names(listed, plain)) == set(plain)
    assert "ISIC_00" not in texts(copy)


def test_findings_say_how_many_and_not_who() -> None:
    made = external().content
    finding = "2 patients in more than one fold (Doe, Roe (2), ...)"
    assert made.external is not None
    overlap = made.external.overlap.model_copy(update={"findings": (finding,)})
    content = made.model_copy(
        update={
            "summary": f"Gravest warning: {finding} (1 more warning below).",
            "leaks": made.leaks.model_copy(update={"findings": (finding,)}),
            "external": made.external.model_copy(update={"overlap": overlap}),
            "warnings": (f"LEAK: {finding}", "3 positives (few): the intervals are wide"),
        }
    )
    found = without_names(content)
    assert found.summary == (
        "Gravest warning: 2 patients in more than one fold (1 more warning below)."
    )
    assert found.leaks.findings == ("2 patients in more than one fold",)
    assert found.external is not None
    assert found.external.overlap.findings == found.leaks.findings
    assert found.warnings == (
        "LEAK: 2 patients in more than one fold",
        "3 positives (few): the intervals are wide",
    )
    assert without_names(found) == found


def test_an_empty_token_is_no_token_and_is_refused(call_door: Any) -> None:
    answer = call_door("serve", "--weights", SHIPPED, "--token", "", "--port", "0")
    assert answer.code == 2
    assert answer.err.startswith("error: --token: it is empty")
