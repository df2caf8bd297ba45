"""The wheel in an environment of its own: recipes come along, and it works from anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from configparser import ConfigParser
from pathlib import Path

import pandas as pd
import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "melanoma", "api", "configs")
# demo's phantoms, fewer and smaller, and a network that trains on them in seconds.
SMALL = [
    *("data.images=40", "data.patients=20", "data.size=48", "image.size=32", "folds.k=2"),
    *("model.backbone=resnet18", "training.epochs=1", "evaluation.views=1"),
    "evaluation.resamples=100",
]

EACH = """
import json, sys
from melanoma.__main__ import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["melanoma", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
"""


def test_every_package_is_named_in_setup_cfg() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = setup["options"]["packages"].split()
    found = find_packages(str(ROOT), include=["melanoma*", "api*"])
    assert sorted(named) == sorted([*found, "melanoma.configs"])


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the wheel; what it requires is that of the environment that runs the tests.

    Built from a copy: setuptools leaves build/ behind, and packs what an older one held.
    """
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("venv") / "venv"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    _call(sys.executable, "-m", "venv", "--without-pip", folder)
    [site] = folder.glob("lib/*/site-packages")
    # After its own site-packages, and without reading the .pth files there: one of them would
    # make an editable install of this checkout win over the wheel.
    Path(site, "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    python = folder / "bin/python"
    _call(sys.executable, "-m", "pip", "--python", python, "install", "-q", *offline, source)
    return folder


@pytest.mark.slow
def test_all_files_but_code_of_the_checkout_are_in_the_wheel(environment: Path) -> None:
    [site] = environment.glob("lib/*/site-packages")
    for source, target in (
        ("melanoma", "melanoma"),
        ("api", "api"),
        ("configs", "melanoma/configs"),
    ):
        here = {p.relative_to(ROOT / source) for p in _files(ROOT / source)}
        there = {p.relative_to(site / target) for p in _files(site / target)}
        assert here, source
        assert here <= there, source


@pytest.mark.slow
def test_the_way_from_images_to_a_score_works_from_another_folder(
    environment: Path, tmp_path: Path
) -> None:
    def melanoma(*arguments: str | Path) -> str:
        return _call(environment / "bin/melanoma", *arguments, cwd=tmp_path)

    where = "import melanoma, api; print(melanoma.__file__, api.__file__)"
    for file in _call(environment / "bin/python", "-c", where, cwd=tmp_path).split():
        assert environment in Path(file).parents
    assert "evaluate" in melanoma()

    def each(*lines: list[str | Path]) -> None:
        """One import of torch for several commands, each as the console script has it."""
        said = json.dumps([list(map(str, line)) for line in lines])
        _call(environment / "bin/python", "-c", EACH, said, cwd=tmp_path)

    settings = [word for value in SMALL for word in ("--set", value)]
    demo = ["--config", "demo", *settings]
    data = [*demo, "--data", "phantoms"]
    each(
        ["check", *data],
        ["split", *data],
        ["train", *data, "--fold", "all", "--device", "cpu"],
        ["evaluate", *demo, "--device", "cpu"],
        ["predict", "phantoms/jpeg/test", *demo, "--device", "cpu", "--out", "scores.csv"],
    )
    scores = pd.read_csv(tmp_path / "scores.csv")["melanoma_probability"]
    assert len(scores) == len(list((tmp_path / "phantoms/jpeg/test").iterdir())) > 1
    assert scores.between(0, 1).all()
    assert (tmp_path / "weights/demo/report.html").is_file()


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts]


def _call(*command: str | Path, cwd: Path | None = None) -> str:
    """What it prints. Without PYTHONPATH, which would put the checkout before the wheel."""
    apart = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    apart |= {"OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ended = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=apart,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
