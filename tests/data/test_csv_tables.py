"""Tables that are compressed: read as the plain file is, or refused by name."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from melanoma.data import csv_tables
from melanoma.data.csv_tables import read_table
from melanoma.errors import DataError

TEXT = "image_name,target\nä,1\nb,0\n".encode()


def test_a_compressed_table_is_read_as_the_plain_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT, mtime=0))
    plain, packed = (read_table(tmp_path / f"a.csv{end}", needed=["target"]) for end in ("", ".gz"))
    assert plain.equals(packed)
    assert list(packed["image_name"]) == ["ä", "b"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TEXT, "no gzip file, or a damaged one"),
        (zlib.compress(TEXT), "no gzip file, or a damaged one"),
        (gzip.compress(TEXT, mtime=0)[:-9], "cut off"),
        (gzip.compress(TEXT + b" " * 1000, mtime=0), "more than 500 bytes"),
        (gzip.compress(b"", mtime=0), "is empty"),
    ],
)
def test_what_cannot_be_unpacked_whole_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    monkeypatch.setattr(csv_tables, "_MOST_BYTES", 500)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_table(path, needed=["target"])


def test_a_long_cell_is_read_and_a_line_that_ends_within_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f"image_name,note\na,{'x' * 200_000}\n")
    assert len(read_table(tmp_path / "long.csv", needed=[])["note"][0]) == 200_000
    (tmp_path / "broken.csv").write_bytes(b"image_name,note\na,lower\rback\n")
    with pytest.raises(DataError, match=r"broken\.csv"):
        read_table(tmp_path / "broken.csv", needed=[])
