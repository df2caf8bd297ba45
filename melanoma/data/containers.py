"""Files that hold many photographs: HDF5 (ISIC 2024) and TFRecord, one member at a time.

A member's path is its container's path and its key below it: train-image.hdf5/ISIC_0015670, or
train00-2071.tfrec/OFFSET. The packages are extras: melanoma[hdf5], melanoma[tfrecord].
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from melanoma.errors import DataError

HDF5, TFRECORD = (".hdf5", ".h5"), (".tfrec", ".tfrecord", ".tfrecords")
_DELTA = 0xA282EAD8  # of the masked checksums, as TensorFlow's record_writer.h has it


def split_member(path: Path) -> tuple[Path, str] | None:
    """The container and the key of a member's path; None for a file of its own."""
    if path.parent.suffix.lower() in (*HDF5, *TFRECORD) and path.parent.is_file():
        return path.parent, unquote(path.name)
    return None


def member_path(container: str, key: str) -> str:
    """The path of a member, which split_member takes apart."""
    return f"{container}/{quote(key, safe='')}"


def stat_source(path: Path) -> os.stat_result:
    """The stat of the file, or of the container that holds the member. Raises OSError."""
    member = split_member(path)
    return (member[0] if member else path).stat()


def read_member(container: Path, key: str) -> bytes:
    """The member's bytes. Raises OSError where it is not there or broken, DataError without the
    package that reads such containers."""
    if container.suffix.lower() in HDF5:
        return _read_hdf5(container, key)
    with container.open("rb") as file:
        file.seek(int(key))
        record = _next_record(file, container)
    image = record_features(record or b"").get("image")
    if not isinstance(image, bytes):
        raise OSError(5, f"no image in the record at {key}")
    return image


def hdf5_keys(container: Path) -> list[str]:
    """The names of the members. Raises DataError for what is no HDF5 file."""
    h5py = _package("h5py", "hdf5")
    try:
        with h5py.File(container, "r") as file:
            return list(file)
    except OSError as error:
        raise DataError(f"{container} is no HDF5 file ({_one_line(error)})") from error


def tfrecords(container: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(offset, features) of every record, the image's bytes left out.

    A feature of one value is that value, bytes, int or float. Raises DataError for a broken file.
    """
    try:
        with container.open("rb") as file:
            offset = 0
            while (record := _next_record(file, container)) is not None:
                features = record_features(record)
                features.pop("image", None)
                yield offset, features
                offset = file.tell()
    except OSError as error:
        raise DataError(f"{container}: {error.strerror}") from error


def record_features(record: bytes) -> dict[str, Any]:
    """The features of a tf.train.Example. Raises OSError where it is none."""
    _package("tfrecord", "tfrecord")
    from google.protobuf.message import DecodeError
    from tfrecord import example_pb2

    example = example_pb2.Example()
    try:
        example.ParseFromString(record)
    except DecodeError as error:
        raise OSError(5, "a record is no tf.train.Example") from error
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        features[name] = values[0] if len(values) == 1 else values
    return features


def _read_hdf5(container: Path, key: str) -> bytes:
    h5py = _package("h5py", "hdf5")
    try:
        with h5py.File(container, "r") as file:
            value = file[key][()]
    except (KeyError, TypeError) as error:
        raise OSError(2, f"no member {key}") from error
    return bytes(value) if isinstance(value, bytes) else bytes(value.tobytes())


def _next_record(file: BinaryIO, container: Path) -> bytes | None:
    """The record that the file stands at; None at its end. Raises OSError where it is damaged."""
    crc32c = _package("crc32c", "tfrecord")
    head = file.read(12)
    if not head:
        return None
    length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
    if len(head) < 12 or _mask(crc32c.crc32c(head[:8])) != struct.unpack("<I", head[8:])[0]:
        raise OSError(5, f"{container.name} is damaged: a record's length has another checksum")
    data, tail = file.read(length), file.read(4)
    if len(tail) < 4 or _mask(crc32c.crc32c(data)) != struct.unpack("<I", tail)[0]:
        raise OSError(5, f"{container.name} is damaged or cut off: a record has another checksum")
    return data


def _mask(checksum: int) -> int:
    return (((checksum >> 15) | (checksum << 17)) + _DELTA) & 0xFFFFFFFF


def _package(name: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"such files are read by {name}, which is not installed: "
            f"pip install 'melanoma[{extra}]'"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
