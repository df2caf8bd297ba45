"""A fold file is used while its table says what it said when the folds were made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from file_trees import tree
from refusals import Door, require_refusal

from melanoma.data.fold_record import load_record, record_file
from melanoma.data.folds import load_folds
from melanoma.errors import FoldError
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.source import require_same_source
from melanoma.workflows.split import split_folds
from melanoma.workflows.watch import Watch

Change = Callable[[pd.DataFrame], pd.DataFrame]
NOWHERE = Path("no arrays")


def recipe_for(**data: object) -> Recipe:
    section = {"reader": "csv_folder", "positive": ["Malignant"], "age_col": "age"} | data
    return make_recipe({"name": "x", "data": section, "folds": {"name": "x", "k": 3}})


def write_table(folder: Path, frame: pd.DataFrame) -> Path:
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "t.csv", index=False)
    return folder


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = range(36)
    return pd.DataFrame(
        {
            "image_name": [f"i{row:02d}" for row in rows],
            "target": ["Malignant" if row % 4 == 0 else "Benign" for row in rows],
            "patient_id": [f"P{row // 2}" for row in rows],
            "lesion_id": [f"L{row}" if row % 3 == 0 else "" for row in rows],
            "age": [str(row) if row % 5 else "" for row in rows],
        }
    )


@pytest.fixture
def made(frame: pd.DataFrame, tmp_path: Path) -> tuple[Path, Path]:
    """The data folder and the fold file that was made from it."""
    data, path = write_table(tmp_path / "data", frame), tmp_path / "folds.csv"
    split_folds(recipe_for(), data, NOWHERE, path)
    return data, path


def compare(data: Path | None, path: Path, recipe: Recipe | None = None) -> list[str]:
    """What is said where nothing differs."""
    recipe, said = recipe or recipe_for(), list[str]()
    folds = load_folds(path, classes=recipe.classes)
    require_same_source(recipe, folds, path, data, watch=Watch(say=said.append))
    return said


def set_cells(column: str, value: str, *rows: int) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[list(rows), column] = value
        return frame

    return change


CHANGES: list[tuple[Change, list[str]]] = [
    (
        set_cells("target", "Malignant", 1, 2, 3),
        ["3 rows (label 3)", "i01: label benign -> melanoma; i02: "],
    ),
    (set_cells("target", "", 4), ["i04: label melanoma -> blank"]),
    (
        set_cells("target", "MALIGNANT", 4),
        ["i04: label melanoma -> blank", "rows whose target is 'MALIGNANT' (1) beside 'Malignant'"],
    ),
    (set_cells("patient_id", "P9", 0, 1), ["2 rows (patient_id 2)", "i00: patient_id P0 -> P9"]),
    (set_cells("patient_id", "unknown", 7), ["i07: patient_id P3 -> blank"]),
    (set_cells("lesion_id", "L0", 5, 6), ["i05: lesion_id blank -> L0", "i06: lesion_id L6 -> L0"]),
    (set_cells("age", "", 11), ["1 rows (age 1): i11: age 11 -> blank"]),
    (lambda frame: frame[:-2], ["2 rows (removed 2): i34: no longer in the table"]),
    (
        lambda frame: pd.concat([frame, frame[:1].assign(image_name="new")]),
        ["1 rows (added 1): new: only in the table"],
    ),
    (
        lambda frame: frame.assign(image_name="other" + frame["image_name"]),
        ["72 rows (added 36, removed 36)"],
    ),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_table_that_has_changed_is_refused_with_its_first_rows(
    change: Change, said: list[str], made: tuple[Path, Path], frame: pd.DataFrame
) -> None:
    data, path = made
    assert compare(data, path) == []
    write_table(data, change(frame))
    for place in (data, None):  # where it is said to be, and where it was then
        with pytest.raises(FoldError, match="a table that has changed since") as refusal:
            compare(place, path)
        assert all(words in str(refusal.value) for words in said), str(refusal.value)
        assert "python -m melanoma.split" in str(refusal.value)


def test_the_order_of_rows_and_what_nobody_reads_may_change(
    made: tuple[Path, Path], frame: pd.DataFrame
) -> None:
    data, path = made
    write_table(data, frame[::-1].assign(note="new"))
    assert compare(data, path) == []


def test_columns_that_a_command_does_not_ask_for_are_not_compared(made: tuple[Path, Path]) -> None:
    data, path = made
    assert compare(data, path, recipe_for(age_col=None)) == []


def test_labels_that_are_read_otherwise_are_refused_with_and_without_the_table(
    made: tuple[Path, Path],
) -> None:
    data, path = made
    swapped = recipe_for(positive=["Benign"])
    meaning = r"data\.positive: \['Malignant'\] -> \['Benign'\]"
    with pytest.raises(FoldError, match=rf"read otherwise now \({meaning}\).*36 rows \(label 36"):
        compare(data, path, swapped)
    shutil.rmtree(data)
    with pytest.raises(FoldError, match=rf"labels of another meaning \({meaning}\)"):
        compare(data, path, swapped)
    said = compare(data, path)
    assert len(said) == 1
    assert f"{path} is taken as it is, not compared with a table" in said[0]


def test_a_table_that_can_no_longer_be_read_is_refused(
    made: tuple[Path, Path], frame: pd.DataFrame
) -> None:
    data, path = made
    write_table(data, frame.replace("Malignant", "malignant"))
    with pytest.raises(FoldError, match=r"cannot be read any more: no row has target Malignant"):
        compare(data, path)


def test_the_fold_file_is_the_table_it_was_and_its_record_stands_beside_it(
    made: tuple[Path, Path],
) -> None:
    _, path = made
    columns = "image_name,patient_id,lesion_id,age,sex,site,source,label,target,width,height,bytes"
    assert path.read_text().splitlines()[0] == f"{columns},group,fold"
    record = load_record(path, load_folds(path))
    assert record is not None
    assert record.meaning["data"]["positive"] == ["Malignant"]
    assert record_file(path).name == "folds.made_from.json"


def test_an_image_that_was_moved_to_another_part_is_refused(tmp_path: Path) -> None:
    """HAM10000's test folder decides the test part; the table does not know it."""
    parts = {"train": range(24), "test": range(24, 30)}
    for part, numbers in parts.items():
        tree(tmp_path, *(f"HAM10000_images_{part}/a{n}.jpg" for n in numbers))
    rows = [f"L{n},a{n},{'mel' if n % 3 else 'nv'},histo,50,male,back" for n in range(30)]
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join([header, *rows]) + "\n")
    folds = {"name": "x", "k": 2, "holdout": "supplied"}
    recipe = make_recipe({"name": "x", "data": {"reader": "ham10000"}, "folds": folds})
    path = tmp_path / "folds.csv"
    split_folds(recipe, tmp_path, NOWHERE, path)
    assert compare(tmp_path, path, recipe) == []
    moved = tmp_path / "HAM10000_images_test/a25.jpg"
    moved.rename(tmp_path / "HAM10000_images_train/a25.jpg")
    with pytest.raises(FoldError, match=r"changed since: 1 images \(a25: test -> train\)"):
        compare(tmp_path, path, recipe)


# Fold files without a record: of earlier versions, or of other programs.


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"folds": "x"}', "absent", "another file's"])
def test_without_its_record_a_fold_file_is_used_and_compared_all_the_same(
    damage: str, made: tuple[Path, Path], frame: pd.DataFrame
) -> None:
    data, path = made
    record = record_file(path)
    if damage == "absent":
        record.unlink()
    elif damage == "another file's":
        record.write_text(json.dumps({**json.loads(record.read_text()), "folds": "0" * 64}))
    else:
        record.write_text(damage)
    [said] = compare(data, path)
    assert "has no record of what it was made from" in said
    write_table(data, set_cells("target", "Malignant", 1)(frame))
    with pytest.raises(FoldError, match=r"i01: label benign -> melanoma"):
        compare(data, path)


def test_a_foreign_fold_file_may_call_patients_otherwise_but_not_join_others(
    made: tuple[Path, Path], frame: pd.DataFrame
) -> None:
    data, path = made
    record_file(path).unlink()
    foreign = pd.read_csv(path)[["image_name", "patient_id", "target", "fold"]]
    numbers = foreign["patient_id"].factorize()[0] + 1
    foreign[:-4].assign(patient_id=numbers[:-4]).to_csv(path, index=False)
    assert len(compare(data, path)) == 1
    write_table(data, set_cells("patient_id", "P9", 0, 1)(frame))
    with pytest.raises(
        FoldError, match=r"2 rows .*: patient_id (1|10) -> P9; i\d\d: patient_id (1|10) -> P9"
    ):
        compare(data, path)


def test_a_table_of_other_images_is_not_the_one(made: tuple[Path, Path], tmp_path: Path) -> None:
    data, path = made
    other = pd.DataFrame({"image_name": ["a", "b"], "target": ["Malignant", "Benign"], "age": "9"})
    elsewhere = write_table(tmp_path / "elsewhere", other)
    assert compare(elsewhere, path) == []  # the one that it was made from is found
    data.rename(tmp_path / "moved")
    [said] = compare(elsewhere, path)
    assert f"the table in {elsewhere} names none of its images" in said


# The commands.


@pytest.fixture
def options(tmp_path: Path, tiny_recipe: Callable[..., Path]) -> list[str | Path]:
    """Prepared and split; what every command is told of it."""
    from melanoma.data.phantoms.dataset import make_phantoms

    make_phantoms(tmp_path / "data", images=24, patients=12, size=32, seed=1)
    table = pd.read_csv(tmp_path / "data/train.csv")
    table["target"] = [int(row % 3 == 0) for row in range(24)]
    table["patient_id"] = [f"P{row // 2}" for row in range(24)]
    table.to_csv(tmp_path / "data/train.csv", index=False)
    return ["--config", tiny_recipe(), "--data", tmp_path / "data", "--arrays", "arrays"]


@pytest.mark.parametrize("column", ["target", "patient_id"])
def test_case_02_train_and_audit_refuse_what_was_corrected_after_split(
    column: str, call_door: Door, options: list[str | Path], tmp_path: Path
) -> None:
    folds = ["--folds", "f.csv"]
    for verb in ("prepare", "split"):
        assert call_door(verb, *options, *(folds if verb == "split" else ())).code == 0
    train = [*options, *folds, "--fold", "0", "--dry-run"]
    assert call_door("train", *train).code == 0
    table = pd.read_csv(tmp_path / "data/train.csv")
    table.loc[[1, 2], column] = 1 if column == "target" else "P9"
    table.to_csv(tmp_path / "data/train.csv", index=False)
    counted = f"2 rows ({'label' if column == 'target' else column} 2): "
    require_refusal(call_door("train", *train), 3, counted, table["image_name"][1])
    require_refusal(call_door("audit", *options, *folds), 3, counted)
    assert call_door("split", *options, *folds).code == 0
    assert call_door("train", *train).code == 0


def test_case_27_train_split_and_audit_refuse_replaced_files(
    call_door: Door, options: list[str | Path], tmp_path: Path
) -> None:
    folds = ["--folds", "f.csv"]
    assert call_door("prepare", *options).code == 0
    assert call_door("split", *options, *folds).code == 0
    first, second = sorted((tmp_path / "data/jpeg/train").iterdir())[:2]
    shutil.copy(first, second)
    train = ["train", *options, *folds, "--fold", "0", "--dry-run"]
    for command in (train, ["split", *options, *folds], ["audit", *options, *folds]):
        require_refusal(call_door(*command), 3, "1 of 24 image files have changed", second.stem)


def test_case_27_evaluate_refuses_files_that_were_replaced_since_training(
    call_door: Door, options: list[str | Path], tmp_path: Path, set_by_hand: None
) -> None:
    run = [*options, "--folds", "f.csv", "--weights", "w"]
    assert call_door("prepare", *options).code == 0
    assert call_door("split", *options, "--folds", "f.csv").code == 0
    assert call_door("train", *run, "--fold", "all").code == 0
    first, second = sorted((tmp_path / "data/jpeg/train").iterdir())[:2]
    kept = second.read_bytes()
    shutil.copy(first, second)
    refused = call_door("evaluate", *run)
    require_refusal(refused, 3, "1 of 24 image files have changed", second.stem)
    assert not Path("w/manifest.json").exists()
    second.write_bytes(kept)
    assert call_door("evaluate", *run).code == 0
    # Without a photograph a report is made all the same, and it is said.
    second.unlink()
    answer = call_door("evaluate", *run)
    assert answer.code == 0, answer.err
    assert "note: 1 image files of" in answer.err


def test_split_refuses_an_array_of_fewer_rows_and_passes_over_one_of_another_set(
    call_door: Door, options: list[str | Path], tmp_path: Path
) -> None:
    assert call_door("prepare", *options).code == 0
    path = tmp_path / "data/train.csv"
    table = pd.read_csv(path)
    table[:-1].to_csv(path, index=False)
    last = table["image_name"].iloc[-1]
    require_refusal(call_door("split", *options, "--out", "f.csv"), 3, f"{last} in the array alone")
    table.assign(image_name="z" + table["image_name"]).to_csv(path, index=False)
    answer = call_door("split", *options, "--out", "f.csv")
    assert answer.code == 0, answer.err
    assert "is of another table; --arrays DIR names this one's" in answer.out
