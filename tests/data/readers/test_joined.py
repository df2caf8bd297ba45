"""Further tables beside the one that names the images."""

from __future__ import annotations

from pathlib import Path

from reader_folders import (
    coded_folder,
    csv_data,
)

from melanoma.data.readers.reader_catalog import read_lesions


def test_an_unknown_lesion_is_joined_to_no_row(tmp_path: Path) -> None:
    """Case 04 in a table of lesions: `unknown` in two rows is not one lesion of two labels."""
    coded_folder(tmp_path, "L1", "unknown")
    (tmp_path / "t.csv").write_text("image_name,lesion_id\ni0,L1\ni1,unknown\n")
    (tmp_path / "l.csv").write_text("lesion_id,dx\nL1,mel\nunknown,nv\nunknown,mel\n")
    data = csv_data(target_col="dx", positive=("mel",), table="t.csv", join={"l.csv": "lesion_id"})
    found = read_lesions(tmp_path, data)
    assert found.frame["target"].tolist() == [1, -1]
    assert "1 rows whose lesion_id is not in l.csv: row 2 (line 3): 'unknown'" in found.warnings
