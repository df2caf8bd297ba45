"""make kaggle: what goes into its folder. deploy/kaggle/try_offline.sh runs the notebook itself."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from front import ROOT

FOLDER = ROOT / "deploy" / "kaggle"
CELLS: list[dict[str, Any]] = json.loads((FOLDER / "melanoma_offline.ipynb").read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kaggle_build", FOLDER / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheels_are_the_lock_s_by_their_sha256_without_what_kaggle_has(
    build: ModuleType,
) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    sources = build.requirements(lock, only=build.SOURCE_ONLY)
    wheels = build.requirements(lock, without=(*build.SOURCE_ONLY, *build.LEFT_OUT))
    assert names_of(sources) | names_of(wheels) == names_of(lock) - set(build.LEFT_OUT)
    assert names_of(sources) == set(build.SOURCE_ONLY)
    # What the lock no longer has is not left out of it.
    assert set(build.LEFT_OUT) <= names_of(lock)
    assert len(re.findall("(?m)^[a-z].*==", wheels)) == len(re.findall(r"==.*\\\n *--hash", wheels))


def names_of(lock: str) -> set[str]:
    return {re.split(r"[=\[ ;]", line)[0] for line in lock.splitlines() if line[:1].isalnum()}


def test_no_table_of_patients_goes_along(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed/oof.csv").write_text("image_name,patient_id\n")
    (tmp_path / "sealed/manifest.json").write_text(json.dumps({"sha256": {"oof.csv": "0"}}))
    with pytest.raises(SystemExit, match="table of patients"):
        build.copy_bundle(tmp_path / "sealed", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_notebook_is_without_a_network_private_and_beside_its_data_set(
    build: ModuleType, tmp_path: Path
) -> None:
    build.write_metadata(tmp_path, "somebody")
    kernel = json.loads((tmp_path / "notebook/kernel-metadata.json").read_text())
    assert kernel["enable_internet"] is False and kernel["is_private"] is True
    data_set = json.loads((tmp_path / "dataset-metadata.json").read_text())
    assert kernel["dataset_sources"] == [data_set["id"]]
    assert (tmp_path / "notebook" / kernel["code_file"]).is_file()


def test_the_notebook_is_stored_clean_and_installs_from_the_attached_wheels_alone() -> None:
    assert all(cell.get("outputs", []) == [] for cell in CELLS)
    for source in CODE:
        ast.parse(source)
    installing = [source for source in CODE if '"pip"' in source]
    assert len(installing) == 1 and '"--no-index"' in installing[0]
    # It ends before the session does, or its output would be lost.
    assert "8 * 3600" in CODE[0]
