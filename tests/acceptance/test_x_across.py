"""X: what holds across all five."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import Settings
from melanoma.data.images import decode_image
from melanoma.data.transforms import to_tensor
from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.scoring.scorer import Scorer

ROOT = Path(__file__).resolve().parents[2]


def sources() -> dict[Path, str]:
    found = [*(ROOT / "melanoma").rglob("*.py"), *(ROOT / "api").rglob("*.py")]
    return {path: path.read_text() for path in found}


def test_x1_one_decoder_and_one_transform(trained: Any, scorer: Any) -> None:
    square = scorer.square(decode_image(trained.photograph(9)).pixels)
    assert np.array_equal(square, trained.array.rows([9])[0])
    assert to_tensor(square[None], normalize=scorer.bundle.normalize).shape == (1, 3, 32, 32)
    opening = [p for p, text in sources().items() if re.search(r"\bImage\.open\(|imdecode", text)]
    # The client opens the service's own drawing, which is no photograph; webp_structure.py is the
    # decoder's own part for WEBP.
    known = {"images.py", "webp_structure.py", "service_client.py"}
    assert {path.name for path in opening} <= known


def test_x2_no_weights_that_run_code(bundle_folder: Path) -> None:
    for path, text in sources().items():
        assert not re.search(r"\bpickle\.loads?\(|weights_only=False", text), path
        for call in re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
            assert "weights_only=True" in call, path
    files = {path.suffix for path in bundle_folder.rglob("*") if path.is_file()}
    assert ".safetensors" in files and not files & {".pkl", ".pth", ".pt"}


def test_x3_what_selects_is_not_what_is_reported_and_groups_are_respected(
    report: Any, trained: Any
) -> None:
    selection = json.dumps(report["selection"])
    assert "best" in selection and "last" in selection
    for part in trained.parts:
        frame = part.folds.frame
        held = set(frame["group"][frame["fold"] == part.fold])
        assert not held & set(frame["group"][frame["fold"] != part.fold])


def test_x4_class_names_live_in_the_bundle(client: Any, bundle_folder: Path, page: str) -> None:
    manifest = json.loads((bundle_folder / "manifest.json").read_text())
    names = [entry["name"] for entry in client.get("/classes").json()["classes"]]
    assert names == manifest["classes"]
    assert "Psoriasis" not in page and "HAM10000_CLASSES" not in page
    for path, text in sources().items():
        assert path.parts[-2] == "readers" or '"vasc"' not in text, path


def test_x5_errors_are_json_without_a_stack_trace(
    scorer: Any, photograph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret of /home/someone")

    with TestClient(create_app([scorer], Settings()), raise_server_exceptions=False) as client:
        monkeypatch.setattr(Scorer, "score_photographs", broken)
        monkeypatch.setattr(Scorer, "score_squares", broken)
        reply = client.post("/predict", files={"file": photograph})
        assert reply.status_code == 500 and reply.json()["success"] is False
        assert "secret" not in reply.text and "Traceback" not in reply.text
        assert client.get("/nowhere").json()["error"]["code"] == "not_found"


def test_x6_no_path_host_or_device_is_written_in_and_no_other_host_is_asked(
    page: str, client: Any, scorer: Any
) -> None:
    for path, text in sources().items():
        assert not re.search(r"[\"'](/home/|/Users/|C:\\\\|/work/)", text), path
        assert not re.search(r"\.cuda\(\)", text), path
    hosts = set(re.findall(r"https?://([\w.-]+)", page)) - {"www.w3.org"}
    assert hosts <= {"127.0.0.1", "localhost"}, hosts
    assert "connect-src" in client.get("/").headers["content-security-policy"] or (
        "default-src 'self'" in client.get("/").headers["content-security-policy"]
    )
    assert scorer.device.type == "cpu"


def test_x7_seed_versions_digests_and_recipe_are_in_every_run(bundle_folder: Path) -> None:
    for fold in (0, 1):
        folder = bundle_folder / f"fold_{fold}"
        facts = json.loads((folder / "run.json").read_text())
        for key in ("seed", "versions", "array_digest", "folds_digest", "recipe_digest"):
            assert facts[key] not in (None, "", {}), key
        assert {"python", "torch", "numpy", "melanoma"} <= set(facts["versions"])
        assert (folder / "recipe.yaml").is_file()


def test_x8_the_disclaimer_and_whether_it_is_calibrated_stand_beside_each_probability(
    client: Any,
    photograph: bytes,
    page: str,
    report: Any,
    call_door: Any,
    given: Any,
    tmp_path: Path,
) -> None:
    answer = client.post("/predict", files={"file": photograph}).json()
    assert answer["calibrated"] is True and answer["disclaimer"] == DISCLAIMER
    batch = client.post("/predict/batch", files={"files": photograph}).json()
    assert batch["disclaimer"] == DISCLAIMER and batch["results"][0]["calibrated"] is True
    assert "not a medical device" in DISCLAIMER and "disclaimer" in page
    assert report["calibration"]["method"]
    (tmp_path / "mole.jpg").write_bytes(photograph)
    told = call_door("predict", tmp_path / "mole.jpg", *given[:4]).out
    prevalence = f"{answer['prevalence']:.2%}"
    assert "probabilities are calibrated" in told and prevalence in told and DISCLAIMER in told
    (row,) = pd.read_csv(tmp_path / "scores.csv").to_dict("records")
    assert (row["calibrated"], row["disclaimer"]) == (True, DISCLAIMER)
    assert row["prevalence"] == pytest.approx(answer["prevalence"])
