"""predict on arrays of squares: rows are scored as they are, under names that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melanoma.data.arrays import row_digest
from melanoma.errors import DataError
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.files.find import find_images
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json

pytestmark = pytest.mark.slow  # together they take many seconds

Door = Callable[..., Any]
ROWS = range(20, 32)
NAMES = [f"ISIC_{row}" for row in ROWS]


@pytest.fixture
def given(trained: Any, tmp_path: Path) -> Path:
    """A folder as a Kaggler has it: x_test_32.npy with test.csv, and no photograph."""
    folder = tmp_path / "kaggle"
    folder.mkdir()
    np.save(folder / "x_test_32.npy", trained.array.rows(ROWS))
    pd.DataFrame({"image_name": NAMES, "patient_id": "p"}).to_csv(folder / "test.csv", index=False)
    # The sample has its own order.
    sample = pd.DataFrame({"image_name": NAMES[::-1], "target": 0})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.fixture
def expected(trained: Any) -> list[float]:
    """The probabilities that the bundle gives to the rows themselves."""
    scorer = Scorer(load_bundle(trained.folder))
    answers = scorer.score_squares(trained.array.rows(ROWS))
    return [float(answer.melanoma_probability or 0) for answer in answers]


def predict(call_door: Door, trained: Any, *arguments: Any) -> Any:
    return call_door("predict", *arguments, "--weights", trained.folder, "--device", "cpu")


@pytest.mark.parametrize("which", ["x_test_32.npy", ".", "test.csv"])
def test_an_array_is_scored_row_by_row_whatever_names_it(
    which: str, trained: Any, given: Path, expected: list[float], call_door: Door
) -> None:
    answer = predict(call_door, trained, given / which, "--out", "scores.csv")
    assert answer.code == 0, answer.err
    table = pd.read_csv("scores.csv")
    assert table["image_name"].tolist() == NAMES
    assert table["melanoma_probability"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert f"named by {given / 'test.csv'} in its order" in answer.err


def test_the_table_that_names_the_rows_is_not_replaced(
    trained: Any, given: Path, call_door: Door
) -> None:
    table = given / "test.csv"
    before = table.read_bytes()
    array = given / "x_test_32.npy"
    answer = predict(call_door, trained, array, "--out", table)
    assert answer.code == 2 and "is read here" in answer.err
    other = table.rename(given / "other.csv")
    answer = predict(call_door, trained, array, "--names", other, "--out", other)
    assert answer.code == 2 and "is read here" in answer.err
    assert other.read_bytes() == before


def test_a_submission_comes_of_the_array_in_the_sample_s_order(
    trained: Any, given: Path, expected: list[float], call_door: Door
) -> None:
    sample = given / "sample_submission.csv"
    answer = predict(
        call_door, trained, given / "x_test_32.npy", "--submission", sample, "--out", "s.csv"
    )
    assert answer.code == 0, answer.err
    table = pd.read_csv("s.csv")
    assert table["image_name"].tolist() == NAMES[::-1]
    assert table["target"].to_numpy() == pytest.approx(expected[::-1], abs=1e-6)


def test_without_a_table_rows_are_numbered_and_it_is_said(
    trained: Any, given: Path, call_door: Door
) -> None:
    (given / "test.csv").rename(given / "other.csv")
    answer = predict(call_door, trained, given / "x_test_32.npy", "--out", "scores.csv")
    assert answer.code == 0, answer.err
    assert "named by its row's number, from 0" in answer.err
    assert pd.read_csv("scores.csv")["image_name"].tolist() == list(range(12))
    named = predict(
        call_door,
        trained,
        given / "x_test_32.npy",
        "--names",
        given / "other.csv",
        "--out",
        "n.csv",
    )
    assert named.code == 0, named.err
    assert pd.read_csv("n.csv")["image_name"].tolist() == NAMES


def test_a_prepared_or_adopted_array_is_read_by_its_record(
    trained: Any, given: Path, expected: list[float], call_door: Door, tmp_path: Path
) -> None:
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    digests = trained.array.row_digests[20:32]
    record = {
        "array": str(given / "x_test_32.npy"),
        "size": 32,
        "fit": None,
        "channels": "rgb",
        "skipped": [],
        "names": [f"own {n}" for n in NAMES],
        "row_digests": list(digests),
    }
    write_json(arrays / "x_test_32.json", record)
    (given / "test.csv").unlink()  # it has other names, and would be taken for one that changed
    answer = predict(call_door, trained, arrays, "--out", "scores.csv")
    assert answer.code == 0, answer.err
    table = pd.read_csv("scores.csv")
    assert table["image_name"].tolist() == record["names"]
    assert table["melanoma_probability"].to_numpy() == pytest.approx(expected, abs=1e-6)
    np.save(given / "x_test_32.npy", trained.array.rows(range(12)))
    answer = predict(call_door, trained, arrays, "--out", "scores.csv")
    assert answer.code == 3
    assert "12 rows are not the pixels that" in answer.err


def test_channels_are_those_of_the_array(
    trained: Any, given: Path, expected: list[float], call_door: Door
) -> None:
    np.save(given / "x_test_32.npy", trained.array.rows(ROWS)[..., ::-1])
    array = given / "x_test_32.npy"
    refused = predict(call_door, trained, array)
    assert refused.code == 3
    assert "its channels look swapped; --array-channels=bgr" in refused.err
    answer = predict(call_door, trained, array, "--array-channels", "bgr", "--json")
    found = [row["melanoma_probability"] for row in json.loads(answer.out)]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "has 12 rows and the array 11 images"),
        (lambda rows: rows / 255, "uint8 N x S x S x 3 is needed, found float64"),
        (lambda rows: rows[..., 0], "uint8 N x S x S x 3 is needed"),
        (lambda rows: np.array([{}]), "is no plain .npy array"),
    ],
    ids=["rows", "floats", "grey", "pickle"],
)
def test_what_cannot_be_scored_as_it_is_is_refused(
    change: Callable[[Any], Any], said: str, trained: Any, given: Path, call_door: Door
) -> None:
    np.save(given / "x_test_32.npy", change(trained.array.rows(ROWS)), allow_pickle=True)
    answer = predict(call_door, trained, given / "x_test_32.npy")
    assert answer.code == 3, answer.err
    assert said in answer.err.splitlines()[-1]
    assert not Path("scores.csv").exists()


@pytest.mark.parametrize("cell", ["", "NA"])
def test_a_row_whose_name_is_blank_is_refused(cell: str, given: Path) -> None:
    """NA is how Kaggle writes a blank: the score would be nobody's."""
    names = [*NAMES[:-1], cell]
    pd.DataFrame({"image_name": names, "x": 1}).to_csv(given / "names.csv", index=False)
    said = "1 rows are not named by image_name: rows 11 "
    with pytest.raises(DataError, match=said):
        find_images([given / "x_test_32.npy"], names=given / "names.csv")


def test_squares_of_another_size_are_resized_and_it_is_said(
    trained: Any, given: Path, expected: list[float], call_door: Door
) -> None:
    # Each pixel four times: shrunk by area it is what it was.
    np.save(given / "x_test_32.npy", trained.array.rows(ROWS).repeat(2, 1).repeat(2, 2))
    answer = predict(call_door, trained, given / "x_test_32.npy", "--json")
    assert answer.code == 0, answer.err
    assert "squares of 64 px are resized to the 32 px that the bundle reads" in answer.err
    found = [row["melanoma_probability"] for row in json.loads(answer.out)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_of_several_arrays_one_must_be_named(trained: Any, given: Path, call_door: Door) -> None:
    np.save(given / "x_test_64.npy", np.zeros((12, 64, 64, 3), np.uint8))
    answer = predict(call_door, trained, given)
    assert answer.code == 3
    assert "holds several arrays: name one of" in answer.err


def test_a_table_of_other_rows_takes_them_by_name(given: Path) -> None:
    """The order of a table that is not the array's own says nothing of the array."""
    (given / "some.csv").write_text(f"image_name\n{NAMES[4]}\n{NAMES[1]}\n")
    found = find_images([given / "some.csv"])
    assert [(file.name, file.square.row) for file in found if file.square] == [
        (NAMES[4], 4),
        (NAMES[1], 1),
    ]
    (given / "some.csv").write_text("image_name\nISIC_0\n")
    with pytest.raises(
        DataError, match=r"1 images of .*some\.csv are neither photographs nor rows"
    ):
        find_images([given / "some.csv"])


def test_case_02_a_test_table_that_was_sorted_anew_is_refused(given: Path, tmp_path: Path) -> None:
    squares = np.load(given / "x_test_32.npy")
    record = {
        "array": str(given / "x_test_32.npy"),
        "size": 32,
        "fit": None,
        "channels": "rgb",
        "skipped": [],
        "names": NAMES,
        "row_digests": [row_digest(row) for row in squares],
    }
    write_json(tmp_path / "a/x_test_32.json", record)
    assert [file.name for file in find_images([tmp_path / "a"])] == NAMES
    pd.DataFrame({"image_name": NAMES[::-1]}).to_csv(given / "test.csv", index=False)
    with pytest.raises(DataError, match=rf"changed since: 12 rows \({NAMES[0]} -> {NAMES[-1]}"):
        find_images([tmp_path / "a"])
