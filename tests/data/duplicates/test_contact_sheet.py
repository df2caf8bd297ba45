"""A contact sheet: every square in its place, at one size, with its words under it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melanoma.data.duplicates.contact_sheet import Tile, draw_contact_sheet, save_contact_sheet
from melanoma.errors import StorageError

SIDE, GAP = 180, 12


def flat(level: int, size: int) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def test_squares_of_any_size_stand_in_their_row_and_column() -> None:
    levels = [[10, 60, 110], [160]]
    rows = [[Tile(flat(v, 32 + v), ("name", "detail")) for v in row] for row in levels]
    sheet = np.asarray(draw_contact_sheet(rows))
    height = SIDE + 2 * 17 + 2 * GAP
    assert sheet.shape == (GAP + 2 * height + GAP, 3 * (SIDE + GAP) + GAP, 3)
    for down, row in enumerate(levels):
        for across, level in enumerate(row):
            top, left = GAP + down * height, GAP + across * (SIDE + GAP)
            assert (sheet[top : top + SIDE, left : left + SIDE] == level).all()
            under = sheet[top + SIDE : top + SIDE + 34, left : left + SIDE]
            assert (under < 128).any()
    assert (sheet[GAP + height : GAP + height + SIDE, -SIDE:] == 255).all()


def test_a_small_square_is_enlarged_as_it_is() -> None:
    """A smoothed enlargement would show detail that the array does not have."""
    checks = np.indices((30, 30)).sum(axis=0)[..., None] % 2 * 255
    sheet = np.asarray(draw_contact_sheet([[Tile(np.repeat(checks, 3, axis=2).astype(np.uint8))]]))
    shown = sheet[GAP : GAP + SIDE, GAP : GAP + SIDE]
    assert set(np.unique(shown)) == {0, 255}
    assert np.array_equal(shown[3::6, 3::6, 0], checks[..., 0])


def test_a_long_caption_stays_under_its_square() -> None:
    long = [[Tile(flat(0, 64), ("W" * 200,)), Tile(flat(0, 64), ("ok",))]]
    sheet = np.asarray(draw_contact_sheet(long))
    assert (sheet[GAP + SIDE + 1 :, GAP + SIDE : 2 * GAP + SIDE] == 255).all()
    assert (sheet[GAP + SIDE + 1 :, GAP : GAP + SIDE] < 128).any()


def test_a_title_widens_a_narrow_sheet() -> None:
    narrow = draw_contact_sheet([[Tile(flat(0, 64))]])
    titled = draw_contact_sheet([[Tile(flat(0, 64))]], title="A title that is wider than a square")
    assert titled.width > narrow.width
    assert titled.height > narrow.height


def test_the_sheet_is_a_png_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    save_contact_sheet(path, [[Tile(flat(7, 40), ("a",))]], title="one")
    with Image.open(path) as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_a_sheet_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        save_contact_sheet(tmp_path / "file" / "sheet.png", [[Tile(flat(7, 40))]])


def test_no_tiles_make_an_empty_sheet() -> None:
    assert draw_contact_sheet([], title="none").height > 0
