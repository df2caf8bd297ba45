"""Pictures of the largest errors: each name's own photograph, or a note where there is none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import TinyRun

from melanoma.data.duplicates.contact_sheet import Tile, save_contact_sheet
from melanoma.data.name_digests import training_name_digest
from melanoma.evaluation.report.schema import Mistake
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.workflows import error_pictures
from melanoma.workflows.error_pictures import save_pictures
from melanoma.workflows.watch import Watch

OWN = {"confusion.png", "wrong_confidence.png", "mistakes_confident.png", "mistakes_unsure.png"}


class Sheets:
    """What contact sheets were asked for: their tiles by row, and their title."""

    def __init__(self) -> None:
        self.rows: list[list[Tile]] = []
        self.title = ""

    def save(self, path: Path, rows: Any, *, title: str) -> None:
        self.rows, self.title = rows, title
        save_contact_sheet(path, rows, title=title)

    @property
    def tiles(self) -> list[Tile]:
        return [tile for row in self.rows for tile in row]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> Sheets:
    found = Sheets()
    monkeypatch.setattr(error_pictures, "save_contact_sheet", found.save)
    return found


@pytest.fixture(scope="module")
def arrays(trained: TinyRun) -> Path:
    return trained.folder.parent / "arrays"


def mistake(name: str, **more: Any) -> Mistake:
    said = {"label": "melanoma", "predicted": "benign", "probability": 0.1, "fold": 0}
    return Mistake(image_name=name, melanoma_probability=0.1, **{**said, **more})


def report_of(folder: Path, mistakes: list[Mistake]) -> Any:
    content = load_bundle(folder).report
    return SimpleNamespace(content=content.model_copy(update={"largest_errors": tuple(mistakes)}))


def pictures_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "figures").glob("*.png")}


def test_each_tile_is_its_name_s_photograph_and_what_it_was_called(
    trained: TinyRun, copied: Path, arrays: Path, sheets: Sheets
) -> None:
    names = [trained.array.names[row] for row in (9, 3, 40, 7, 0, 21, 30)]
    mistakes = [mistake(name) for name in names[:-1]]
    mistakes.append(mistake(names[-1], label="benign", predicted="melanoma"))
    said: list[str] = []
    save_pictures(report_of(copied, mistakes), copied, arrays, watch=Watch(say=said.append))
    assert [len(row) for row in sheets.rows] == [6, 1]
    for name, tile in zip(names, sheets.tiles, strict=True):
        row = trained.array.names.index(name)
        assert np.array_equal(tile.pixels, trained.array.rows([row])[0])
    assert sheets.tiles[0].lines == (names[0], "is melanoma", "called benign")
    assert sheets.tiles[-1].lines == (names[-1], "is benign", "called melanoma")
    assert sheets.title == "tiny: the largest errors"
    written = pictures_in(copied)
    assert {"largest_errors.png", "confusion.png", "wrong_confidence.png"} <= written
    assert written <= {"largest_errors.png", *OWN}
    [line] = said
    assert all(name in line for name in written) and "licenses" in line
    with Image.open(copied / "figures/largest_errors.png") as picture:
        assert picture.height > 2 * 180, "two rows of tiles"


def test_a_name_that_is_a_digest_is_found_by_the_array_s_names(
    trained: TinyRun, copied: Path, arrays: Path, sheets: Sheets
) -> None:
    name = trained.array.names[5]
    save_pictures(report_of(copied, [mistake(training_name_digest(name))]), copied, arrays)
    [tile] = sheets.tiles
    assert tile.lines[0] == name
    assert np.array_equal(tile.pixels, trained.array.rows([5])[0])


def test_an_external_set_has_its_own_sheet_alone_by_the_recipe_of_its_run(
    trained: TinyRun, copied: Path, arrays: Path, sheets: Sheets
) -> None:
    folder = copied / "external" / "elsewhere"
    folder.mkdir(parents=True)
    before = pictures_in(copied)
    save_pictures(report_of(copied, [mistake(trained.array.names[2])]), folder, arrays)
    assert pictures_in(folder) == {"largest_errors.png"}
    assert pictures_in(copied) == before


@pytest.mark.parametrize("absent", ["array", "image"])
def test_without_the_images_nothing_is_written_and_a_note_says_why(
    trained: TinyRun, copied: Path, arrays: Path, tmp_path: Path, absent: str
) -> None:
    before, said = pictures_in(copied), []
    names = [trained.array.names[2], "elsewhere" if absent == "image" else trained.array.names[3]]
    where = tmp_path / "none" if absent == "array" else arrays
    report = report_of(copied, [mistake(name) for name in names])
    save_pictures(report, copied, where, watch=Watch(say=said.append))
    assert pictures_in(copied) == before
    assert said == [f"no pictures: {where} has no array of these images (--arrays DIR)"]
