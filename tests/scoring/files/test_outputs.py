"""What predict leaves behind: the table, or a submission that lacks no score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melanoma.errors import DataError
from melanoma.scoring.files.outputs import refuse_errors, save_outputs

SCORES = {"a": 0.125, "b": 0.75}
ROWS: list[dict[str, Any]] = [
    {
        "image_name": name,
        "melanoma_probability": score,
        "by_class": {"nevus": 1 - score - 0.1, "melanoma": score, "other": 0.1},
        "error": "",
    }
    for name, score in SCORES.items()
]
FAILED = [{"image_name": f"x{n}", "error": f"corrupt_image: {n}"} for n in range(5)]


def sample(folder: Path, text: str) -> Path:
    path = folder / "sample.csv"
    path.write_text(text)
    return path


def test_a_submission_has_the_sample_s_column_filled_with_the_melanoma_probability(
    tmp_path: Path,
) -> None:
    given = sample(tmp_path, "image_name,target\nb,0\na,0\n")
    save_outputs(ROWS, [], submission=given, target=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "image_name,target\nb,0.75\na,0.125\n"


def test_a_submission_of_several_columns_has_the_classes_that_they_name(tmp_path: Path) -> None:
    given = sample(tmp_path, "image,other,melanoma\na,0,0\nb,0,0\n")
    save_outputs(ROWS, [], submission=given, target=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "image,other,melanoma\na,0.1,0.125\nb,0.1,0.75\n"


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("melanoma", "0.7"),  # as melanoma_probability
        ("nevus,melanoma", "0.3,0.7"),
        ("melanoma,acral,nevus", "0.575,0.125,0.3"),  # what has a column counts there
        ("acral", "0.125"),
    ],
)
def test_a_column_of_melanoma_holds_all_classes_that_count_as_it(
    columns: str, row: str, tmp_path: Path
) -> None:
    shares = {"melanoma": 0.5, "acral": 0.125, "in situ": 0.075, "nevus": 0.3}
    rows = [{"image_name": "a", "melanoma_probability": 0.7, "by_class": shares, "error": ""}]
    given = sample(tmp_path, f"image,{columns}\na{',0' * len(row.split(','))}\n")
    ours, target = ("melanoma", "acral", "in situ"), tmp_path / "out.csv"
    save_outputs(rows, [], submission=given, target=target, melanoma=ours)
    assert target.read_text() == f"image,{columns}\na,{row}\n"


def test_a_table_is_written_with_the_errors_in_it_and_a_submission_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    rows = [*ROWS, {**FAILED[0], "melanoma_probability": None, "by_class": None}]
    save_outputs(rows, FAILED[:1], submission=None, target=target)
    table = pd.read_csv(target)
    assert table["image_name"].tolist() == ["a", "b", "x0"]
    assert table["melanoma_probability"].dropna().tolist() == [0.125, 0.75]
    assert table["error"].tolist()[-1] == "corrupt_image: 0"
    target.unlink()
    given = sample(tmp_path, "image_name,target\na,0\nb,0\n")
    with pytest.raises(DataError, match=r"1 image has no score \(x0: corrupt_image: 0\)"):
        save_outputs(ROWS, FAILED[:1], submission=given, target=target)
    assert not target.exists()


def test_without_a_target_nothing_is_written_or_refused(tmp_path: Path) -> None:
    given = sample(tmp_path, "image_name,target\na,0\n")
    save_outputs(ROWS, FAILED, submission=given, target=None)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.csv"]


def test_of_many_images_without_a_score_all_are_counted_and_three_are_named() -> None:
    refuse_errors([])
    with pytest.raises(DataError) as refused:
        refuse_errors(FAILED)
    assert str(refused.value) == (
        "5 images have no score (x0: corrupt_image: 0; x1: corrupt_image: 1; x2: corrupt_image: 2)"
    )


def test_a_rank_stays_a_whole_number_where_another_row_has_none(tmp_path: Path) -> None:
    ranked = [{**row, "rank_in_patient": rank} for row, rank in zip(ROWS, (3, None), strict=True)]
    save_outputs(ranked, [], submission=None, target=tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert table["rank_in_patient"].tolist() == ["3", ""]
    assert table["melanoma_probability"].tolist() == ["0.125", "0.75"]
