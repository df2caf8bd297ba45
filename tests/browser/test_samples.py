"""The page's samples are what benchmarks/page_samples.py draws, and small."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.page_samples import FOLDER, draw_samples

SAMPLES = draw_samples()


def test_the_list_names_every_sample_and_what_it_was_drawn_as() -> None:
    listed = json.loads((FOLDER / "samples.json").read_text())
    assert listed == [{"file": s.file, "actual": s.actual} for s in SAMPLES]
    assert len(listed) == 8
    assert {s["actual"] for s in listed} == {"melanoma", "benign"}
    assert {path.name for path in FOLDER.glob("*.jpg")} == {s.file for s in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
def test_the_committed_file_is_the_drawing_but_for_jpeg(sample) -> None:
    file = FOLDER / sample.file
    assert file.stat().st_size < 15_000
    found = np.asarray(Image.open(file), np.float32)
    # As near as its own JPEG comes, and farther from every other sample.
    assert np.abs(found - sample.pixels).mean() < 4
    others = [s for s in SAMPLES if s.file != sample.file]
    assert min(np.abs(found - other.pixels).mean() for other in others) > 15


def test_the_same_drawing_comes_twice() -> None:
    again = draw_samples()
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(SAMPLES, again, strict=True))
