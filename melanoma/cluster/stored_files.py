"""Files at an address of fsspec, such as s3://bucket/scores, and what is said when one fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from melanoma.errors import MelanomaError, RecipeError, StorageError

# They have no folders: making one makes the bucket, also one whose name is a slip of the pen. And
# they show an object when it is whole, so that none needs to be renamed.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"}


def open_files(address: str) -> tuple[Any, str]:
    """The file system of the address, and the path in it. Raises RecipeError where fsspec has none,
    or its package is not installed."""
    try:
        from fsspec.core import url_to_fs

        files, root = url_to_fs(address)
    except (ImportError, ValueError) as error:
        ours = address.startswith(("s3://", "s3a://")) and isinstance(error, ImportError)
        reason = "pip install 'melanoma[s3]'" if ours else str(error)
        raise RecipeError(f"{address}: fsspec cannot open it ({reason})") from error
    return files, root


def is_object_store(files: Any) -> bool:
    """Whether the file system knows whole objects only, and no folders."""
    names = files.protocol
    return not _OBJECT_STORES.isdisjoint([names] if isinstance(names, str) else names)


def make_folder(files: Any, path: str) -> None:
    """The folder and those above it, where the file system has folders."""
    if not is_object_store(files):
        files.makedirs(path, exist_ok=True)


@contextmanager
def failures(address: str, what: str) -> Iterator[None]:
    """Whatever a file system raises in the block, as a StorageError of one line.

    Each client has errors of its own (botocore's are no OSErrors), so every one is caught: nothing
    but calls of the client belongs in the block.
    """
    try:
        yield
    except MelanomaError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise StorageError(f"{address} cannot be {what}: {text}") from error
