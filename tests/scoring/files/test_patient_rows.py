"""predict --patient-col: whose each image is, and the columns that come of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import DataError, RecipeError
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.files.patient_rows import COLUMNS, Owner, add_patient_columns, read_owners

TABLE = "image_name,patient_id,site,lesion_id\na,p,torso,1\nb,p,torso,\nc,p,,\nd,q,arm,\ne,,arm,\n"
SHARES = {"a": 0.01, "b": 0.5, "c": 0.02, "d": 0.3, "e": 0.9}


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


def _rows(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {"flagged": False, "threshold": 0.6, "verdict": "not_flagged", "error": ""}
    return [
        {"image_name": name, "melanoma_probability": share, **plain, **changes.get(name, {})}
        for name, share in SHARES.items()
    ]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


def test_lesions_are_ranked_within_their_patient_and_the_others_say_nothing(
    table: Path, bundle: Bundle
) -> None:
    said: list[str] = []
    owners = read_owners([table], "patient_id", image_col=None)
    assert owners["a"] == Owner("p", "torso", "1") and owners["e"].patient == ""
    bare = replace(bundle, context=None)
    found = add_patient_columns(_rows(), owners, bare, say=said.append)
    assert [row["rank_in_patient"] for row in found] == [3, 1, 2, None, None]
    assert [row["outlier"] for row in found] == [False, True, False, None, None]
    assert {row["context_probability"] for row in found} == {None}
    assert all(set(COLUMNS) <= set(row) for row in found)
    assert "experimental" in said[0] and "no context" in said[1] and "1 lesions" in said[2]


def test_one_number_in_two_spellings_is_one_patient_and_one_lesion(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image_name,patient_id,lesion_id\na,12,1\nb,12.0,1.0\nc,012,2\nd,7.0,\n")
    owners = read_owners([path], "patient_id", image_col=None)
    assert [(one.patient, one.lesion) for one in owners.values()] == [
        *(("12", "1"), ("12", "1")),
        *(("012", "2"), ("7.0", "")),  # another id, and a spelling that stands alone
    ]
    # In two tables too, and an image that both have.
    other = tmp_path / "u.csv"
    other.write_text("image_name,patient_id,lesion_id\ne,12.0,3\nd,7,\n")
    owners = read_owners([path, other], "patient_id", image_col=None)
    assert [owners[name].patient for name in "abcde"] == ["12", "12", "012", "7", "12"]


def test_what_cannot_be_scored_is_compared_with_nothing(table: Path, bundle: Bundle) -> None:
    owners = read_owners([table], "patient_id", image_col=None)
    for change in ({"verdict": "unscorable"}, {"error": "bad", "melanoma_probability": None}):
        found = add_patient_columns(_rows(b=change), owners, bundle, say=lambda _: None)
        assert [row["rank_in_patient"] for row in found] == [None] * 5  # two are too few


def test_without_the_option_rows_stay_as_they_are(bundle: Bundle, table: Path) -> None:
    assert read_owners([table], None, image_col=None) == {}
    assert add_patient_columns(_rows(), {}, bundle, say=lambda _: None) == _rows()


def test_a_patient_column_needs_a_table_that_has_it_once_an_image(
    table: Path, bundle: Bundle
) -> None:
    with pytest.raises(RecipeError, match="name a CSV"):
        read_owners([table.parent], "patient_id", image_col=None)
    with pytest.raises(DataError, match="who"):
        read_owners([table], "who", image_col=None)
    table.write_text(TABLE + "a,q,torso,1\n")
    with pytest.raises(DataError, match="a stands under two"):
        read_owners([table], "patient_id", image_col=None)
    with pytest.raises(RecipeError, match="no melanoma"):
        owners = {"a": Owner("p", "", "")}
        add_patient_columns(_rows(), owners, replace(bundle, melanoma=()), say=lambda _: None)


def test_patients_that_are_not_known_are_not_one_patient(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image_name,who,lesion_id\n" + "".join(f"{n},-1,NULL\n" for n in SHARES))
    owners = read_owners([path], "who", image_col=None)
    assert set(owners.values()) == {Owner("", "", "")}
