"""What a command was told of its data need not be told to the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from refusals import Door, require_refusal

from melanoma.data.fold_record import record_file
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.workflows.data_options import recall_options

COLUMNS = ("--image-col", "file", "--target-col", "dx", "--group-col", "who")
POSITIVE = ("--set", "data.positive=[True]")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    make_phantoms(folder, images=24, patients=12, size=32, seed=1)
    names = pd.read_csv(folder / "train.csv")["image_name"]
    for table in folder.glob("*.csv"):
        table.unlink()
    rows = range(24)
    frame = pd.DataFrame({"file": names, "dx": [row % 3 == 0 for row in rows]})
    frame.assign(who=[f"P{row // 2}" for row in rows]).to_csv(folder / "t.csv", index=False)
    return folder


@pytest.fixture
def options(data: Path, tiny_recipe: object) -> list[str | Path]:
    assert callable(tiny_recipe)
    return ["--config", tiny_recipe(), "--data", data, "--arrays", "arrays"]


def test_columns_are_given_to_prepare_and_no_other_command(
    call_door: Door, options: list[str | Path], data: Path
) -> None:
    assert call_door("prepare", *options, *COLUMNS, *POSITIVE).code == 0
    for command in (["prepare"], ["split", "--folds", "f.csv"], ["audit", "--folds", "f.csv"]):
        answer = call_door(command[0], *options, *command[1:])
        assert answer.code == 0, answer.err
        assert " has it: --set data.positive=[True], --set data.image_col" in answer.err
    answer = call_door("train", *options, "--folds", "f.csv", "--fold", "0", "--dry-run")
    assert answer.code == 0, answer.err
    assert "(f.csv" not in answer.err  # compared, and nothing to say of it
    made = pd.read_csv("f.csv")
    assert made["patient_id"].tolist() == pd.read_csv(data / "t.csv")["who"].tolist()
    assert made["target"].sum() == 8
    # The fold file alone has them as well.
    elsewhere = [*options[:-1], "no arrays", "--folds", "f.csv", "--fold", "0", "--dry-run"]
    answer = call_door("train", *elsewhere)
    require_refusal(answer, 2, "there is no array yet")
    assert "as f.made_from.json has it" in answer.err


def test_what_is_said_anew_wins_and_is_then_kept(
    call_door: Door, options: list[str | Path]
) -> None:
    assert call_door("prepare", *options, *COLUMNS, *POSITIVE).code == 0
    answer = call_door("prepare", *options, "--set", "data.positive=[False]")
    assert "has it: --set data.image_col" in answer.err
    assert "data.positive counts 'False' as melanoma: is that so?" in answer.err
    answer = call_door("split", *options, "--out", "f.csv")
    assert "data.positive=[False]" in answer.err
    assert pd.read_csv("f.csv")["target"].sum() == 16
    # Columns mean a plain table; another reader is another way to read.
    answer = call_door("split", *options, "--out", "f.csv", "--set", "data.reader=class_folders")
    assert "as arrays" not in answer.err


def test_options_are_kept_for_their_recipe_and_their_tables(
    call_door: Door, options: list[str | Path], data: Path, tmp_path: Path
) -> None:
    assert call_door("prepare", *options, *COLUMNS, *POSITIVE).code == 0
    pd.read_csv(data / "t.csv").rename(columns={"file": "image_name"}).to_csv(
        data / "t.csv", index=False
    )
    answer = call_door("split", *options, "--out", "f.csv")
    assert "as arrays" not in answer.err
    require_refusal(answer, 3, "no table at", "train.csv, but there is t.csv", "--image-col")


def test_records_are_asked_in_their_order_and_only_for_the_same_section(tmp_path: Path) -> None:
    base = {"reader": "siim"}
    kept = {"first": ["data.reader=csv_folder", "data.image_col=a"], "second": ["data.image_col=b"]}
    paths = []
    for name, given in kept.items():
        paths.append(record_file(tmp_path / f"{name}.csv"))
        paths[-1].write_text(json.dumps({"options": {"base": base, "given": given}}))
    found = recall_options(base, [], [*paths, tmp_path / "absent.json"])
    assert list(found) == ["data.reader=csv_folder", "data.image_col=a", "data.image_col=b"]
    assert list(recall_options(base, ["data.image_col=c"], paths)) == ["data.reader=csv_folder"]
    assert recall_options({"reader": "ham10000"}, [], paths) == {}
    assert recall_options(base, ["data.reader=siim"], paths) == {}
    for damage in ("", "[]", "{}", '{"options": 3}', '{"options": {"base": {}, "given": 3}}'):
        paths[0].write_text(damage)
        assert recall_options(base, [], paths[:1]) == recall_options({}, [], paths[:1]) == {}
