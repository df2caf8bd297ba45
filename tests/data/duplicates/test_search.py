"""Pairs are searched once for an array, kept beside it, and never believed of another array."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanoma.data.array_build import build_array
from melanoma.data.arrays import ImageArray
from melanoma.data.duplicates import search
from melanoma.data.duplicates.near import NearPair
from melanoma.data.duplicates.search import (
    Duplicates,
    SharedImage,
    duplicates_file,
    find_duplicates,
    find_shared,
    has_duplicates,
)
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.recipe import sections
from melanoma.recipe.data_sections import SiimData

Arrays = Callable[[str, list[str]], ImageArray]


@pytest.fixture
def make(phantom_set: Path, tmp_path: Path) -> Arrays:
    """Makes an array in tmp_path/NAME of a few phantoms and what is said of them: 3, 3 rotated."""

    def array(name: str, images: list[str]) -> ImageArray:
        folder = tmp_path / f"{name}_data"
        (folder / "jpeg" / "train").mkdir(parents=True)
        table = pd.read_csv(phantom_set / "train.csv")
        rows = []
        for number, said in enumerate(images):
            row, _, change = said.partition(" ")
            known = table.iloc[int(row)]
            with Image.open(phantom_set / "jpeg/train" / f"{known['image_name']}.jpg") as photo:
                turned = photo.transpose(Image.Transpose.ROTATE_90) if change else photo
                turned.save(folder / "jpeg/train" / f"{name}{number}.png")
            rows.append({**known, "image_name": f"{name}{number}"})
        pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)
        lesions = read_lesions(folder, SiimData(reader="siim"))
        return build_array(lesions, tmp_path / name, sections.Image(size=48))

    return array


def refuse_to_search(*_: object, **__: object) -> list[NearPair]:
    raise AssertionError("searched again")


def test_a_second_call_searches_nothing(
    make: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = make("a", ["0", "1", "2", "1", "2 turned", "5"])
    assert not has_duplicates(array, tmp_path / "a")
    found = find_duplicates(array, tmp_path / "a")
    assert found.identical == ((1, 3),)
    assert [(p.first, p.second, p.relation) for p in found.near] == [(2, 4, "rotated 270")]
    assert found.pairs == [(1, 3), (2, 4)]
    assert duplicates_file(array, tmp_path / "a").name == "x_train_48.duplicates.json"
    assert has_duplicates(array, tmp_path / "a")
    monkeypatch.setattr(search, "near_duplicates", refuse_to_search)
    assert find_duplicates(array, tmp_path / "a") == found


@pytest.mark.parametrize("change", ["array", "VERSION", "THRESHOLD", "cut off", "no JSON", "lists"])
def test_what_was_kept_is_searched_again_when_it_is_of_something_else(
    change: str, make: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, folder = make("a", ["0", "1", "2", "1 turned"]), tmp_path / "a"
    found = find_duplicates(array, folder)
    path = duplicates_file(array, folder)
    if change == "array":
        other = make("b", ["3", "4", "4 turned"])
        path.rename(duplicates_file(other, tmp_path / "b"))
        again = find_duplicates(other, tmp_path / "b")
        assert [(pair.first, pair.second) for pair in again.near] == [(1, 2)]
        return
    if change in ("VERSION", "THRESHOLD"):
        monkeypatch.setattr(search, change, 0.5)
    else:
        kept = path.read_text()
        broken = {"cut off": kept[:-20], "no JSON": "", "lists": kept.replace("[", '{"a": [', 1)}
        path.write_text(broken[change])
    assert not has_duplicates(array, folder)
    assert find_duplicates(array, folder).pairs == found.pairs
    assert has_duplicates(array, folder)
    json.loads(path.read_text())


def test_pairs_follow_their_images_into_another_order() -> None:
    found = Duplicates(((0, 3), (0, 4)), (NearPair(0, 1, 0.9, "re-saved"), NearPair(1, 2, 0.8, "")))
    names = ["a", "b", "c", "a2", "a3"]
    moved = found.among(names, ["c", "b", "a3", "a2", "a"])
    assert moved.identical == ((4, 3), (4, 2))
    assert [(pair.first, pair.second) for pair in moved.near] == [(4, 1), (1, 0)]
    # Without a: a2 stands for it, for what is near a is near its copies.
    fewer = found.among(names, ["a2", "a3", "b"])
    assert fewer.identical == ((0, 1),)
    assert [(pair.first, pair.second) for pair in fewer.near] == [(0, 2)]
    assert found.among(names, ["c"]) == Duplicates((), ())


def test_photographs_of_two_sets_are_found_once_and_kept(
    make: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make("a", ["0", "1", "1", "2", "3"])
    theirs = make("b", ["7", "3 turned", "1", "8", "1"])
    found = find_shared(ours, theirs, tmp_path / "a")
    assert found[:4] == tuple(
        SharedImage(own, their, 1.0, "identical") for their in ("b2", "b4") for own in ("a1", "a2")
    )
    assert [(pair.first, pair.second, pair.relation) for pair in found[4:]] == [
        ("a4", "b1", "rotated 270")
    ]
    assert str(found[0]) == "a1 = b2"
    assert str(found[4]).startswith("a4 ~ b1: rotated 270, ")
    monkeypatch.setattr(search, "near_duplicates_between", refuse_to_search)
    assert find_shared(ours, theirs, tmp_path / "a") == found
    with pytest.raises(AssertionError, match="searched again"):
        find_shared(ours, make("c", ["4"]), tmp_path / "a")


def test_what_is_like_one_of_identical_images_is_like_them_all(
    make: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turned copy under two names: neither may train where its original is held out."""
    ours = make("a", ["3", "1", "3"])
    theirs = make("b", ["3 turned", "7", "3 turned"])
    found = find_shared(ours, theirs, tmp_path / "a")
    assert {(pair.first, pair.second) for pair in found} == {
        (f"a{one}", f"b{other}") for one in (0, 2) for other in (0, 2)
    }
    assert len(found) == 4 and {pair.relation for pair in found} == {"rotated 270"}
    monkeypatch.setattr(search, "near_duplicates_between", refuse_to_search)
    assert find_shared(ours, theirs, tmp_path / "a") == found


def test_ham10000s_and_siims_identical_pairs_are_found(real_data: Path, tmp_path: Path) -> None:
    """The whole tables' pairs are known; here among the rows around them."""
    lists = {
        "siim2020/jpeg/train": [
            ("ISIC_6352565", "ISIC_6584579"),
            ("ISIC_0149568", "ISIC_9022005"),
            ("ISIC_2607827", "ISIC_9967383"),
        ],
        "ham10000/HAM10000_images": [
            ("ISIC_0024366", "ISIC_0029861"),
            ("ISIC_0024777", "ISIC_0029938"),
        ],
    }
    for folder, pairs in lists.items():
        files = sorted((real_data / folder).glob("*.jpg"))
        wanted = {name for pair in pairs for name in pair}
        chosen = [file for file in files if file.stem in wanted] + files[:100:5]
        data = tmp_path / folder.replace("/", "_")
        (data / "jpeg" / "train").mkdir(parents=True)
        for file in set(chosen):
            (data / "jpeg" / "train" / file.name).symlink_to(file)
        names = sorted({file.stem for file in chosen})
        frame = pd.DataFrame({"image_name": names, "patient_id": names, "target": 0})
        frame.to_csv(data / "train.csv", index=False)
        table = read_lesions(data, SiimData(reader="siim"))
        array = build_array(table, data / "arrays", sections.Image(size=64))
        found = find_duplicates(array, data / "arrays")
        named = {frozenset((names[a], names[b])) for a, b in found.identical}
        assert named == {frozenset(pair) for pair in pairs}
        assert len(np.unique(found.identical)) == 2 * len(pairs)
