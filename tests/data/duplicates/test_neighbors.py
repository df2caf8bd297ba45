"""Candidates: what the inverted file gives is what a comparison of all with all gives."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from melanoma.data.array_build import silent
from melanoma.data.duplicates import neighbors
from melanoma.data.duplicates.neighbors import Prints, find_neighbors
from melanoma.data.images import Pixels

COUNT = 120


class Blots:
    """Squares of 64 px, each of its own blots; the last ten are the first ten, mirrored and with
    noise, so that no two are equally near."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        coarse = rng.integers(0, 255, (COUNT - 10, 8, 8, 1), dtype=np.uint8)
        squares = coarse.repeat(8, axis=1).repeat(8, axis=2).repeat(3, axis=3)
        noise = rng.integers(0, 20, (10, 64, 64, 1), dtype=np.uint8)
        mirrored = squares[:10, :, ::-1] // 2 + noise
        self.squares = np.concatenate([squares // 2, mirrored])

    def __len__(self) -> int:
        return COUNT

    def rows(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Pixels:
        return self.squares[np.asarray(rows, dtype=np.int64)]


def found(same: bool) -> set[tuple[int, int]]:
    prints = Prints(Blots(), np.arange(COUNT), silent)
    pairs = find_neighbors(prints, prints, same=same, progress=silent)
    return {(int(a), int(b)) for a, b in (np.sort(pairs, axis=1) if same else pairs)}


@pytest.mark.parametrize("same", [True, False])
def test_the_inverted_file_finds_what_all_with_all_finds(
    same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbors, "WORTH_A_LOOK", 0.4)  # or hardly any pair is one
    everything = found(same)
    copies = {(n, COUNT - 10 + n) for n in range(10)}
    assert copies <= everything and len(everything) > 3 * len(copies)
    monkeypatch.setattr(neighbors, "ALL_UP_TO", 0)
    monkeypatch.setattr(neighbors, "_LOOKED_INTO", 10**6)  # every cell: nothing may be missed
    assert found(same) == everything
    monkeypatch.setattr(neighbors, "_LOOKED_INTO", 2)
    few = found(same)
    assert copies <= few and few != everything


def test_without_faiss_many_images_are_compared_all_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = found(True)
    monkeypatch.setattr(neighbors, "ALL_UP_TO", 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(neighbors, "inverted_file", lambda _: pytest.fail("no faiss"))
    assert found(True) == expected
