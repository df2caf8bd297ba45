"""PNG figures: of the asked size, written whole or not at all, leaving matplotlib as it was."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from melanoma.evaluation.render.figure_style import ACCENT, STYLE, figure_at


def test_a_figure_has_the_size_asked_for_and_what_was_drawn(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    with figure_at(path, width=3, height=2) as axes:
        axes.axhspan(0, 1, color=ACCENT)
        assert not path.exists(), "a figure that is half drawn is no file"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (330, 220)
        pixels = np.asarray(picture.convert("RGB"))
    accent = [int(ACCENT[n : n + 2], 16) for n in (1, 3, 5)]
    assert (pixels == accent).all(axis=2).mean() > 0.3


def test_the_style_is_the_figure_s_alone(tmp_path: Path) -> None:
    before = {name: mpl.rcParams[name] for name in STYLE}
    assert before != STYLE
    with figure_at(tmp_path / "figure.png", width=1, height=1) as axes:
        assert {name: mpl.rcParams[name] for name in STYLE} == STYLE
        assert not axes.spines["top"].get_visible()
    assert {name: mpl.rcParams[name] for name in STYLE} == before
    assert mpl.get_backend().lower() == "agg", "no display is asked for"


def test_a_drawing_that_fails_writes_nothing_and_keeps_no_figure_open(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"an earlier one")
    with pytest.raises(ZeroDivisionError), figure_at(path, width=1, height=1):
        _ = 1 / 0
    assert path.read_bytes() == b"an earlier one"
    with figure_at(path, width=1, height=1):
        pass
    assert plt.get_fignums() == []
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]
