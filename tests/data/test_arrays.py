"""Arrays: rows in csv order, complete or refused, resumed byte for byte, never all in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import psutil
import pytest

from melanoma.data import array_build, partial_array
from melanoma.data.array_build import adopt_array, build_array, find_adoptable, survey_images
from melanoma.data.array_lock import LOCK
from melanoma.data.arrays import ImageArray, array_file, load_array
from melanoma.data.images import DECODER_VERSION, FileFacts, read_file_square
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, StorageError
from melanoma.recipe.data_sections import SiimData
from melanoma.recipe.sections import Image

pytestmark = pytest.mark.slow  # together they take many seconds

SIIM = SiimData(reader="siim")
SMALL = Image(size=32)


@pytest.fixture
def own_set(phantom_set: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms that a test may damage."""
    folder = tmp_path / "own"
    shutil.copytree(phantom_set, folder)
    return folder


@pytest.fixture
def table(phantom_set: Path) -> LesionTable:
    return read_lesions(phantom_set, SIIM)


def many(folder: Path, count: int) -> LesionTable:
    """A table of `count` rows over the images that `folder` has, repeated."""
    table = read_lesions(folder, SIIM)
    frame = pd.concat([table.frame] * (count // len(table) + 1), ignore_index=True)[:count]
    frame["image_name"] = [f"n{row}" for row in range(count)]
    return LesionTable(frame, folder)


def kaggle(path: Path, array: np.ndarray[Any, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def reddish(count: int, size: int = 32) -> np.ndarray[Any, Any]:
    pixels = np.random.default_rng(0).integers(0, 80, (count, size, size, 3))
    return (pixels + np.array((150, 90, 60))).astype(np.uint8)


def stops_after(count: int) -> Callable[..., Iterator[Any]]:
    def progress(items: Iterable[Any], **_: Any) -> Iterator[Any]:
        for number, item in enumerate(items):
            if number == count:
                raise KeyboardInterrupt
            yield item

    return progress


def test_rows_stand_in_csv_order_and_hold_the_decoded_images(
    table: LesionTable, tmp_path: Path
) -> None:
    array = build_array(table, tmp_path, SMALL)
    assert list(array.names) == table.names
    for row in (0, 7, 59):
        path = table.folder / table.frame["source"][row]
        square = read_file_square(path, size=32, fit="squash").square
        assert np.array_equal(array.rows([row])[0], square)
    backwards = array.rows(range(59, -1, -1))
    assert np.array_equal(backwards[::-1], array.rows(range(60)))


def test_the_file_is_a_plain_npy_that_any_notebook_loads(
    table: LesionTable, tmp_path: Path
) -> None:
    array = build_array(table, tmp_path, SMALL)
    plain = np.load(tmp_path / "x_train_32.npy", mmap_mode="r")
    assert plain.dtype == np.uint8
    assert plain.shape == (60, 32, 32, 3)
    assert np.array_equal(plain, array.rows(range(60)))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != LOCK) == [
        "x_train_32.json",
        "x_train_32.npy",
    ]


def test_what_is_loaded_is_what_was_built(table: LesionTable, tmp_path: Path) -> None:
    built = build_array(table, tmp_path, SMALL)
    loaded = load_array(tmp_path, SMALL)
    assert loaded == built
    assert loaded is not None
    assert loaded.digest == built.digest
    assert load_array(tmp_path, Image(size=48)) is None


def test_the_facts_of_each_file_are_kept_upright_and_in_row_order(
    own_set: Path, tmp_path: Path
) -> None:
    names = read_lesions(own_set, SIIM).names
    turned = own_set / f"jpeg/train/{names[3]}.jpg"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # lying on its side: 70 wide once upright
    PIL.Image.new("RGB", (100, 70), "brown").save(turned, exif=exif)
    built = build_array(read_lesions(own_set, SIIM), tmp_path, SMALL)
    sizes = [(own_set / f"jpeg/train/{name}.jpg").stat().st_size for name in names]
    assert [facts.bytes for facts in built.file_facts] == sizes
    assert built.file_facts[3] == FileFacts(70, 100, sizes[3])
    assert built.file_facts[4][:2] == (48, 48)
    loaded = load_array(tmp_path, SMALL)
    assert loaded is not None
    assert loaded.file_facts == built.file_facts


def test_an_array_of_before_facts_were_kept_still_loads_without_them(
    table: LesionTable, tmp_path: Path
) -> None:
    built = build_array(table, tmp_path, SMALL)
    record = json.loads((tmp_path / "x_train_32.json").read_text())
    del record["file_facts"]
    (tmp_path / "x_train_32.json").write_text(json.dumps(record))
    loaded = load_array(tmp_path, SMALL)
    assert loaded is not None
    assert loaded.file_facts == ()
    assert loaded.digest == built.digest


@pytest.mark.parametrize("fit", ["squash", None])
def test_a_record_of_before_there_were_decoder_versions_is_of_the_first(
    fit: str | None, table: LesionTable, tmp_path: Path
) -> None:
    assert build_array(table, tmp_path, SMALL).decoder == DECODER_VERSION
    path = tmp_path / "x_train_32.json"
    record = json.loads(path.read_text())
    assert record.pop("decoder") == DECODER_VERSION
    if fit is None:  # Kaggle's array, which another program decoded
        record |= {"fit": None, "file_facts": []}
    path.write_text(json.dumps(record))
    loaded = load_array(tmp_path, SMALL)
    assert loaded is not None
    assert loaded.decoder == (1 if fit else None)


@pytest.fixture
def saved_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is saved every 20 images, instead of every 2,048."""
    monkeypatch.setattr(partial_array, "_SAVE_EVERY", 20)


@pytest.mark.usefixtures("saved_often")
def test_what_another_decoder_began_is_not_gone_on_with(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older, pytest.raises(KeyboardInterrupt):
        older.setattr(partial_array, "DECODER_VERSION", DECODER_VERSION - 1)
        build_array(table, tmp_path, SMALL, progress=stops_after(50))
    read: list[Path] = []
    measured = array_build.read_file_square

    def watched(path: Path, **how: Any) -> Any:
        read.append(path)
        return measured(path, **how)

    monkeypatch.setattr(array_build, "read_file_square", watched)
    build_array(table, tmp_path, SMALL)
    assert len(read) == 60


def test_facts_that_are_not_one_a_row_are_refused(table: LesionTable, tmp_path: Path) -> None:
    build_array(table, tmp_path, SMALL)
    record = json.loads((tmp_path / "x_train_32.json").read_text())
    del record["file_facts"][0]
    (tmp_path / "x_train_32.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="is damaged"):
        load_array(tmp_path, SMALL)


def test_the_digest_changes_with_a_pixel_a_name_and_an_order(own_set: Path, tmp_path: Path) -> None:
    table = read_lesions(own_set, SIIM)
    first = build_array(table, tmp_path / "first", SMALL)
    assert build_array(table, tmp_path / "again", SMALL).digest == first.digest
    turned = LesionTable(table.frame[::-1].reset_index(drop=True), table.folder)
    renamed = LesionTable(table.frame.copy(), table.folder)
    renamed.frame.loc[3, "image_name"] = "another"
    digests = {first.digest}
    for name, other in (("turned", turned), ("renamed", renamed)):
        digests.add(build_array(other, tmp_path / name, SMALL).digest)
    one, other = (own_set / source for source in table.frame["source"][:2])
    shutil.copy(one, other)
    digests.add(build_array(table, tmp_path / "changed", SMALL).digest)
    assert len(digests) == 4


@pytest.mark.usefixtures("saved_often")
def test_an_interrupted_build_goes_on_and_ends_in_the_same_bytes(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_array(table, tmp_path / "whole", SMALL)
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path / "cut", SMALL, progress=stops_after(50))
    assert load_array(tmp_path / "cut", SMALL) is None
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> Any:
        read.append(path)
        return read_file_square(path, **options)

    monkeypatch.setattr(array_build, "read_file_square", counted)
    resumed = build_array(table, tmp_path / "cut", SMALL)
    assert len(read) == 60 - 40
    assert resumed.digest == whole.digest
    assert resumed.file_facts == whole.file_facts
    assert (tmp_path / "cut/x_train_32.npy").read_bytes() == whole.path.read_bytes()
    assert not list((tmp_path / "cut").glob("*.part*"))


@pytest.mark.usefixtures("saved_often")
def test_a_resumed_build_says_what_was_warned_of_before_it_was_cut(
    own_set: Path, tmp_path: Path
) -> None:
    table = read_lesions(own_set, SIIM)
    PIL.Image.new("RGB", (64, 64)).save(own_set / table.frame["source"][0])
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path / "cut", SMALL, progress=stops_after(50))
    messages: list[str] = []
    build_array(table, tmp_path / "cut", SMALL, say=messages.append)
    assert any("low_information" in line and table.names[0] in line for line in messages)


@pytest.mark.usefixtures("saved_often")
def test_a_build_that_was_cut_before_facts_were_kept_begins_anew(
    table: LesionTable, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_array(table, tmp_path, SMALL, progress=stops_after(50))
    progress = tmp_path / "x_train_32.part.json"
    saved = json.loads(progress.read_text())
    del saved["file_facts"]
    progress.write_text(json.dumps(saved))
    built = build_array(table, tmp_path, SMALL)
    assert all(facts.bytes > 0 for facts in built.file_facts)


@pytest.mark.usefixtures("saved_often")
def test_the_remains_of_another_table_are_not_taken_up(
    phantom_set: Path, table: LesionTable, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_array(many(phantom_set, 70), tmp_path, SMALL, progress=stops_after(50))
    assert (tmp_path / "x_train_32.part.json").is_file()
    built = build_array(table, tmp_path, SMALL)
    assert built.digest == build_array(table, tmp_path / "fresh", SMALL).digest
    assert built.path.read_bytes() == (tmp_path / "fresh/x_train_32.npy").read_bytes()


def test_all_problems_are_said_at_once(own_set: Path, tmp_path: Path) -> None:
    csv = own_set / "train.csv"
    lines = csv.read_text().splitlines()
    lines[5] = lines[5][:-1] + "x"
    csv.write_text("\n".join(lines) + "\n")
    names = read_lesions(own_set, SIIM).names
    for name in names[10:17]:
        (own_set / f"jpeg/train/{name}.jpg").unlink()
    broken = own_set / f"jpeg/train/{names[20]}.jpg"
    broken.write_bytes(broken.read_bytes()[:600])
    (own_set / f"jpeg/train/{names[21]}.jpg").write_bytes(b"GIF89a")
    table = read_lesions(own_set, SIIM)
    with pytest.raises(DataError) as caught:
        build_array(table, tmp_path, SMALL)
    said = str(caught.value)
    assert "1 rows whose target is not 0 or 1: row 5 (line 6): 'x'" in said
    assert f"7 of 60 images missing: {', '.join(names[10:15])} and 2 more" in said
    assert f"2 of 60 images unreadable: {names[20]} (the image is damaged or cut off)" in said
    assert f"{names[21]} (this is GIF, not a JPEG, PNG or WEBP image" in said
    assert load_array(tmp_path, SMALL) is None
    problems = survey_images(table, SMALL).problems
    assert len(problems) == 3
    assert said == f"{own_set}: {'; '.join(problems)} (--skip-bad leaves out up to 1 %)"


def test_a_mended_image_is_all_that_a_second_build_reads(
    own_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_lesions(own_set, SIIM)
    path = own_set / table.frame["source"][4]
    good = path.read_bytes()
    path.write_bytes(good[:500])
    with pytest.raises(DataError, match="1 of 60 images unreadable"):
        build_array(table, tmp_path, SMALL)
    path.write_bytes(good)
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> Any:
        read.append(path)
        return read_file_square(path, **options)

    monkeypatch.setattr(array_build, "read_file_square", counted)
    assert build_array(table, tmp_path, SMALL).names == tuple(table.names)
    assert read == [path]


@pytest.mark.parametrize(("bad", "accepted"), [(1, True), (2, True), (3, False)])
def test_up_to_one_percent_may_be_left_out_when_asked(
    bad: int, accepted: bool, phantom_set: Path, tmp_path: Path
) -> None:
    table = many(phantom_set, 200)
    table.frame.loc[[50 * number for number in range(bad)], "source"] = ""
    with pytest.raises(DataError, match="--skip-bad"):
        build_array(table, tmp_path, SMALL)
    if not accepted:
        with pytest.raises(DataError, match="3 of 200 images missing: n0, n50, n100"):
            build_array(table, tmp_path, SMALL, skip_bad=0.01)
        return
    array = build_array(table, tmp_path, SMALL, skip_bad=0.01)
    gone = [f"n{50 * number}" for number in range(bad)]
    assert list(array.skipped) == gone
    assert list(array.names) == [name for name in table.names if name not in gone]
    whole = build_array(many(phantom_set, 200), tmp_path / "whole", SMALL)
    kept = [whole.row_of[name] for name in array.names]
    assert array.file_facts == tuple(whole.file_facts[row] for row in kept)
    for row in (0, 1, 100, 197):
        expected = whole.rows([whole.row_of[array.names[row]]])
        assert np.array_equal(array.rows([row]), expected)
    assert load_array(tmp_path, SMALL) == array


def test_a_table_with_faults_is_never_built_not_even_with_skip_bad(
    phantom_set: Path, tmp_path: Path
) -> None:
    table = many(phantom_set, 200)
    faulty = LesionTable(table.frame, table.folder, problems=("1 rows whose target is odd",))
    with pytest.raises(DataError, match="target is odd"):
        build_array(faulty, tmp_path, SMALL, skip_bad=0.01)


def test_an_image_that_is_nowhere_at_all_leaves_no_array(own_set: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_set / "jpeg/train")
    with pytest.raises(DataError, match="60 of 60 images missing"):
        build_array(read_lesions(own_set, SIIM), tmp_path, SMALL)
    assert load_array(tmp_path, SMALL) is None


def test_an_array_that_cannot_fit_on_the_disk_is_not_begun(
    table: LesionTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 60 * 32 * 32 * 3
    free = shutil.disk_usage(tmp_path)._replace(free=needed - 1)
    monkeypatch.setattr("melanoma.storage.shutil.disk_usage", lambda _: free)
    with pytest.raises(StorageError, match=f"{needed - 1:,} bytes free, {needed:,} needed"):
        build_array(table, tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] in ([], [LOCK])


def test_identical_images_are_found_by_their_pixels(own_set: Path, tmp_path: Path) -> None:
    table = read_lesions(own_set, SIIM)
    shutil.copy(own_set / table.frame["source"][2], own_set / table.frame["source"][40])
    assert survey_images(table, SMALL).duplicates == [(2, 40)]


def test_an_array_squared_in_another_way_is_refused(table: LesionTable, tmp_path: Path) -> None:
    build_array(table, tmp_path, SMALL)
    with pytest.raises(DataError, match="fitted by squash, the recipe says center"):
        load_array(tmp_path, Image(size=32, fit="center"))


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"array": "x_train_32.npy"}'])
def test_a_damaged_record_is_a_refusal_and_no_crash(
    damage: str, table: LesionTable, tmp_path: Path
) -> None:
    build_array(table, tmp_path, SMALL)
    (tmp_path / "x_train_32.json").write_text(damage)
    with pytest.raises(DataError, match=r"x_train_32\.json .*run prepare again"):
        load_array(tmp_path, SMALL)


@pytest.mark.parametrize("kept", [-1, 200, 60, 5, 0])
def test_a_truncated_array_is_refused_on_load(
    kept: int, table: LesionTable, tmp_path: Path
) -> None:
    array = build_array(table, tmp_path, SMALL)
    array.path.write_bytes(array.path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"x_train_32\.npy"):
        load_array(tmp_path, SMALL)


def test_an_array_that_was_removed_is_named(table: LesionTable, tmp_path: Path) -> None:
    build_array(table, tmp_path, SMALL).path.unlink()
    with pytest.raises(DataError, match="no array at"):
        load_array(tmp_path, SMALL)


# Kaggle's arrays.


def adopt(path: Path, table: LesionTable, folder: Path, channels: str = "rgb") -> ImageArray:
    return adopt_array(path, table, folder, SMALL, channels=channels)


def test_an_array_of_kaggle_s_is_taken_as_it_is(table: LesionTable, tmp_path: Path) -> None:
    pixels = reddish(60)
    path = kaggle(tmp_path / "given/x_train_32.npy", pixels)
    before = path.read_bytes()
    array = adopt(path, table, tmp_path / "arrays")
    assert path.read_bytes() == before
    assert array.path == path
    assert list(array.names) == table.names
    assert array.decoder is None
    assert np.array_equal(array.rows(range(60)), pixels)
    loaded = load_array(tmp_path / "arrays", SMALL)
    assert loaded == array
    # Nobody knows how Kaggle's squares were made, so either recipe may use them.
    assert load_array(tmp_path / "arrays", Image(size=32, fit="center")) is not None


def test_an_adopted_array_has_the_digest_of_one_that_was_built(
    table: LesionTable, tmp_path: Path
) -> None:
    built = build_array(table, tmp_path / "built", SMALL)
    given = kaggle(tmp_path / "given/x_train_32.npy", built.rows(range(60)))
    assert adopt(given, table, tmp_path / "arrays").digest == built.digest


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (reddish(60).astype(np.float32), "float32"),
        (reddish(60).astype(np.int64), "int64"),
        (reddish(60)[..., 0], "60 x 32 x 32"),
        (reddish(60)[:, :, :16], "60 x 32 x 16 x 3"),
        (reddish(60)[..., :2], "60 x 32 x 32 x 2"),
        (np.asfortranarray(reddish(60)), "column by column .*N x S x S x 3"),
        (reddish(60, size=48), "48 px, the recipe says 32 .--set image.size=48"),
        (reddish(59), "59 images, the table has 60 rows"),
        (reddish(61), "61 images, the table has 60 rows"),
    ],
    ids=["float", "int", "grey", "oblong", "two channels", "by column", "size", "fewer", "more"],
)
def test_an_array_of_another_kind_is_refused(
    array: np.ndarray[Any, Any], named: str, table: LesionTable, tmp_path: Path
) -> None:
    path = kaggle(tmp_path / "x_train_32.npy", array)
    with pytest.raises(DataError, match=named):
        adopt(path, table, tmp_path / "arrays")
    assert not (tmp_path / "arrays").exists()


def test_a_file_that_is_no_npy_is_refused_unread(table: LesionTable, tmp_path: Path) -> None:
    path = tmp_path / "x_train_32.npy"
    for content in (b"", b"PK\x03\x04" + bytes(100), np.array([{}]).dumps()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"no plain \.npy array|is an archive"):
            adopt(path, table, tmp_path / "arrays")
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="it holds Python objects"):
        adopt(path, table, tmp_path / "arrays")


def test_an_array_with_blue_above_red_is_refused_with_the_setting(
    table: LesionTable, tmp_path: Path
) -> None:
    swapped = kaggle(tmp_path / "x_train_32.npy", reddish(60)[..., ::-1].copy())
    with pytest.raises(DataError, match=r"data\.array_channels=bgr"):
        adopt(swapped, table, tmp_path / "arrays")
    straight = kaggle(tmp_path / "straight/x_train_32.npy", reddish(60))
    with pytest.raises(DataError, match=r"data\.array_channels=rgb"):
        adopt(straight, table, tmp_path / "arrays", channels="bgr")


def test_a_bgr_array_is_read_as_rgb(table: LesionTable, tmp_path: Path) -> None:
    pixels = reddish(60)
    path = kaggle(tmp_path / "x_train_32.npy", pixels[..., ::-1].copy())
    array = adopt(path, table, tmp_path / "arrays", channels="bgr")
    loaded = load_array(tmp_path / "arrays", SMALL)
    assert loaded is not None
    for found in (array, loaded):
        assert np.array_equal(found.rows([3, 1]), pixels[[3, 1]])


def test_an_array_is_looked_for_in_both_folders_and_its_size_is_suggested(
    tmp_path: Path,
) -> None:
    data, arrays = tmp_path / "data", tmp_path / "arrays"
    assert find_adoptable(arrays, tmp_path, SMALL) is None
    given = kaggle(data / "x_train_32.npy", reddish(2))
    assert find_adoptable(arrays, data, SMALL) == given
    with pytest.raises(DataError, match=r"--set image\.size=32"):
        find_adoptable(arrays, data, Image(size=48))
    (data / "jpeg/train").mkdir(parents=True)
    assert find_adoptable(arrays, data, Image(size=48)) is None
    own = kaggle(arrays / "x_train_32.npy", reddish(2))
    assert find_adoptable(arrays, data, SMALL) == own


# Memory.


def test_reading_an_array_row_by_row_does_not_bring_it_into_memory(tmp_path: Path) -> None:
    count, size = 1024, 256
    path = array_file(tmp_path, size=size)
    shape = (count, size, size, 3)
    np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()  # a hole of 200 MB on disk
    array = ImageArray(path, size, tuple(f"n{row}" for row in range(count)), ())
    whole = count * size * size * 3
    assert whole > 200_000_000
    array.rows([0])
    process = psutil.Process()
    before, highest = process.memory_info().rss, 0
    for row in range(0, count, 2):
        assert array.rows([row, count - 1 - row]).shape == (2, size, size, 3)
        highest = max(highest, process.memory_info().rss)
    assert highest - before < whole / 10


def test_the_record_is_json_without_absolute_paths(table: LesionTable, tmp_path: Path) -> None:
    """So that a folder of arrays can be moved."""
    build_array(table, tmp_path / "here", SMALL)
    record = json.loads((tmp_path / "here/x_train_32.json").read_text())
    assert record["array"] == "x_train_32.npy"
    (tmp_path / "here").rename(tmp_path / "there")
    moved = load_array(tmp_path / "there", SMALL)
    assert moved is not None
    assert moved.rows([0]).any()
