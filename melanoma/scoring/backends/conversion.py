"""A bundle's networks as OpenVINO's models, kept beside the weights so that a start need not
convert them again.

They lie in WEIGHTS/.openvino/KEY: fold_N.xml and fold_N.bin, common.xml and common.bin where the
members have layers in common, and a list of their sha256. KEY is a digest of the members' weights,
of what they are the weights of, and of the versions that convert: a bundle that is sealed anew
keeps its conversion. A folder is filled under another name and
renamed when it is whole, so that of two processes either one's is kept; those of other keys are
removed. Where nothing can be written, the models are in memory alone.

A process that has no torch leaves the conversion to a child, or it would keep torch's memory, and
what the conversion takes, for its life: 800 MB for the shipped bundle.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from melanoma.scoring.backends.common_layers import Networks, take_out_common
from melanoma.scoring.backends.core import import_openvino, the_core
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.storage import digest_of, sha256_of, write_json

if TYPE_CHECKING:
    from melanoma.scoring.backends.torch_members import TorchMembers

FOLDER = ".openvino"
_FORMAT = 6  # of what is kept; another one converts anew
_LISTED = "sha256.json"
_COMMON = "common"
_PARTIAL = "partial-"
_FORGOTTEN_SECONDS = 3600.0  # no conversion takes so long: whoever began it was killed


def openvino_models(bundle: Bundle, load: Callable[[], TorchMembers]) -> Networks:
    """The members' models: (B, S, S, 3) uint8 RGB to logits (B, outputs) and embeddings (B, D),
    both float32. `load` gives the networks where they have to be converted."""
    base = bundle.folder / FOLDER
    cache = base / _key(bundle)
    folds = [member.fold for member in bundle.members]
    models = _read(cache, folds)
    if models is None and "torch" not in sys.modules:
        models = _convert_aside(bundle, cache, folds)
    if models is None:
        models = convert(load(), size=bundle.size)
        _keep(models, cache)
    _sweep(base, cache)
    return models


def _convert_aside(bundle: Bundle, cache: Path, folds: list[int]) -> Networks | None:
    """The models that a child has made; None where it failed, whose reason is then met here."""
    root = Path(__file__).parents[3]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as spare:
        command = [sys.executable, "-m", __name__, str(bundle.folder.absolute()), spare]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        with contextlib.suppress(OSError):
            subprocess.run(command, env=environment, capture_output=True, check=False)
        return _read(cache, folds) or _read(Path(spare) / cache.name, folds)


def _convert_for_parent(folder: Path, spare: Path) -> None:
    """Convert the bundle in `folder`, and keep it there, or in `spare` where that cannot be."""
    from melanoma.devices import CPU
    from melanoma.scoring.backends.torch_members import load_members
    from melanoma.scoring.bundle.bundle import load_bundle

    bundle = load_bundle(folder)
    models = convert(load_members(bundle, CPU), size=bundle.size)
    cache = bundle.folder / FOLDER / _key(bundle)
    _keep(models, cache)
    if _read(cache, list(models.by_fold)) is None:
        _keep(models, spare / cache.name)


def convert(members: TorchMembers, *, size: int) -> Networks:
    """The networks of torch as OpenVINO's models."""
    from melanoma.scoring.backends.from_torch import from_torch

    return take_out_common(from_torch(members, size=size))


def _key(bundle: Bundle) -> str:
    networks = [bundle.backbone, bundle.head, bundle.seeds, bundle.outputs]
    squares = [bundle.size, bundle.normalize]
    weights = [[member.fold, member.sha256] for member in bundle.members]
    versions = [importlib.metadata.version(package) for package in ("openvino", "torch")]
    return digest_of([_FORMAT, networks, squares, weights, versions])[:32]


def _read(folder: Path, folds: list[int]) -> Networks | None:
    """The models that are kept, or None where there are none or a digest differs."""
    core = the_core()
    try:
        listed = json.loads((folder / _LISTED).read_text())
        names = [f"fold_{fold}" for fold in folds]
        names += [_COMMON] if f"{_COMMON}.xml" in listed else []
        files = [f"{name}.{end}" for name in names for end in ("xml", "bin")]
        if any(sha256_of(folder / file) != listed[file] for file in files):
            return None
        models = {name: core.read_model(folder / f"{name}.xml") for name in names}
        return Networks({fold: models[f"fold_{fold}"] for fold in folds}, models.get(_COMMON))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def _keep(models: Networks, folder: Path) -> None:
    """Write the models to `folder`, whole or not at all, where that can be done."""
    openvino = import_openvino()
    named = {f"fold_{fold}": model for fold, model in models.by_fold.items()}
    if models.common is not None:
        named[_COMMON] = models.common
    with contextlib.suppress(OSError, RuntimeError):
        folder.parent.mkdir(exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder.parent))
        try:
            for name, model in named.items():
                openvino.save_model(model, stage / f"{name}.xml", compress_to_fp16=False)
            write_json(stage / _LISTED, {file.name: sha256_of(file) for file in stage.iterdir()})
            stage.chmod(0o755)  # mkdtemp's own is the owner's alone
            # What is there and could not be read is damaged: it goes. Where another process has
            # just put its own, that one stays.
            if folder.exists() and _read(folder, list(models.by_fold)) is None:
                shutil.rmtree(folder, ignore_errors=True)
            stage.rename(folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _sweep(base: Path, cache: Path) -> None:
    """Remove the conversions of other bundles and versions, and what killed processes left."""
    with contextlib.suppress(OSError):
        for path in base.iterdir():
            age = time.time() - path.stat().st_mtime
            running = path.name.startswith(_PARTIAL) and age < _FORGOTTEN_SECONDS
            if path != cache and not running:
                shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    _convert_for_parent(Path(sys.argv[1]), Path(sys.argv[2]))
