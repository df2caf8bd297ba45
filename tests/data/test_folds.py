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
from fold_tables import NAMES, held, lesions
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
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError, FoldError
from melanoma.recipe.data_sections import HamData, SiimData
from melanoma.recipe.sections import Folds, Image

Ints = npt.NDArray[np.int64]


def rules(k: int = 5, seed: int = 0, group_by: str = "patient") -> Folds:
    return Folds(name="test", k=k, seed=seed, group_by=group_by)  # type: ignore[arg-type]


def random_lesions(seed: int) -> tuple[LesionTable, int]:
    """Between 60 and 400 images of patients with one or many, and folds that they can fill."""
    rng = np.random.default_rng(seed)
    count, k = int(rng.integers(60, 400)), int(rng.integers(2, 8))
    patients = int(rng.integers(4 * k, count))
    patient = rng.integers(0, patients, count)
    target = (rng.random(count) < rng.uniform(0.1, 0.5)).astype(np.int64)
    names = ["" if rng.random() < 0.1 else f"p{p}" for p in patient]
    lesion = [f"l{rng.integers(count)}" if rng.random() < 0.2 else "" for _ in range(count)]
    return lesions(target, names, lesion), k


def audit(folds: FoldTable, pairs: Sequence[Pair] = ()) -> LeakAudit:
    return audit_folds(folds, Duplicates(tuple(pairs), ()))


def split_groups(folds: FoldTable, column: str) -> int:
    known = folds.frame[folds.frame[column] != ""]
    return int((known.groupby(column)["fold"].nunique() > 1).sum())


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


@pytest.mark.parametrize("seed", range(30))
def test_positives_are_as_even_as_the_largest_group_allows(seed: int) -> None:
    table, k = random_lesions(seed)
    folds = make_folds(table, rules(k, seed))
    counts = folds.counts()
    largest = folds.frame.groupby("group")["target"].sum().max()
    assert np.ptp(counts["positives"]) <= largest
    # Without duplicates most groups are small, and images come out even too.
    assert np.ptp(counts["images"]) <= folds.frame.groupby("group").size().max()
    assert counts["images"].sum() == len(table)


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


def test_too_few_positives_or_groups_for_the_folds_are_refused() -> None:
    with pytest.raises(FoldError, match=r"of each class; 'melanoma' has 4; --set folds\.k=4"):
        make_folds(lesions([0] * 20 + [1] * 4), rules())
    with pytest.raises(FoldError, match="images of each class; 'class 1' has 0; no number"):
        make_folds(lesions([0] * 20), rules())
    with pytest.raises(FoldError, match=r"5 folds need 5 groups .* has 2, of 10 images"):
        make_folds(lesions([0, 1] * 10, [f"p{row % 4}" for row in range(20)]), rules())


def test_positives_of_fewer_patients_than_folds_are_refused_in_groups() -> None:
    """Enough images, too few patients: some fold could be neither trained nor scored."""
    patient = ["one"] * 10 + [f"p{row}" for row in range(20)]
    table = lesions([1] * 10 + [0] * 20, patient)
    with pytest.raises(FoldError, match=r"3 groups .*'melanoma' has 1, of 10 images; no number of"):
        make_folds(table, rules(3))
    frame = table.frame.assign(group=table.frame["patient_id"], fold=[0] * 20 + [1] * 10)
    folds = FoldTable(frame)
    with pytest.raises(FoldError, match="validation part holds only target 0"):
        folds.rows(1)
    with pytest.raises(FoldError, match="training part holds only target 0"):
        folds.rows(0)


@pytest.mark.parametrize("patients", [2, 3, 4])
def test_the_number_of_folds_that_is_advised_works(patients: int) -> None:
    patient = [f"m{row % patients}" for row in range(12)] + [f"p{row}" for row in range(40)]
    table = lesions([1] * 12 + [0] * 40, patient)
    with pytest.raises(FoldError, match=rf"'melanoma' has {patients}, of 12 images") as refusal:
        make_folds(table, rules(5))
    advised = int(str(refusal.value).split("folds.k=")[1].split()[0])
    assert advised == patients
    folds = make_folds(table, rules(advised))
    assert all(len(set(folds.frame["target"][folds.frame["fold"] == f])) == 2 for f in folds.folds)


@pytest.mark.parametrize(("share", "digest"), [(0.3, "1cd7bd26eae4"), (0.7, "f26696900de7")])
def test_the_folds_of_two_classes_are_those_of_the_first_version(share: float, digest: str) -> None:
    """A fold file that is made again must be the one that a run was trained on."""
    rng = np.random.default_rng(5)
    patient = [f"p{p}" for p in rng.integers(0, 60, 200)]
    table = lesions((rng.random(200) < share).astype(np.int64), patient)
    assert make_folds(table, rules()).digest[:12] == digest


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


def random_classes(seed: int) -> tuple[LesionTable, int]:
    """Four classes, of 4 to 70 %, in patients with one image or many."""
    rng = np.random.default_rng(seed)
    count, k = int(rng.integers(300, 600)), int(rng.integers(2, 6))
    target = rng.choice(4, count, p=[0.7, 0.14, 0.12, 0.04])
    patient = [f"p{p}" for p in rng.integers(0, count // 2, count)]
    return lesions(target, patient), k


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_as_even_as_its_groups_allow(seed: int) -> None:
    table, k = random_classes(seed)
    folds = make_folds(table, rules(k, seed))
    assert split_groups(folds, "patient_id") == 0
    counts = folds.counts()
    assert list(counts) == ["images", "groups", *FOUR]
    assert counts["images"].sum() == counts[list(FOUR)].to_numpy().sum() == len(table)
    held = pd.crosstab(folds.frame["group"], folds.frame["label"])
    # The rarest class is scheduled by itself; the others have the mixed groups' images already.
    assert np.ptp(counts["a rare one"]) <= held["a rare one"].max()
    for name in FOUR[:3]:
        assert np.ptp(counts[name]) <= 2 * held[name].max() + 1, name
    assert np.ptp(counts["images"]) <= folds.frame.groupby("group").size().max()


def test_classes_of_whole_groups_are_even_to_within_one_group() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 4, 400)
    classes = np.repeat(rng.choice(4, 400, p=[0.6, 0.2, 0.15, 0.05]), sizes)
    table = lesions(classes, lesion=[f"l{n}" for n in np.repeat(np.arange(400), sizes)])
    counts = make_folds(table, rules()).counts()
    for name in FOUR[1:]:
        assert np.ptp(counts[name]) <= 1, name
    assert np.ptp(counts["images"]) <= 1


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


def test_a_fold_without_a_class_is_refused_by_the_class_s_name() -> None:
    target = [0, 1, 2] * 10 + [3] * 5
    patient = [f"p{row}" for row in range(30)] + ["one"] * 5
    table = lesions(target, patient)
    with pytest.raises(FoldError, match="'a rare one' has 1, of 5 images"):
        make_folds(table, rules(3))
    frame = table.frame.assign(group=table.frame["patient_id"], fold=[0] * 15 + [1] * 20)
    folds = FoldTable(frame)
    with pytest.raises(FoldError, match="validation part holds no a rare one; every class"):
        folds.rows(0)
    with pytest.raises(FoldError, match="training part holds no a rare one; every class"):
        folds.rows(1)


def test_too_few_images_of_a_class_are_refused_by_its_name() -> None:
    with pytest.raises(FoldError, match="5 images of each class; 'a rare one' has 4; --set"):
        make_folds(lesions([0, 1, 2] * 10 + [3] * 4), rules())


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


def parted(part: list[str], **columns: Any) -> LesionTable:
    table = lesions([row % 2 for row in range(len(part))], **columns)
    return LesionTable(table.frame.assign(part=part), Path("somewhere"))


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


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("group_by", ["patient", "none"])
def test_the_test_part_has_its_share_of_every_class(share: float, group_by: str) -> None:
    rng = np.random.default_rng(0)
    table = lesions(rng.choice(3, 600, p=[0.7, 0.2, 0.1]), [f"p{n // 3}" for n in range(600)])
    folds = make_folds(table, held(k=2, holdout=share, group_by=group_by))
    largest = folds.whole.groupby(["group", "target"]).size().max()
    for number in range(3):
        all_of_it = (folds.whole["target"] == number).sum()
        assert abs((folds.test["target"] == number).sum() - share * all_of_it) <= largest


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


def test_the_data_s_own_test_part_is_taken_as_it_is() -> None:
    part = ["test" if row % 5 == 0 else "train" for row in range(50)]
    folds = make_folds(parted(part), held(k=2, holdout="folders"))
    assert folds.test["image_name"].tolist() == [f"i{row}" for row in range(0, 50, 5)]
    assert "part" not in folds.whole
    # And is one image among others where nobody asks for it.
    assert make_folds(parted(part), held(k=2)).test.empty


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


def test_folders_that_are_not_there_are_no_test_part() -> None:
    for table in (lesions([0, 1] * 10), parted(["train"] * 20)):
        with pytest.raises(FoldError, match=r"folds\.holdout: .* has no test part of its own"):
            make_folds(table, held(k=2, holdout="folders"))


def test_a_supplied_part_is_kept_apart_where_there_is_one() -> None:
    part = ["test" if row >= 40 else "train" for row in range(50)]
    apart = make_folds(parted(part), held(k=2, holdout="supplied"))
    same = make_folds(parted(part), held(k=2, holdout="folders"))
    pd.testing.assert_frame_equal(apart.whole, same.whole)
    for table in (lesions([0, 1] * 10), parted(["train"] * 20)):
        assert make_folds(table, held(k=2, holdout="supplied")).test.empty


def test_folds_need_each_class_outside_the_test_part() -> None:
    table = lesions([0] * 10 + [1] * 10)
    part = ["train"] * 12 + ["test"] * 8
    table = LesionTable(table.frame.assign(part=part), Path())
    with pytest.raises(FoldError, match="class outside the test part; 'melanoma' has 2;"):
        make_folds(table, held(k=3, holdout="folders"))


def test_a_share_that_leaves_a_part_without_a_class_is_refused() -> None:
    table = lesions([0] * 40 + [1] * 2, [f"p{n}" for n in range(40)] + ["q", "q"])
    with pytest.raises(FoldError, match=r"a share of 0\.2 leaves one part without one of the"):
        make_folds(table, held(k=2, holdout=0.2))


def test_a_group_larger_than_the_share_is_not_put_into_the_test_part() -> None:
    large = ["large"] * 120 + ["huge"] * 120
    table = lesions([0] * 560 + [1] * 40, [*large, *(f"p{n}" for n in range(360))])
    folds = make_folds(table, held(k=2, holdout=0.1))
    assert not {"large", "huge"} & set(folds.test["patient_id"])
    assert len(folds.test) == 60
    assert folds.test["target"].sum() == 4


def test_groups_of_the_test_part_alone_fill_no_fold() -> None:
    patients = [f"t{n}" for n in range(10)] + ["p"] * 10 + ["q"] * 10
    part = ["test"] * 10 + ["train"] * 20
    with pytest.raises(FoldError, match=r"3 groups .* the test part; 'benign' has 2, of 10"):
        make_folds(parted(part, patient=patients), held(k=3, holdout="folders"))


def test_folds_stratified_by_size_share_out_groups_of_every_number_of_images() -> None:
    rng = np.random.default_rng(5)
    sizes = rng.geometric(0.12, 400)
    rows = [
        (f"i{n}_{m}", f"p{n}", int(rng.random() < 0.15))
        for n, size in enumerate(sizes)
        for m in range(size)
    ]
    frame = pd.DataFrame(rows, columns=["image_name", "patient_id", "target"])
    frame["label"] = np.where(frame["target"] == 1, "melanoma", "benign")
    for column in ("lesion_id", "sex", "site", "source"):
        frame[column] = ""
    frame["age"] = np.nan
    table = LesionTable(frame, Path())

    def spread(stratify: str) -> tuple[int, int]:
        folds = make_folds(table, Folds(name="f", k=5, stratify=stratify))
        per_group = folds.frame.groupby("group")
        found = pd.DataFrame(
            {"fold": per_group["fold"].first(), "step": np.ceil(np.log2(per_group.size()))}
        )
        assert (per_group["fold"].nunique() == 1).all()
        counts = pd.crosstab(found["step"], found["fold"])
        positives = folds.counts()["positives"]
        return int((counts.max(axis=1) - counts.min(axis=1)).max()), int(np.ptp(positives))

    by_label, by_size = spread("label"), spread("label_and_size")
    assert by_size[0] <= 2 < by_label[0]
    assert by_size[1] <= max(1, by_label[1])
    with pytest.raises(ValueError, match="for several folds of whole groups"):
        Folds(name="f", k=1, stratify="label_and_size")
    with pytest.raises(ValueError, match="for several folds of whole groups"):
        Folds(name="f", k=5, group_by="none", stratify="label_and_size")
