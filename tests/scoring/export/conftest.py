"""The bundles that the exports are made of, and the Hugging Face folder of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import TinyRun

from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.huggingface import export_huggingface


@pytest.fixture(scope="session")
def trained(resnet18_run: TinyRun) -> TinyRun:
    """Of a network that timm has too."""
    return resnet18_run


@pytest.fixture(scope="session")
def bundle_folder(trained: TinyRun) -> Path:
    return trained.folder


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.fixture(scope="module")
def of_classes(folder_run: Any) -> Bundle:
    """Three classes, none of them melanoma."""
    return load_bundle(folder_run.weights)


@pytest.fixture(scope="session")
def hub_folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    folder = tmp_path_factory.mktemp("exported") / "hub"
    export_huggingface(bundle, folder, ExportOptions())
    return folder
