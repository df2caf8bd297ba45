"""Arrays from anywhere: what is no plain .npy file is one line and exit 3, never a bug."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from melanoma.data.npy_header import read_npy_header
from melanoma.data.readers.npy_arrays import open_npy
from melanoma.errors import DataError

DATA = bytes(2 * 4 * 4 * 3)


def npy(header: str, data: bytes = DATA, *, version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + text + data


def header(descr: str = "|u1", shape: str = "(2, 4, 4, 3)", fortran: str = "False") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"


SOUND = npy(header())
ODD = {
    "nothing": (b"", "cannot be read"),
    "the beginning alone": (SOUND[:6], "cannot be read"),
    "half a header": (SOUND[:40], "cannot be read"),
    "text": (b"image_name,target\n", "cannot be read"),
    "a pickle": (b"\x80\x04K\x01.", "cannot be read"),
    "an archive": (b"PK\x03\x04" + DATA, "an archive (.npz); save its array alone"),
    "brackets without end": (npy("(" * 9000), "cannot be read"),
    "a header of 200 kB": (npy("{" * 200_000, version=(2, 0)), "cannot be read"),
    "another version": (npy(header(), version=(9, 9)), "cannot be read"),
    "no shape": (npy("{'descr': '|u1'}"), "cannot be read"),
    "half a pixel": (npy(header(shape="(2.5, 4, 4, 3)")), "cannot be read"),
    "an order of neither kind": (npy(header(fortran="'x'")), "cannot be read"),
    "objects": (npy(header("|O")), "it holds Python objects"),
    "a negative length": (npy(header(shape="(-1, 4, 4, 3)")), "its shape is (-1, 4, 4, 3)"),
    "more than a disk holds": (npy(header(shape="(10**9, 4)")), "cannot be read"),
    "more than there is": (npy(header(shape="(9000000000, 4)")), "of 36,000,000,128"),
    "more than 64 bits": (npy(header(shape=f"({2**63 - 1}, {2**63 - 1})")), "is cut off: "),
    "one row less": (SOUND[:-1], "is cut off: 223 bytes of 224"),
    "no rows": (npy(header(shape="(0, 4, 4, 3)"), b""), "holds no rows"),
    "one value": (npy(header(shape="()")), "holds a single value"),
}


@pytest.mark.parametrize("what", list(ODD))
def test_what_is_no_array_is_named_in_one_line(what: str, tmp_path: Path) -> None:
    data, said = ODD[what]
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(DataError) as refusal:
        open_npy(tmp_path / "x.npy")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "allow_pickle" not in str(refusal.value)


def test_a_sound_array_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(SOUND)
    mapped = open_npy(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap)
    assert mapped.shape == (2, 4, 4, 3)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_header_says_where_the_values_stand(
    version: tuple[int, int], order: str, tmp_path: Path
) -> None:
    values = np.asarray(np.arange(24, dtype="<f4").reshape(2, 3, 4), order=order)
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, values, version=version)
    with path.open("rb") as file:
        found = read_npy_header(file, path)
    assert (found.shape, found.dtype, found.by_column) == ((2, 3, 4), values.dtype, order == "F")
    assert path.read_bytes()[found.offset :] == values.tobytes(order="A")
    assert found.bytes == path.stat().st_size


def test_what_stands_after_the_values_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(SOUND + b"more")
    assert read_npy_header(io.BytesIO(SOUND), path).bytes == len(SOUND)
