"""Folds: every group whole, positives even, one seed one split; what leaks or lacks is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from fold_tables import (
    NAMES,
    held,
    lesions,
    parted,
    random_classes,
    random_lesions,
    rules,
    split_groups,
)
from sklearn.model_selection import StratifiedKFold

from melanoma.data.array_build import build_array
from melanoma.data.csv_tables import read_table
from melanoma.data.duplicates.search import Duplicates
from melanoma.data.folds import (
    TEST,
    FoldTable,
    label_folds,
    load_folds,
    make_folds,
    save_folds,
    with_file_facts,
)
from melanoma.data.groups import Pair, exact_duplicates, join_groups
from melanoma.data.leaks import LeakAudit, audit_folds, audit_test, require_no_leaks
from melanoma.data.readers.labels import HAM10000_CLASSES
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.errors import DataError, FoldError
from melanoma.recipe.data_sections import HamData, SiimData
from melanoma.recipe.sections import Image

Ints = npt.NDArray[np.int64]


def audit(folds: FoldTable, pairs: Sequence[Pair] = ()) -> LeakAudit:
    return audit_folds(folds, Duplicates(tuple(pairs), ()))


@pytest.mark.parametrize("seed", range(30))
def test_no_patient_lesion_or_duplicate_is_ever_in_two_folds(seed: int) -> None:
    table, k = random_lesions(seed)
    rng = np.random.default_rng(1000 + seed)
    drawn = rng.integers(0, len(table), (12, 2)).tolist()
    pairs = [(min(pair), max(pair)) for pair in drawn if pair[0] != pair[1]]
    folds = make_folds(table, rules(k, seed), pairs=pairs)
    assert folds.frame["image_name"].tolist() == table.names
    assert folds.folds == list(range(k))
    assert split_groups(folds, "patient_id") == 0
    assert split_groups(folds, "lesion_id") == 0
    fold = folds.frame["fold"].to_numpy()
    assert all(fold[one] == fold[other] for one, other in pairs)
    assert not require_no_leaks(audit(folds, pairs), allow=False).leaks


@pytest.mark.parametrize("seed", range(5))
def test_both_parts_are_the_whole_table_and_share_no_row(seed: int) -> None:
    table, k = random_lesions(seed)
    folds = make_folds(table, rules(k, seed))
    held_out: list[int] = []
    for number in folds.folds:
        training, validation = folds.rows(number)
        assert sorted([*training, *validation]) == list(range(len(table)))
        held_out += validation.tolist()
    assert sorted(held_out) == list(range(len(table)))


@pytest.mark.timeout(200)  # it takes two seconds; a search that is quadratic takes hours
def test_the_real_table_is_split_by_patient_with_even_melanomas(
    real_data: Path,
) -> None:
    csv = read_table(real_data / "siim2020/train_full.csv", needed=["image_name"])
    table = lesions(csv["target"].astype(int).to_numpy(), csv["patient_id"].tolist())
    assert (len(table), csv["patient_id"].nunique()) == (33_126, 2_056)
    folds = make_folds(table, rules())
    assert split_groups(folds, "patient_id") == 0
    assert folds.frame.groupby("patient_id")["fold"].nunique().eq(1).sum() == 2_056
    counts = folds.counts()
    assert counts["positives"].sum() == 584
    assert (abs(counts["positives"] - 584 / 5) <= 0.02 * 584 / 5).all()
    assert (abs(counts["images"] - 33_126 / 5) <= 0.02 * 33_126 / 5).all()


def test_the_real_case_control_table_is_split_by_patient(real_data: Path) -> None:
    table = read_lesions(real_data / "siim2020", SiimData(reader="siim")).require_sound()
    folds = make_folds(table, rules())
    assert split_groups(folds, "patient_id") == 0
    assert (abs(folds.counts()["positives"] - 584 / 5) <= 0.02 * 584 / 5).all()


def test_without_groups_the_folds_are_exactly_scikit_learn_s(phantom_set: Path) -> None:
    table = read_lesions(phantom_set, SiimData(reader="siim"))
    folds = make_folds(table, rules(4, seed=7, group_by="none"))
    target = table.frame["target"].to_numpy()
    theirs = StratifiedKFold(4, shuffle=True, random_state=7).split(target, target)
    for number, (training, validation) in enumerate(theirs):
        ours = folds.rows(number)
        assert np.array_equal(ours[0], training)
        assert np.array_equal(ours[1], validation)


def test_without_groups_the_leak_is_counted(phantom_set: Path) -> None:
    table = read_lesions(phantom_set, SiimData(reader="siim"))
    folds = make_folds(table, rules(3, group_by="none"), pairs=[(0, 1)])
    assert split_groups(folds, "patient_id") > 10
    leaks = require_no_leaks(audit(folds), allow=True).findings
    assert leaks[0].startswith(f"{split_groups(folds, 'patient_id')} patients in more than one")


def test_identical_images_of_two_patients_join_all_images_of_both() -> None:
    patient = [f"p{row // 2}" for row in range(40)]
    target = [0, 1] * 20
    pairs = [(0, 39), (5, 20)]
    folds = make_folds(lesions(target, patient), rules(), pairs=pairs)
    fold = folds.frame["fold"]
    assert fold[0] == fold[1] == fold[38] == fold[39]
    assert fold[4] == fold[5] == fold[20] == fold[21]
    assert folds.frame["group"].nunique() == 20 - 2
    apart = [
        audit(make_folds(lesions(target, patient), rules(seed=seed)), pairs).leaks
        for seed in range(5)
    ]
    assert any(apart), "the pairs stay together by chance: the test proves nothing"


def test_equal_digests_are_pairs_and_empty_ones_are_not() -> None:
    assert exact_duplicates(["a", "", "b", "a", "", "a"]) == [(0, 3), (0, 5)]


def test_joining_is_transitive_and_ignores_unknown_values() -> None:
    patient, lesion = ["a", "a", "b", "", "", "c"], ["", "x", "x", "y", "", ""]
    assert join_groups([patient, lesion]) == [0, 0, 0, 1, 2, 3]
    assert join_groups([patient, lesion], [(3, 5), (2, 3)]) == [0, 0, 0, 0, 1, 0]


def test_images_of_unknown_patients_are_spread_and_not_one_group() -> None:
    folds = make_folds(lesions([0, 1] * 20, [""] * 40), rules())
    assert folds.counts()["images"].tolist() == [8] * 5
    assert not audit(folds).leaks


def test_the_same_seed_gives_the_same_folds_and_another_seed_others() -> None:
    table, _ = random_lesions(3)
    first, again = make_folds(table, rules(4, seed=1)), make_folds(table, rules(4, seed=1))
    assert first.digest == again.digest
    pd.testing.assert_frame_equal(first.frame, again.frame)
    others = {make_folds(table, rules(4, seed=seed)).digest for seed in range(6)}
    assert len(others) == 6


def test_the_digest_does_not_depend_on_the_order_of_rows_or_other_columns() -> None:
    table, k = random_lesions(5)
    folds = make_folds(table, rules(k))
    turned = FoldTable(folds.whole.sample(frac=1, random_state=0).assign(sex="unknown"))
    assert turned.digest == folds.digest


@pytest.mark.parametrize("column", ["fold", "target", "image_name", "group"])
def test_the_digest_depends_on_what_decides_a_fold(column: str) -> None:
    table, k = random_lesions(5)
    folds = make_folds(table, rules(k))
    changed = folds.frame.copy()
    old = changed.loc[0, column]
    changed.loc[0, column] = 1 - int(old) if column in ("fold", "target") else "another"
    assert FoldTable(changed).digest != folds.digest


def test_a_fold_file_is_read_back_as_it_was_written(tmp_path: Path, phantom_set: Path) -> None:
    table = read_lesions(phantom_set, SiimData(reader="siim"))
    folds = make_folds(table, rules(3))
    path = tmp_path / "new/folds.csv"
    save_folds(folds, path)
    found = load_folds(path)
    assert found.digest == folds.digest
    pd.testing.assert_frame_equal(found.frame, folds.frame)
    first = path.read_bytes()
    save_folds(found, path)
    assert path.read_bytes() == first


def test_file_facts_and_further_columns_are_kept_and_change_no_digest(
    tmp_path: Path, phantom_set: Path
) -> None:
    table = read_lesions(phantom_set, SiimData(reader="siim"))
    plain = make_folds(table, rules(3))
    array = build_array(table, tmp_path / "arrays", Image(size=32))
    folds = with_file_facts(plain, array)
    save_folds(folds, tmp_path / "folds.csv")
    found = load_folds(tmp_path / "folds.csv")
    assert found.digest == folds.digest == plain.digest
    expected = [tuple(facts) for facts in array.file_facts]
    facts = found.frame[["width", "height", "bytes"]]
    assert list(facts.itertuples(index=False, name=None)) == expected
    assert found.frame["diagnosis"].tolist() == table.frame["diagnosis"].tolist()
    # Whole numbers in the file, for the eye and for any other reader.
    assert pd.read_csv(tmp_path / "folds.csv")["bytes"].dtype == np.int64


def test_facts_follow_the_image_and_not_the_row(tmp_path: Path, phantom_set: Path) -> None:
    table = read_lesions(phantom_set, SiimData(reader="siim"))
    array = build_array(table, tmp_path / "arrays", Image(size=32))
    turned = FoldTable(make_folds(table, rules(3)).whole[::-1].reset_index(drop=True))
    bytes_of = with_file_facts(turned, array).frame["bytes"].tolist()
    assert bytes_of == [facts.bytes for facts in array.file_facts[::-1]]
    adopted = dataclasses.replace(array, file_facts=())
    assert with_file_facts(turned, adopted).frame["bytes"].isna().all()


def test_split_writes_the_facts_that_prepare_recorded(
    call_door: Callable[..., Any], tiny_recipe: Callable[..., Path], phantom_set: Path
) -> None:
    given = ["--config", tiny_recipe(), "--data", phantom_set]
    assert call_door("split", *given, "--out", "without.csv").code == 0
    assert call_door("prepare", *given).code == 0
    assert call_door("split", *given, "--out", "with.csv").code == 0
    without, told = load_folds(Path("without.csv")), load_folds(Path("with.csv"))
    assert without.digest == told.digest
    assert without.frame["bytes"].isna().all()
    sizes = [(phantom_set / source).stat().st_size for source in told.frame["source"]]
    assert told.frame["bytes"].tolist() == sizes
    assert set(told.frame["width"]) == {48}


FOREIGN = "image_name,patient_id,target,fold\na,p,0,0\nb,p,1,0\nc,q,0,1\nd,q,1,1\n"


def fold_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "folds.csv"
    path.write_text(text)
    return path


def test_a_fold_file_of_anyone_else_needs_four_columns(tmp_path: Path) -> None:
    folds = load_folds(fold_file(tmp_path, FOREIGN))
    assert folds.folds == [0, 1]
    assert [part.tolist() for part in folds.rows(1)] == [[0, 1], [2, 3]]
    assert not audit(folds).leaks
    assert folds.frame[["width", "height", "bytes", "age"]].isna().all(axis=None)


def test_the_digest_of_a_foreign_file_does_not_depend_on_its_order(tmp_path: Path) -> None:
    digest = load_folds(fold_file(tmp_path, FOREIGN)).digest
    header, *lines = FOREIGN.splitlines()
    turned = "\n".join([header, *lines[::-1]]) + "\n"
    assert load_folds(fold_file(tmp_path, turned)).digest == digest


# Row 49.


def test_a_fold_file_without_folds_is_refused_with_a_guess(tmp_path: Path) -> None:
    path = fold_file(tmp_path, FOREIGN.replace("fold", "kfold"))
    with pytest.raises(DataError, match=r"lacks fold \(did you mean kfold\?\)"):
        load_folds(path)


@pytest.mark.parametrize("value", ["x", "", "1.5", "-1", "1e3", "nan"])
def test_a_fold_that_is_no_whole_number_is_shown_with_its_line(value: str, tmp_path: Path) -> None:
    path = fold_file(tmp_path, FOREIGN.replace("c,q,0,1", f"c,q,0,{value}"))
    with pytest.raises(FoldError, match=r"1 rows whose fold .*row 3 \(line 4\)"):
        load_folds(path)


@pytest.mark.parametrize("value", ["1.5", "", "x", "-1", "melanoma"])
def test_a_target_in_a_fold_file_is_a_class_number(value: str, tmp_path: Path) -> None:
    path = fold_file(tmp_path, FOREIGN.replace("c,q,0,1", f"c,q,{value},1"))
    with pytest.raises(FoldError, match=r"1 rows whose target .*row 3 \(line 4\)"):
        load_folds(path)


def test_an_image_may_stand_only_once_in_a_fold_file(tmp_path: Path) -> None:
    path = fold_file(tmp_path, FOREIGN + "a,p,0,1\n")
    with pytest.raises(FoldError, match=r"twice: row 5 \(line 6\): 'a'"):
        load_folds(path)


def test_an_unknown_fold_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(FoldError, match=r"fold 99 .*\[0, 1\]"):
        load_folds(fold_file(tmp_path, FOREIGN)).rows(99)


# Row 50.


def test_a_leaking_file_is_refused_with_counts_and_names(tmp_path: Path) -> None:
    folds = load_folds(fold_file(tmp_path, FOREIGN.replace("c,q", "c,p")))
    with pytest.raises(FoldError, match=r"1 patients in more than one fold \(p\)") as caught:
        require_no_leaks(audit(folds), allow=False)
    assert "--allow-leak" in str(caught.value)
    leaks = require_no_leaks(audit(folds, [(0, 3)]), allow=True).findings
    assert any("1 pairs of identical images" in leak and "a = d" in leak for leak in leaks)


def test_a_leaking_lesion_is_refused_even_when_patients_are_apart(tmp_path: Path) -> None:
    header, *lines = FOREIGN.splitlines()
    text = "\n".join([f"{header},lesion_id", *(f"{line},same" for line in lines)]) + "\n"
    folds = load_folds(fold_file(tmp_path, text))
    with pytest.raises(FoldError, match=r"1 lesions in more than one fold \(same\)"):
        require_no_leaks(audit(folds), allow=False)


# Row 51.


@pytest.mark.parametrize(
    ("fold", "said"),
    [(0, "validation part holds only target 0"), (1, "training part holds only target 0")],
)
def test_a_part_with_one_class_is_refused_before_training(
    fold: int, said: str, tmp_path: Path
) -> None:
    path = fold_file(tmp_path, FOREIGN.replace("b,p,1", "b,p,0"))
    with pytest.raises(FoldError, match=said):
        load_folds(path).rows(fold)


def test_the_real_tables_have_the_digests_that_the_folds_readme_states(real_data: Path) -> None:
    stated = (Path(__file__).resolve().parents[2] / "folds" / "README.md").read_text()
    csv = read_table(real_data / "siim2020/train_full.csv", needed=["image_name"])
    whole = lesions(csv["target"].astype(int).to_numpy(), csv["patient_id"].tolist())
    whole.frame["image_name"] = csv["image_name"]
    sample = read_lesions(real_data / "siim2020", SiimData(reader="siim"))
    for table in (whole, sample):
        assert f"`{make_folds(table, rules()).digest[:12]}`" in stated


# Several classes.

FOUR = ("benign", "melanoma", "nevus", "a rare one")


def test_ham10000_s_lesions_stay_whole_and_every_class_is_even(real_data: Path) -> None:
    table = read_lesions(
        real_data / "ham10000",
        HamData(reader="ham10000"),
        classes=tuple(HAM10000_CLASSES.values()),
    ).require_sound()
    codes = {name: code for code, name in HAM10000_CLASSES.items()}
    assert table.frame["label"].map(codes).value_counts().to_dict() == {
        "nv": 6705,
        "mel": 1113,
        "bkl": 1099,
        "bcc": 514,
        "akiec": 327,
        "vasc": 142,
        "df": 115,
    }
    assert (table.frame["source"] != "").all()
    folds = make_folds(table, rules())
    assert split_groups(folds, "lesion_id") == 0
    counts = folds.counts()
    assert (counts[list(codes)].max() - counts[list(codes)].min() <= 1).all()
    assert np.ptp(counts["images"]) <= 1
    for number in folds.folds:
        folds.rows(number)


def test_without_groups_several_classes_are_scikit_learn_s_too() -> None:
    target = np.random.default_rng(0).choice(4, 200)
    folds = make_folds(lesions(target), rules(4, seed=7, group_by="none"))
    theirs = StratifiedKFold(4, shuffle=True, random_state=7).split(target, target)
    for number, (_, validation) in enumerate(theirs):
        assert np.array_equal(folds.rows(number)[1], validation)


def test_a_file_keeps_labels_and_is_read_for_its_own_classes_alone(tmp_path: Path) -> None:
    table, k = random_classes(1)
    folds = make_folds(table, rules(k))
    path = tmp_path / "folds.csv"
    save_folds(folds, path)
    again = load_folds(path, classes=FOUR)
    assert again.digest == folds.digest
    assert again.frame["label"].tolist() == folds.frame["label"].tolist()
    assert load_folds(path).frame["label"].tolist() == folds.frame["label"].tolist()
    # Another order of the classes is another meaning of every number.
    with pytest.raises(FoldError, match=r"label is not what target means: row 1 .*--folds"):
        load_folds(path, classes=FOUR[::-1])
    with pytest.raises(FoldError, match=r"rows of a class that the recipe has not: row .*'nevus'"):
        load_folds(path, classes=FOUR[:2])
    with pytest.raises(FoldError, match=r"no row of 'a fifth'.*melanoma\.split"):
        load_folds(path, classes=(*FOUR, "a fifth"))


def test_a_file_of_two_classes_is_none_for_a_recipe_of_four(tmp_path: Path) -> None:
    path = fold_file(tmp_path, FOREIGN)
    with pytest.raises(FoldError, match="no row of 'nevus', 'a rare one'"):
        load_folds(path, classes=FOUR)


def test_a_file_without_labels_has_them_filled_in_where_the_classes_are_known(
    tmp_path: Path,
) -> None:
    path = fold_file(tmp_path, FOREIGN)
    assert load_folds(path).frame["label"].tolist() == ["0", "1", "0", "1"]
    named = load_folds(path, classes=FOUR[:2])
    assert named.frame["label"].tolist() == ["benign", "melanoma", "benign", "melanoma"]
    assert named.digest == load_folds(path).digest
    later = label_folds(load_folds(path), FOUR[:2])
    assert later.frame["label"].tolist() == named.frame["label"].tolist()


# A test part beside the folds, and a single split.


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_a_test_part_shares_no_group_and_no_row_with_any_fold(seed: int, k: int) -> None:
    table, _ = random_lesions(seed)
    pairs = [(0, len(table) - 1), (1, len(table) // 2)]
    folds = make_folds(table, held(k=k, seed=seed, holdout=0.25), pairs=pairs)
    assert folds.whole["image_name"].tolist() == table.names
    assert sorted([*folds.frame["image_name"], *folds.test["image_name"]]) == sorted(table.names)
    for column in ("patient_id", "lesion_id", "group"):
        shared = set(folds.frame[column]) & set(folds.test[column]) - {""}
        assert shared == set()
    fold = folds.whole["fold"].tolist()
    assert all(fold[one] == fold[other] for one, other in pairs)
    assert not audit(folds, pairs).leaks
    for number in folds.folds:
        training, validation = folds.rows(number)
        names = folds.frame["image_name"].to_numpy()
        assert not set(names[[*training, *validation]]) & set(folds.test["image_name"])


def test_a_single_split_holds_out_its_share_once() -> None:
    table = lesions([n % 2 for n in range(100)], [f"p{n // 2}" for n in range(100)])
    folds = make_folds(table, held(k=1, validation=0.3))
    assert folds.folds == [0]
    assert folds.test.empty
    training, validation = folds.rows(0)
    assert (len(training), len(validation)) == (70, 30)
    assert folds.frame["target"].to_numpy()[validation].sum() == 15
    assert not audit(folds).leaks
    with pytest.raises(FoldError, match=r"fold 1 is not in the fold file \(it has \[0\]\)"):
        folds.rows(1)


@pytest.mark.parametrize("options", [{"k": 3, "holdout": 0.2}, {"k": 1}, {"k": 1, "holdout": 0.4}])
def test_parts_survive_the_fold_file_in_words(options: dict[str, Any], tmp_path: Path) -> None:
    folds = make_folds(lesions([n % 2 for n in range(60)]), held(**options))
    save_folds(folds, tmp_path / "folds.csv")
    cells = set(pd.read_csv(tmp_path / "folds.csv", dtype=str)["fold"])
    words = {"train"} if options["k"] == 1 else set()
    words |= {"test"} if "holdout" in options else set()
    assert cells == {str(number) for number in folds.folds} | words
    again = load_folds(tmp_path / "folds.csv", classes=NAMES[:2])
    assert again.digest == folds.digest
    assert again.whole["fold"].tolist() == folds.whole["fold"].tolist()
    assert again.test["image_name"].tolist() == folds.test["image_name"].tolist()
    assert len(label_folds(again, NAMES[:2]).test) == len(folds.test)
    assert len(with_file_facts(again, None).test) == len(folds.test)


@pytest.mark.parametrize("cell", ["-1", "-2", "Test", "valid"])
def test_no_other_word_or_number_is_a_part(cell: str, tmp_path: Path) -> None:
    csv = f"image_name,patient_id,target,fold\na,p,0,0\nb,q,1,{cell}\n"
    (tmp_path / "f.csv").write_text(csv)
    with pytest.raises(FoldError, match=rf"whose fold is not a whole .*row 2 \(line 3\): '{cell}'"):
        load_folds(tmp_path / "f.csv")


def test_the_digest_knows_the_test_part() -> None:
    folds = make_folds(lesions([n % 2 for n in range(60)]), held(k=2, holdout=0.2))
    row = folds.whole.index[folds.whole["fold"] == TEST][0]
    moved = folds.whole.copy()
    moved.loc[row, "fold"] = 0
    assert FoldTable(moved).digest != folds.digest
    assert FoldTable(folds.frame).digest != folds.digest


def test_counts_name_the_parts_after_the_folds() -> None:
    table = lesions([n % 2 for n in range(100)])
    counts = make_folds(table, held(k=2, holdout=0.2)).counts()
    assert counts.index.tolist() == [0, 1, "test"]
    assert counts["images"].tolist() == [40, 40, 20]
    counts = make_folds(table, held(k=1, holdout=0.2)).counts()
    assert counts.index.tolist() == [0, "train", "test"]
    assert counts["images"]["test"] == 20
    assert counts["positives"].sum() == 50


def test_a_lesion_in_both_folders_is_a_leak_and_refused_with_the_way_out() -> None:
    part = ["test" if row >= 40 else "train" for row in range(50)]
    lesion = [f"l{row % 45}" for row in range(50)]
    folds = make_folds(parted(part, lesion=lesion), held(k=2, holdout="folders"))
    assert audit(folds).lesions == tuple(f"l{n}" for n in range(5))
    said = require_no_leaks(audit(folds), allow=True).findings
    assert "5 lesions in more than one part (l0, l1, l2, ...)" in said
    with pytest.raises(FoldError, match=r"with folds\.holdout as a share"):
        require_no_leaks(audit(folds), allow=False)
    # A share of the same table keeps them whole.
    assert not audit(make_folds(parted(part, lesion=lesion), held(k=2, holdout=0.2))).leaks


def test_an_image_in_both_folders_under_two_names_is_a_leak() -> None:
    part = ["test" if row >= 40 else "train" for row in range(50)]
    folds = make_folds(parted(part), held(k=2, holdout="folders"))
    found = audit(folds, [(0, 45)])
    assert [str(pair) for pair in found.identical or ()] == ["i0 = i45"]


def test_the_test_part_s_own_audit_is_of_nothing_but_its_border() -> None:
    part = ["test" if row >= 40 else "train" for row in range(50)]
    patients = [f"p{row % 48}" for row in range(50)]  # rows 0 and 48, 1 and 49
    table = parted(part, patient=patients)
    folds = make_folds(table, held(k=2, holdout="folders"))
    moved = folds.whole.copy()
    moved.loc[[2, 3], "patient_id"] = "between folds"
    moved.loc[2, "fold"], moved.loc[3, "fold"] = 0, 1
    folds = FoldTable(moved)
    found = audit_test(folds, Duplicates(((2, 3), (4, 45)), ()))
    assert found.patients == ("p0", "p1")
    assert "2 patients in both training and test (p0, p1)" in found.findings
    assert [str(pair) for pair in found.identical or ()] == ["i4 = i45"]
    assert set(audit_folds(folds).patients) == {"p0", "p1", "between folds"}
