"""requirements.lock: every requirement of setup.cfg at a version that it allows, by sha256."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
# From the index that fits the machine, and pinned in the Dockerfile.
ELSEWHERE = {"torch", "torchvision"}
# Distributions whose import has another name.
IMPORTS = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pydantic_core": "pydantic",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}
EXTRAS = {
    *("openvino", "faiss", "timm", "tfrecord", "google", "mlflow", "importlib_metadata"),
    *("onnx", "onnxruntime", "tensorboardX", "wandb", "ray", "pyarrow", "optuna", "sqlalchemy"),
    "fsspec",
}


def requirements() -> list[Requirement]:
    """setup.cfg's install_requires."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options"]["install_requires"].splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def locked() -> dict[str, str]:
    """Each locked distribution's version."""
    return {
        canonicalize_name(m[1]): m[2]
        for m in re.finditer(r"^([A-Za-z0-9_.-]+)==(\S+)", LOCK, re.MULTILINE)
    }


def test_the_image_has_the_fast_backend_and_not_its_reports() -> None:
    assert "openvino" in locked()
    assert "openvino-telemetry" not in locked()


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_a_requirement_is_locked_at_a_version_that_it_allows(requirement: Requirement) -> None:
    versions = locked()
    if requirement.name in ELSEWHERE:
        assert f"{requirement.name}==" in (ROOT / "Dockerfile").read_text()
        return
    version = versions[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"{requirement}: run make lock"


def test_every_locked_file_has_its_sha256() -> None:
    for block in re.split(r"\n(?=[a-z0-9])", LOCK.split("\n", 2)[2]):
        if "==" in block.split("\n")[0]:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.split("\n")[0]
    assert "--index-url" not in LOCK


def test_whatever_the_library_imports_is_declared() -> None:
    imported: set[str] = set()
    for folder in ("melanoma", "api"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    imported.add(node.module.split(".")[0])
    third = imported - set(sys.stdlib_module_names) - {"melanoma", "api"} - EXTRAS
    declared = {canonicalize_name(r.name) for r in requirements()}
    absent = {name for name in third if canonicalize_name(IMPORTS.get(name, name)) not in declared}
    assert absent == set()


def test_no_opencv_is_allowed_that_lacks_what_the_decoder_calls() -> None:
    """cv2.utils.logging came with 4.13; before 4.10 it fails at import beside numpy 2."""
    [opencv] = [one for one in requirements() if one.name == "opencv-python-headless"]
    assert opencv.specifier.contains("4.13.0.90")
    assert not any(opencv.specifier.contains(v) for v in ("4.9.0.80", "4.10.0.84", "4.12.0.88"))
