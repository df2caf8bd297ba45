"""Embeddings: what a frozen backbone makes of every image, made once and streamed to disk.

`embeddings_KEY.npy` is (N, D) float32, a row for each of the array's that training reads; KEY comes
from the sha256 of the id: backbone, its weights, preprocessing, array, rows. `embeddings_KEY.json`
beside it holds that id, how many rows are done, and their sha256, so that a broken run goes on
where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout
from torch import nn

from melanoma.data.arrays import ImageArray
from melanoma.data.batches import Plan, load_batches
from melanoma.data.npy_file import NpyFile
from melanoma.data.transforms import to_tensor
from melanoma.errors import DataError
from melanoma.models.backbones import find_backbone
from melanoma.models.classifier import Classifier
from melanoma.recipe.differences import differences
from melanoma.recipe.recipe import Recipe
from melanoma.storage import digest_of, ensure_writable, read_text, write_json
from melanoma.types import Integers

# Fixed, and rows are done in whole batches: a batch's size shows in an embedding's last bits.
_BATCH = 32
_SAVE_SECONDS = 30.0
_BLOCK = 1 << 20

Id = dict[str, Any]
Digest = Any  # hashlib publishes no type of its own


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of an array's rows `held` (ascending), and what they were made of."""

    path: Path
    id: Id
    held: Integers = field(compare=False, repr=False)  # the id knows them

    def rows(self, rows: Integers) -> npt.NDArray[np.float32]:
        """(len(rows), D) float32, copied; the map lives as long as this call, as in ImageArray.

        `rows` are the array's. Raises DataError for one that was not embedded.
        """
        row_numbers = np.asarray(rows, dtype=np.int64)
        if not np.isin(row_numbers, self.held).all():
            raise DataError(f"{self.path} lacks the embedding of an image, as of a test part")
        mapped = np.load(self.path, mmap_mode="r")
        return np.asarray(mapped[np.searchsorted(self.held, row_numbers)])


def embedding_id(
    classifier: Classifier, recipe: Recipe, array: ImageArray, rows: Integers | None = None
) -> Id:
    """Everything that decides the embeddings of `rows` of the array, or of all."""
    names = array.names if rows is None else [array.names[row] for row in rows]
    some = {} if len(names) == len(array.names) else {"rows": digest_of(names)}
    return {
        "backbone": recipe.model.backbone,
        "weights": _weights_digest(classifier.backbone),
        **recipe.image.model_dump(mode="json"),
        "array": array.digest,
        "images": len(names),
        "features": find_backbone(recipe.model.backbone).features,
        **some,
    }


def embeddings_file(folder: Path, identity: Id) -> Path:
    """Where the embeddings of that id lie."""
    return folder / f"embeddings_{digest_of(identity)[:16]}.npy"


def make_embeddings(
    classifier: Classifier,
    recipe: Recipe,
    array: ImageArray,
    folder: Path,
    *,
    rows: Integers | None = None,
    workers: int = 0,
    between: Callable[[], None] = lambda: None,
    bar: Callable[[int, int, str], Callable[[], None]] = lambda _total, _done, _what: lambda: None,
) -> Embeddings:
    """The embeddings of `rows` of the array, or of all, in `folder`: as they are, continued, made.

    No other row is read. Always in float32, as a photograph is scored later. `between` is called
    between batches and may raise; what is done by then is kept. Raises DataError when the file is
    damaged or another's, StorageError when it cannot be written.
    """
    held = np.arange(len(array.names)) if rows is None else np.unique(rows)
    identity = embedding_id(classifier, recipe, array, held)
    path = embeddings_file(folder, identity)
    ensure_writable(folder)
    with _alone(path, between=between):
        done, digest = _find_done(path, identity)
        if done < len(held):
            advance = bar(_batches(len(held)), _batches(done), "embedding")
            with _Writer(path, identity, done, digest) as writer:
                for embedded in _embed(classifier, recipe, array, held[done:], workers=workers):
                    writer.append(embedded)
                    advance()
                    between()
    return Embeddings(path, identity, held)


@torch.inference_mode()
def _embed(
    classifier: Classifier, recipe: Recipe, array: ImageArray, rows: Integers, *, workers: int
) -> Iterator[npt.NDArray[np.float32]]:
    """(up to _BATCH, D) at a time, in the order of `rows`."""
    classifier.backbone.eval()
    device = next(classifier.parameters()).device
    plans = [Plan(rows[first : first + _BATCH]) for first in range(0, len(rows), _BATCH)]
    for batch in load_batches(array, plans, workers=workers):
        images = to_tensor(batch.pixels, normalize=recipe.image.normalize, device=device)
        yield classifier.embed(images).float().cpu().numpy()


def _batches(images: int) -> int:
    return -(-images // _BATCH)


class _Writer:
    """Appends rows to the file, and now and then records what is safely on disk."""

    def __init__(self, path: Path, identity: Id, done: int, digest: Digest) -> None:
        self.file = _npy_file(path, identity)
        self.id, self.done, self.digest = identity, done, digest
        self.saved_at = time.monotonic()

    def __enter__(self) -> _Writer:
        self.file.open(goes_on=self.done > 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._save()
        finally:
            self.file.close(failed=kind is not None)

    def append(self, embedded: npt.NDArray[np.float32]) -> None:
        payload = np.ascontiguousarray(embedded, dtype="<f4").tobytes()
        self.file.write(self.done, payload)
        self.digest.update(payload)
        self.done += len(embedded)
        if time.monotonic() - self.saved_at >= _SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        self.file.sync()
        record = {"id": self.id, "done": self.done, "sha256": self.digest.hexdigest()}
        write_json(self.file.path.with_suffix(".json"), record)
        self.saved_at = time.monotonic()


def _find_done(path: Path, identity: Id) -> tuple[int, Digest]:
    """How many rows are on disk, and their digest, verified.

    Raises DataError for another's file, or a damaged one.
    """
    record_path = path.with_suffix(".json")
    remedy = f"remove it to embed again: rm {path} {record_path}"
    if not (record_path.is_file() and path.is_file()):
        return 0, hashlib.sha256()
    try:
        record = json.loads(read_text(record_path))
        changes = differences(identity, record["id"])
        done, sha256 = int(record["done"]), record["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{record_path} is damaged; {remedy}") from error
    if changes:
        raise DataError(f"{path} holds embeddings of another id ({'; '.join(changes)}); {remedy}")
    digest = hashlib.sha256()
    for block in _read_rows(path, identity, done):
        digest.update(block)
    if digest.hexdigest() != sha256:
        raise DataError(f"{path} is damaged: its {done:,} rows are not as recorded; {remedy}")
    return done, digest


def _npy_file(path: Path, identity: Id) -> NpyFile:
    return NpyFile(path, identity["images"], (identity["features"],), "<f4")


def _read_rows(path: Path, identity: Id, done: int) -> Iterator[bytes]:
    """The bytes of the first `done` rows. Raises DataError for what is no such file."""
    npy = _npy_file(path, identity)
    if not npy.is_begun():
        raise DataError(f"{path} is damaged; remove it to embed again")
    left = done * npy.row_bytes
    with path.open("rb") as file:
        file.seek(npy.offset(0))
        while left and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


@contextmanager
def _alone(path: Path, *, between: Callable[[], None]) -> Iterator[None]:
    """Have the file alone; another fold's process may be making the very same embeddings."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=1)
        except Timeout:
            between()
    try:
        yield
    finally:
        lock.release()


def _weights_digest(backbone: nn.Module) -> str:
    """sha256 over names, shapes and values of parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in backbone.state_dict().items():
        if name.endswith("num_batches_tracked"):  # counts, and decides nothing
            continue
        digest.update(f"{name} {tuple(value.shape)} {value.dtype};".encode())
        plain = value.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy())
    return digest.hexdigest()
