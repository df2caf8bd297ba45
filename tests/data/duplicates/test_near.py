"""Near-duplicates: every planted copy is found with what was done to it, and strangers are not."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageEnhance

from melanoma.data.duplicates.fingerprints import (
    VIEWS,
    WINDOWS,
    View,
    blocks_of,
    make_fingerprints,
    seen_as,
)
from melanoma.data.duplicates.near import NearPair, near_duplicates, near_duplicates_between
from melanoma.data.images import Pixels, make_square, read_file_square
from melanoma.data.phantoms.dataset import make_phantoms

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

Change = Callable[[Image.Image], Image.Image]
COPIED = 20
SEEDS = (0, 1, 2)


class Memory:
    """Squares that are in memory."""

    def __init__(self, squares: Sequence[Pixels] | Pixels) -> None:
        self.squares = np.stack(list(squares)) if len(squares) else np.zeros((0, 64, 64, 3), "u1")

    def __len__(self) -> int:
        return len(self.squares)

    def rows(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Pixels:
        return self.squares[np.asarray(rows, dtype=np.int64)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """80 phantoms of 16 patients, at 96 px; a patient's share skin, light, hair and instrument."""
    folder = tmp_path_factory.mktemp("photographs")
    make_phantoms(folder, images=80, patients=16, size=96, seed=11)
    files = sorted((folder / "jpeg" / "train").glob("*.jpg"))
    return [Image.open(file).convert("RGB") for file in files]


def square(photograph: Image.Image, size: int = 64) -> Pixels:
    return make_square(np.asarray(photograph.convert("RGB")), size=size, fit="squash")


def saved(photograph: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    photograph.save(data, "JPEG", quality=quality)
    return Image.open(io.BytesIO(data.getvalue()))


def cropped(photograph: Image.Image, share: float, *, down: float, across: float) -> Image.Image:
    width, height = photograph.size
    left, top = across * share * width, down * share * height
    box = (left, top, left + (1 - share) * width, top + (1 - share) * height)
    return photograph.resize(photograph.size, Image.Resampling.BICUBIC, box=box)


TURNS = {
    "rotated 90": Image.Transpose.ROTATE_270,  # Pillow turns the other way round
    "rotated 180": Image.Transpose.ROTATE_180,
    "rotated 270": Image.Transpose.ROTATE_90,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "mirrored and rotated 180": Image.Transpose.FLIP_TOP_BOTTOM,
    "mirrored and rotated 270": Image.Transpose.TRANSPOSE,
    "mirrored and rotated 90": Image.Transpose.TRANSVERSE,
}
KEPT: dict[str, tuple[Change, str]] = {
    **{f"jpeg {q}": (lambda p, q=q: saved(p, q), "re-saved") for q in (30, 50, 75, 95)},
    **{name: (lambda p, way=way: p.transpose(way), name) for name, way in TURNS.items()},
    **{
        f"{name}, jpeg 30": (lambda p, way=way: saved(p.transpose(way), 30), name)
        for name, way in TURNS.items()
    },
    "half": (lambda p: p.resize((48, 48), Image.Resampling.BICUBIC), "re-saved"),
    "brighter": (lambda p: ImageEnhance.Brightness(p).enhance(1.1), "re-saved"),
    "paler": (lambda p: ImageEnhance.Contrast(p).enhance(0.8), "re-saved"),
}
CROPS = {
    f"{name}, quality {quality}": (share, down, across, quality)
    for quality in (0, 40)
    for name, (share, down, across) in {
        "center": (0.05, 0.5, 0.5),
        "top left": (0.05, 0.0, 0.0),
        "bottom left": (0.05, 1.0, 0.0),
        "off center": (0.05, 0.2, 0.9),
        "a tenth": (0.10, 0.5, 0.5),
        "a tenth at the corner": (0.10, 1.0, 1.0),
    }.items()
}


def crop_of(share: float, down: float, across: float, quality: int) -> Change:
    """Cropped; with a quality turned and saved as well."""

    def change(photograph: Image.Image) -> Image.Image:
        crop = cropped(photograph, share, down=down, across=across)
        return saved(crop.transpose(Image.Transpose.ROTATE_90), quality) if quality else crop

    return change


@pytest.fixture(scope="module")
def planted(photographs: list[Image.Image]) -> dict[str, list[NearPair]]:
    """By change, the pairs with one of its photographs or copies.

    Of each change there are COPIED copies, sought among all phantoms together with those of other
    changes, of other photographs.
    """
    changes = {name: change for name, (change, _) in KEPT.items()}
    changes |= {name: crop_of(*crop) for name, crop in CROPS.items()}
    whole, count = [square(photograph) for photograph in photographs], len(photographs)
    pairs: dict[str, list[NearPair]] = {}
    names = list(changes)
    for start in range(0, len(names), count // COPIED):
        of_row = np.repeat(names[start : start + count // COPIED], COPIED).tolist()
        copies = [
            square(changes[name](photograph))
            for name, photograph in zip(of_row, photographs, strict=False)
        ]
        found = near_duplicates(Memory([*whole, *copies]))
        for name in dict.fromkeys(of_row):
            own = {row for row, of in enumerate(of_row) if of == name}
            pairs[name] = [p for p in found if own & {p.first % count, p.second % count}]
    return pairs


def require_its_own(found: list[NearPair], photographs: list[Image.Image]) -> None:
    """Each photograph with its copy, and nothing else."""
    assert len({pair.first for pair in found}) == len(found) == COPIED
    assert all(pair.second == len(photographs) + pair.first for pair in found)


@pytest.mark.parametrize("name", KEPT)
def test_every_copy_is_found_with_its_relation_and_no_stranger_is(
    name: str, planted: dict[str, list[NearPair]], photographs: list[Image.Image]
) -> None:
    found = planted[name]
    require_its_own(found, photographs)
    # A phantom that is like its own mirror image may be called either.
    assert sum(pair.relation.startswith(KEPT[name][1]) for pair in found) >= COPIED - 1
    assert all(found[i].similarity >= found[i + 1].similarity for i in range(len(found) - 1))


@pytest.mark.parametrize("name", CROPS)
def test_every_crop_is_found(
    name: str, planted: dict[str, list[NearPair]], photographs: list[Image.Image]
) -> None:
    found, (share, *_, quality) = planted[name], CROPS[name]
    require_its_own(found, photographs)
    said = [float(p.relation.partition("cropped to ")[2].split(" ")[0] or 100) for p in found]
    assert np.median(said) == pytest.approx(100 * (1 - share), abs=1)
    turned = sum("rotated 270" in pair.relation for pair in found)
    assert turned >= COPIED - 1 if quality else turned == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_phantoms_of_one_patient_are_strangers(seed: int, tmp_path: Path) -> None:
    """All lesions of six patients, each with one skin, light, hair and vignette: none is joined."""
    make_phantoms(tmp_path, images=120, patients=6, size=64, seed=seed)
    files = sorted((tmp_path / "jpeg" / "train").glob("*.jpg"))
    squares = Memory([read_file_square(file, size=64, fit="squash")[0] for file in files])
    assert near_duplicates(squares) == []


@pytest.mark.parametrize("size", [32, 48, 128, 200])
def test_the_size_of_the_array_does_not_matter(size: int, photographs: list[Image.Image]) -> None:
    changes = [lambda p: saved(p.transpose(Image.Transpose.ROTATE_90), 50)] * 10
    changes += [lambda p: cropped(p, 0.05, down=0.1, across=0.8)] * 10
    copies = [
        square(change(photograph), size)
        for change, photograph in zip(changes, photographs, strict=False)
    ]
    found = near_duplicates(Memory([*(square(p, size) for p in photographs), *copies]))
    expected = [(row, len(photographs) + row) for row in range(20)]
    assert sorted((pair.first, pair.second) for pair in found) == expected


def test_images_with_nothing_to_see_are_near_no_other() -> None:
    rng = np.random.default_rng(0)
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    grey = [np.full((64, 64, 3), level, np.uint8) for level in (60, 61, 120, 200)]
    slope = np.repeat(np.linspace(100, 110, 64).astype(np.uint8)[None, :, None], 64, axis=0)
    slopes = [np.repeat(slope, 3, axis=2), np.repeat(slope + 20, 3, axis=2)]
    noise = [(128 + rng.normal(0, 2, (64, 64, 3))).astype(np.uint8) for _ in range(6)]
    assert near_duplicates(Memory([black, white, *grey, *slopes, *noise])) == []


def test_identical_images_are_alike_to_one_and_only_the_rows_asked_for_are_looked_at(
    photographs: list[Image.Image],
) -> None:
    squares = Memory([square(photographs[row]) for row in (0, 1, 2, 1, 0)])
    found = near_duplicates(squares)
    assert {(p.first, p.second) for p in found} == {(0, 4), (1, 3)}
    assert all(pair.similarity == pytest.approx(1, abs=1e-6) for pair in found)
    assert [(p.first, p.second) for p in near_duplicates(squares, rows=[4, 1, 0])] == [(0, 4)]
    for few in ([], [2], [0, 1]):
        assert near_duplicates(squares, rows=few) == []


def test_two_sets_are_compared_whichever_of_them_holds_the_crop(
    photographs: list[Image.Image],
) -> None:
    whole = [square(photograph) for photograph in photographs]
    crops = [square(cropped(p, 0.10, down=0, across=1)) for p in photographs[:20]]
    turned = [view.transpose(1, 0, 2) for view in whole[20:30]]
    ours, theirs = Memory([*whole[:10], *crops[10:], *whole[20:60]]), [*crops[:10], *whole[10:20]]
    found = near_duplicates_between(ours, Memory([*theirs, *turned, *whole[60:]]))
    assert sorted((pair.first, pair.second) for pair in found) == [(row, row) for row in range(30)]
    relations = {pair.first: pair.relation for pair in found}
    assert all("cropped to 9" in relations[row] for row in range(20))
    assert [relations[row] for row in range(20, 30)] == ["mirrored and rotated 270"] * 10
    swapped = near_duplicates_between(Memory([*theirs, *turned, *whole[60:]]), ours)
    assert [(p.second, p.first) for p in swapped] == [(p.first, p.second) for p in found]
    one = near_duplicates_between(ours, Memory(theirs), rows=[3, 15], other_rows=[15, 0])
    assert [(pair.first, pair.second) for pair in one] == [(15, 15)]
    assert near_duplicates_between(ours, Memory([])) == []


def test_the_rows_order_changes_nothing(photographs: list[Image.Image]) -> None:
    copies = [cropped(p, 0.08, down=0.3, across=0.6) for p in photographs[:30]]
    squares = [square(photograph) for photograph in [*photographs, *copies]]
    order = np.random.default_rng(3).permutation(len(squares))
    found = near_duplicates(Memory(squares))
    shuffled = near_duplicates(Memory([squares[row] for row in order]))
    back = {tuple(sorted((int(order[p.first]), int(order[p.second])))) for p in shuffled}
    assert back == {(pair.first, pair.second) for pair in found}
    assert near_duplicates(Memory(squares)) == found


# What the search stands on: views and windows are exact in the fingerprint's own terms.


@pytest.mark.parametrize("view", VIEWS)
def test_a_fingerprint_seen_in_a_view_is_that_of_the_turned_image(
    view: View, photographs: list[Image.Image]
) -> None:
    squares = [square(photograph) for photograph in photographs[:20]]
    turned = [
        np.dstack([view.of(one[..., c].astype(np.float32)) for c in range(3)]) for one in squares
    ]
    ours = make_fingerprints(Memory(squares), blocks_of(range(20))).whole
    theirs = make_fingerprints(Memory(np.asarray(turned, np.uint8)), blocks_of(range(20))).whole
    assert np.abs(seen_as(ours, view) - theirs).max() < 0.02
    assert np.allclose(seen_as(seen_as(ours, view), view.inverse), ours)
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(view.inverse.of(view.of(image)), image)
    assert len({view.of(image).tobytes() for view in VIEWS}) == 8


@pytest.mark.parametrize("window", WINDOWS)
def test_a_windows_fingerprint_is_near_that_of_the_crop_itself(
    window: tuple[float, float, float], photographs: list[Image.Image]
) -> None:
    top, left, share = window
    box = (left * 96, top * 96, (left + share) * 96, (top + share) * 96)
    crops = [
        square(p.resize((96, 96), Image.Resampling.BICUBIC, box=box)) for p in photographs[:30]
    ]
    ours = make_fingerprints(Memory([square(p) for p in photographs[:30]]), blocks_of(range(30)))
    theirs = make_fingerprints(Memory(crops), blocks_of(range(30))).whole
    cosines = (ours.crops[WINDOWS.index(window)] * theirs).sum(axis=1)
    assert cosines.min() > 0.85
    # And nearer than the uncropped one, or the window would be of no use.
    if share < 1:
        assert (cosines > (ours.whole * theirs).sum(axis=1)).mean() > 0.9


def test_a_view_moves_a_window_with_the_image() -> None:
    image = np.zeros((100, 100), np.float32)
    image[10:50, 30:70] = 1
    for view in VIEWS:
        top, left, share = view.window((0.10, 0.30, 0.40))
        rows, columns = np.nonzero(view.of(image))
        assert (rows.min(), columns.min()) == (round(top * 100), round(left * 100))
        assert rows.max() - rows.min() + 1 == round(share * 100)


def test_grey_levels_are_those_of_opencv(photographs: list[Image.Image]) -> None:
    """What the search compares is the luminance of Rec. 601, at 64 px whatever the array's size."""
    one = square(photographs[0], 128)
    (grey,) = make_fingerprints(Memory([one]), blocks_of([0])).grey
    expected = cv2.resize(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), (64, 64), interpolation=3)
    assert np.array_equal(grey, expected)
