"""Damage that libjpeg does not see shifts the brightness of every block behind it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from melanoma.data.images import decode_image
from melanoma.data.jpeg_shift import MIN_CLEARNESS, clearest_step
from melanoma.errors import ImageError

HEIGHT, WIDTH = 24, 30  # blocks


def _skin() -> np.ndarray:
    """(HEIGHT, WIDTH) of a dark blot on skin that is unevenly lit, with some noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    blot = 70 * np.exp(-((y - 11) ** 2 + (x - 14) ** 2) / 30)
    return 190 - y - 0.7 * x - blot + np.random.default_rng(0).normal(0, 1.5, (HEIGHT, WIDTH))


def _shifted(row: int, column: int, by: float, *, rows: int = 2) -> np.ndarray:
    """The same, `by` brighter from that block on, in the order in which they are coded."""
    blocks = _skin()
    blocks[row : row + rows, column:] += by
    blocks[row + rows :] += by
    return blocks


def _clearness(blocks: np.ndarray, rows: int = 2) -> float:
    return clearest_step(blocks.clip(0, 255).astype(np.uint8), rows=rows)


@pytest.mark.parametrize("row", [4, 12, 18])
@pytest.mark.parametrize("by", [25, -40])
def test_a_step_in_the_order_of_the_blocks_is_clear(row: int, by: float) -> None:
    assert _clearness(_shifted(row, 13, by)) > MIN_CLEARNESS
    assert _clearness(_shifted(row, 13, by, rows=1), rows=1) > MIN_CLEARNESS


def test_edges_of_photographs_are_no_such_step() -> None:
    assert _clearness(_skin()) < 1
    level, upright, corner, bar = _skin(), _skin(), _skin(), _skin()
    level[12:] -= 60  # a sleeve, from the left to the right
    upright[:, 10:] -= 60
    corner[12:, 10:] -= 60
    bar[:4], bar[20:] = 0, 0  # a film's black bars
    for blocks in (level, upright, corner, bar):
        assert _clearness(blocks) < MIN_CLEARNESS
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH)).astype(np.float64)
    assert _clearness(noise) < MIN_CLEARNESS
    assert _clearness(_skin()[:3]) == _clearness(_skin()[:, :5]) == 0


def _saved(blocks: np.ndarray, **options: object) -> bytes:
    pixels = np.kron(blocks.clip(0, 255).astype(np.uint8), np.ones((8, 8), np.uint8))
    file = io.BytesIO()
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def test_such_a_jpeg_is_refused_and_others_are_not() -> None:
    shifted = _shifted(12, 12, 30)
    with pytest.raises(ImageError, match="all brighter or all darker") as raised:
        decode_image(_saved(shifted))
    assert raised.value.code == "corrupt_image"
    decode_image(_saved(_skin()))
    # Of a progressive one no scan has such an order.
    decode_image(_saved(shifted, progressive=True))
