"""What the acceptance tests share: one sealed bundle, one service over it, one small network."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
import yaml
from fastapi.testclient import TestClient
from tiny_backbone import make_tiny_backbone

from api.app import create_app
from api.settings import Settings
from melanoma.models.backbones import BACKBONES
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.training.fit import fit_fold
from melanoma.training.run.run_folder import FoldRun

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone of a thousand weights, for what no backbone decides."""
    monkeypatch.setitem(BACKBONES, "tiny", make_tiny_backbone(norm=True))
    return "tiny"


@pytest.fixture
def recipe_of(trained: Any, tiny: str) -> Callable[..., Recipe]:
    """The bundle's recipe on the tiny backbone, its sections changed."""

    def make(**changes: Any) -> Recipe:
        values = trained.recipe.model_dump(mode="json")
        values["model"]["backbone"] = tiny
        for name, section in changes.items():
            merged = isinstance(section, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **section} if merged else section
        return make_recipe(values)

    return make


@pytest.fixture
def fit(trained: Any, tmp_path: Path) -> Callable[..., FoldRun]:
    """A fold of the phantoms, trained on the CPU into a folder of this name."""

    def run(recipe: Recipe, name: str = "run", *, fold: int = 0, **options: Any) -> FoldRun:
        return fit_fold(
            recipe,
            trained.parts[fold],
            tmp_path / name / f"fold_{fold}",
            device=torch.device("cpu"),
            imagenet=tmp_path,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def scorer(bundle_folder: Path) -> Scorer:
    return Scorer(load_bundle(bundle_folder))


@pytest.fixture(scope="session")
def client(scorer: Scorer) -> Iterator[TestClient]:
    with TestClient(create_app([scorer], Settings()), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def report(bundle_folder: Path) -> Any:
    """The bundle's report.json."""
    return json.loads((bundle_folder / "report.json").read_text())


@pytest.fixture(scope="session")
def address(scorer: Scorer) -> Iterator[str]:
    """The same service on a port of its own."""
    config = uvicorn.Config(create_app([scorer], Settings()), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def encoded(photograph: bytes) -> str:
    return base64.b64encode(photograph).decode()


@pytest.fixture
def given(trained: Any, tmp_path: Path) -> list[str | Path]:
    """The options by which a command finds the bundle, its data, arrays and folds."""
    base, path = trained.folder.parent, tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(trained.recipe.model_dump(mode="json")))
    return ["--config", path, "--weights", trained.folder, "--data", base / "data"]


@pytest.fixture(scope="session")
def config() -> Callable[..., Recipe]:
    """A recipe that ships, by name."""

    def load(name: str, *overrides: str) -> Recipe:
        return load_recipe(ROOT / f"configs/{name}.yaml", overrides)

    return load


@pytest.fixture(scope="session")
def page() -> str:
    """The page's own files, one after the other."""
    files = sorted((ROOT / "api/page").glob("*.*"))
    return "\n".join(f.read_text() for f in files if f.suffix in (".html", ".js", ".css"))
