"""The page's samples are what benchmarks/page_samples.py draws, and small."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.page_samples import FOLDER, Sample, draw_samples


@pytest.fixture(scope="module")
def drawn() -> list[Sample]:
    return draw_samples()


def test_the_list_names_every_sample_and_what_it_was_drawn_as(drawn: list[Sample]) -> None:
    listed = json.loads((FOLDER / "samples.json").read_text())
    assert listed == [{"file": s.file, "actual": s.actual} for s in drawn]
    assert len(listed) == 8
    assert {s["actual"] for s in listed} == {"melanoma", "benign"}
    assert {path.name for path in FOLDER.glob("*.jpg")} == {s.file for s in drawn}


def test_each_committed_file_is_its_drawing_but_for_jpeg(drawn: list[Sample]) -> None:
    for sample in drawn:
        file = FOLDER / sample.file
        assert file.stat().st_size < 15_000
        found = np.asarray(Image.open(file), np.float32)
        # As near as its own JPEG comes, and farther from every other sample.
        assert np.abs(found - sample.pixels).mean() < 4, sample.file
        others = [s for s in drawn if s.file != sample.file]
        assert min(np.abs(found - other.pixels).mean() for other in others) > 15, sample.file


def test_the_same_drawing_comes_twice(drawn: list[Sample]) -> None:
    again = draw_samples()
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(drawn, again, strict=True))
