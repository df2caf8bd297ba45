"""What several test folders share: small inputs, and the doors opened in two ways."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from melanoma.data.phantoms.dataset import make_phantoms

if TYPE_CHECKING:
    from folder_runs import FolderRun
    from tiny_bundle import TinyRun

CHECKOUT = Path(__file__).resolve().parents[1]
# The reference, in every process that a test starts too: the other backend's tests say so, and a
# conversion of each small bundle would cost the suite more than its scores.
os.environ["MELANOMA_BACKEND"] = "torch"
gc.disable()  # until everything is imported

# The folders whose tests all have that marker.
ROOMS = {
    "browser": "browser",
    "deploy": "deploy",
    **dict.fromkeys(
        ("acceptance", "api", "cluster", "commands", "faults", "training", "workflows"), "slow"
    ),
}
# Folders with one long set-up: Chromium and a service; the bundle of a real network.
SHARED = {"tests/browser": "browser", "tests/deploy": "real", "tests/scoring/export": "real"}


class Answer(NamedTuple):
    """How a door that was called in this process ended, and what it said."""

    code: int
    out: str
    err: str


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A room that is left out as a whole is not imported either: that is seconds of a process."""
    if collection_path.parent != CHECKOUT / "tests":
        return None
    marker = ROOMS.get(collection_path.name)
    return True if marker and f"not {marker}" in config.option.markexpr else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders of what needs a browser or nginx say so. Those that train, serve or run whole
    commands are slow; elsewhere `slow` stands at the test or its module.

    Modules with such tests come first: one that is begun last keeps a process busy while the other
    has nothing left.
    """
    long: set[Path] = set()
    for item in items:
        marker = ROOMS.get(item.path.relative_to(CHECKOUT / "tests").parts[0])
        if marker is not None:
            item.add_marker(marker)
        if any(item.get_closest_marker(name) for name in ("slow", "browser", "deploy")):
            long.add(item.path)
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A module's tests run in one process, and so do those of the folders in SHARED."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::")[0]
            return SHARED.get(module.rpartition("/")[0], module)

    return ByModule(config, log) if config.option.dist == "loadscope" else None


def pytest_collection_finish() -> None:
    """What is imported stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine torch's threads wait for each other, and ours are small networks."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _tiny_backbones() -> None:
    """`tiny_norm` and `tiny_resnet` are backbones, here and in the forks of this process."""
    from tiny_backbone import know_tiny_backbones

    know_tiny_backbones()


@pytest.fixture(scope="module", autouse=True)
def _trimmed() -> Iterator[None]:
    """What a module's networks took goes back to the system, for the other process to have."""
    yield
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


@pytest.fixture(scope="session", autouse=True)
def _unflushed() -> Iterator[None]:
    """Nobody takes the disk's power away here, and to wait for it at each file is much of the time.
    That it is waited for before a file takes its name, tests/faults/test_disks.py sees."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_trees() -> Iterator[None]:
    """A shortcut baseline takes most of a small report. The tests of baselines have all trees."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("melanoma.evaluation.measure.shortcut_baselines._TREES", 5)
        yield


@pytest.fixture(scope="session")
def phantom_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Kaggle's layout: 60 phantoms of 48 px, 9 bluish melanomas, 20 patients.

    Read only.
    """
    from hand_built import tint_melanomas

    folder = tmp_path_factory.mktemp("phantom_set")
    make_phantoms(folder, images=60, patients=20, size=48, seed=3)
    tint_melanomas(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where there is none."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data at {folder}")
    return folder


@pytest.fixture(scope="session")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> FolderRun:
    """Two small ResNets on three classes, none of them melanoma, set by hand. Read only."""
    from folder_runs import train_on_folders

    return train_on_folders(tmp_path_factory.mktemp("folder_run"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Two small ResNets on phantoms, set by hand and sealed. Read only."""
    from tiny_bundle import make_tiny_run

    return make_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def resnet18_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """As `trained`, of ResNet-18: timm has it, and every process knows it. Read only."""
    from tiny_bundle import make_tiny_run

    return make_tiny_run(tmp_path_factory.mktemp("resnet18"), "resnet18")


@pytest.fixture(scope="session")
def bundle_folder(trained: TinyRun) -> Path:
    """The sealed bundle of `trained`; beside it lie data, arrays and folds.csv. Read only."""
    return trained.folder


@pytest.fixture(scope="session")
def photograph(bundle_folder: Path) -> bytes:
    """A phantom as a JPEG file."""
    return sorted((bundle_folder.parent / "data" / "jpeg").rglob("*.jpg"))[7].read_bytes()


@pytest.fixture
def set_by_hand() -> Iterator[None]:
    """Training in this process reads its batches and sets a small ResNet: see hand_built."""
    from hand_built import hand_built

    with hand_built():
        yield


@pytest.fixture(scope="module")
def superpixels_once() -> Iterator[None]:
    """LIME finds the superpixels of a photograph, which is most of its time, once a module."""
    from melanoma.scoring.explain.lime import find_segments

    known: dict[tuple[bytes, int], Any] = {}

    def find(part: Any, *, seed: int) -> Any:
        key = part.tobytes(), seed
        if key not in known:
            known[key] = find_segments(part, seed=seed)
        return known[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("melanoma.scoring.explain.explainers.find_segments", find)
        yield


@pytest.fixture(scope="module")
def few_superpixels(superpixels_once: None) -> Iterator[None]:
    """And looks for them in a quarter of the pixels: for what is no matter of where they lie."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("melanoma.scoring.explain.lime.LONGEST_SIDE", 128)
        yield


@pytest.fixture
def copied(trained: TinyRun, tmp_path: Path) -> Path:
    """A bundle folder to spoil. Its files are links: unlink one before writing it anew."""
    folder = tmp_path / "copied"
    shutil.copytree(trained.folder, folder, copy_function=os.link)
    return folder


@pytest.fixture
def tiny_recipe(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Writes a recipe that trains at once; a section's keys replace those written here.

    Its backbone is a tiny one, which this process and its forks know; a process of another kind
    needs a real one.
    """
    backbone = "tiny_resnet" if "set_by_hand" in request.fixturenames else "tiny_norm"

    def write(**sections: Any) -> Path:
        values: dict[str, Any] = {
            "name": "tiny",
            "data": {"reader": "siim"},
            "image": {"size": 32},
            "folds": {"name": "tiny", "k": 3},
            "model": {"backbone": backbone, "pretrained": "none"},
            "augment": [{"flip_horizontal": {"p": 0.5}}],
            "optimizer": {"name": "adamw", "rate": 1.0e-3},
            "schedule": {"name": "constant"},
            "training": {"epochs": 2, "batch_size": 16, "precision": "float32"},
            "evaluation": {"resamples": 100},
        }
        for name, section in sections.items():
            old = values.get(name)
            merged = isinstance(old, dict) and isinstance(section, dict)
            values[name] = {**old, **section} if merged else section
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


@pytest.fixture
def run_door(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs python -m melanoma.VERB in a process of its own, in the test's folder."""

    def run(
        verb: str, *arguments: str | Path, timeout: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"melanoma.{verb}", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def call_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Runs a door in this process, in the test's folder: torch's import is paid only once."""
    from melanoma import terminal

    monkeypatch.chdir(tmp_path)

    def call(verb: str, *arguments: str | Path) -> Answer:
        door = importlib.import_module(f"melanoma.{verb}")
        monkeypatch.setattr(sys, "argv", [f"melanoma.{verb}", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            terminal.run(door.app)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call
