"""The folder of scores on a cluster: a plan that is frozen, and a Parquet file a shard.

OUT/  plan.json       the key of weights and options, the digest of the files, shards
      files.parquet   every image's name and address, a row group a shard
      part-00000.parquet ...   a shard's rows, there whole or not at all
      tries-00000.json ...     of shards that are not there yet: melanoma.cluster.attempts
OUT is a path that every node sees, or any address of fsspec (s3://bucket/scores).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from melanoma.cluster.stored_files import failures, make_folder, open_files
from melanoma.data.images import MAX_FILE_BYTES, read_photograph
from melanoma.errors import ImageError, RecipeError, StorageError
from melanoma.storage import digest_of

_PLAN, _FILES = "plan.json", "files.parquet"


class NamedFile(NamedTuple):
    """An image's name, and its path or its address as fsspec takes it."""

    name: str
    address: str

    def read(self) -> bytes:
        """The file's bytes. Raises OSError, ImageError; StorageError where storage fails."""
        if "://" not in self.address:
            return read_photograph(Path(self.address))
        files, path = open_files(self.address)
        with failures(self.address, "read"):
            try:
                with files.open(path, "rb") as file:
                    data: bytes = file.read(MAX_FILE_BYTES + 1)
            except (FileNotFoundError, PermissionError) as error:
                # This file's; another failure is the storage's, and no row should say so for ever.
                absent = isinstance(error, FileNotFoundError)
                reason = os.strerror(errno.ENOENT if absent else errno.EACCES)
                raise ImageError("unreadable_file", reason) from error
        if len(data) > MAX_FILE_BYTES:
            raise ImageError("too_large", f"more than {MAX_FILE_BYTES:,} bytes")
        return data


@dataclass(frozen=True)
class ShardPlan:
    """What the shards are of: `key` of weights and options, `digest` of the files, their number."""

    key: str
    digest: str
    files: int
    size: int

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.files // self.size)


class ShardFolder:
    """OUT. Raises RecipeError for an address that fsspec cannot open, StorageError as it fails."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._files, self._root = open_files(address)
        self._local = "file" in self._files.protocol

    def begin(self, plan: ShardPlan, files: Sequence[NamedFile]) -> None:
        """Freeze the plan, or find the same. Raises RecipeError where another's scores lie."""
        earlier = self._read_plan()
        if earlier is None:
            if self.finished():
                raise RecipeError(f"{self.address} holds parts without a plan; name another --out")
            self.put(_FILES, _files_bytes(files, plan.size))
            self.put(_PLAN, json.dumps(asdict(plan), indent=2).encode())
        elif earlier != plan:
            what = "files" if earlier.key == plan.key else "weights or options"
            raise RecipeError(
                f"{self.address} holds scores of other {what}; name another --out, or remove it"
            )

    def _read_plan(self) -> ShardPlan | None:
        text = self.read(_PLAN)
        if text is None:
            return None
        try:
            return ShardPlan(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{self.address}/{_PLAN} is damaged; remove {self.address}"
            ) from error

    def finished(self) -> set[int]:
        """The shards that are there."""
        with failures(self.address, "read"):
            # A listing that fsspec keeps knows nothing of what others have written since.
            self._files.invalidate_cache(self._root)
            try:
                names = [Path(name).name for name in self._files.ls(self._root, detail=False)]
            except FileNotFoundError:
                return set()
        return {int(n[5:-8]) for n in names if n.startswith("part-") and n.endswith(".parquet")}

    def files_of(self, shard: int) -> list[NamedFile]:
        """The images of a shard."""
        from pyarrow import parquet

        with (
            failures(self.address, "read"),
            self._files.open(f"{self._root}/{_FILES}", "rb") as file,
        ):
            table = parquet.ParquetFile(file).read_row_group(shard)
        return [NamedFile(**row) for row in table.to_pylist()]

    def write(self, shard: int, data: bytes) -> None:
        """Put a shard's Parquet file in its place."""
        self.put(_part(shard), data)

    def read(self, name: str) -> bytes | None:
        """A file of the folder; None where there is none."""
        with failures(self.address, "read"):
            try:
                data: bytes = self._files.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
        return data

    def remove(self, name: str) -> None:
        """A file is there no more; it may be gone already."""
        with failures(self.address, "written"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    def counts(self) -> Iterator[tuple[int, int]]:
        """Rows and errors of each part, as its metadata has them."""
        from pyarrow import parquet

        for shard in sorted(self.finished()):
            with (
                failures(self.address, "read"),
                self._files.open(f"{self._root}/{_part(shard)}", "rb") as file,
            ):
                facts = parquet.read_schema(file).metadata
            yield int(facts[b"rows"]), int(facts[b"errors"])

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the folder, whole or not at all."""
        target = f"{self._root}/{name}"
        with failures(self.address, "written"):
            make_folder(self._files, self._root)
            if not self._local:  # an object store shows an object when it is whole
                self._files.pipe_file(target, data)
                return
            # Two may write one shard, when a node was only thought lost: the same bytes.
            part = Path(f"{self._root}/.{name}.{secrets.token_hex(4)}.tmp")
            try:
                with part.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)


def make_plan(files: Sequence[NamedFile], key: str, size: int) -> ShardPlan:
    """The plan of `size` files a shard."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.address}\0".encode(errors="surrogateescape"))
    return ShardPlan(digest_of([key, size]), digest.hexdigest(), len(files), size)


def read_parquet_files(path: Path, *, column: str, data: Path | None) -> list[NamedFile]:
    """The images that a Parquet table names: column `path` (or an address), and their names.

    A path that is not whole lies under `data`, or beside the table. Raises RecipeError without
    that column.
    """
    from pyarrow import parquet

    names = parquet.read_schema(path).names
    if "path" not in names:
        raise RecipeError(f"{path}: no column path (it has {', '.join(names)})")
    columns = ["path", *([column] if column in names else [])]
    table = parquet.read_table(path, columns=columns)
    folder = (data or path.parent).resolve()
    paths = [str(one) for one in table["path"].to_pylist()]
    addresses = [one if "://" in one else str(folder / one) for one in paths]
    called = table[column].to_pylist() if column in names else paths
    return [NamedFile(str(n), a) for n, a in zip(called, addresses, strict=True)]


def _part(shard: int) -> str:
    return f"part-{shard:05d}.parquet"


def _files_bytes(files: Sequence[NamedFile], size: int) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, list[Any]] = {
        "name": [file.name for file in files],
        "address": [file.address for file in files],
    }
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out, row_group_size=size)
    return out.getvalue()
