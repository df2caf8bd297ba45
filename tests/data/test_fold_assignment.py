"""Which rows go into which fold: whole groups, every class by its share, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fold_tables import (
    held,
    lesions,
    parted,
    random_classes,
    random_lesions,
    rules,
    split_groups,
)

from melanoma.data.fold_assignment import assign_groups, require_each_class, take_share
from melanoma.data.folds import (
    FoldTable,
    make_folds,
)
from melanoma.data.readers.table import LesionTable
from melanoma.data.share_split import split_by_share, worst_share
from melanoma.errors import FoldError
from melanoma.recipe.sections import Folds


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


FOUR = ("benign", "melanoma", "nevus", "a rare one")


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


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_their_own_shares(seed: int) -> None:
    """Parts of unequal shares: each class by its share, to within its largest group."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(300), rng.integers(1, 4, 300))
    target = rng.choice(3, len(groups), p=[0.7, 0.2, 0.1])
    shares = np.array([0.5, 0.3, 0.2])
    part = assign_groups(groups, target, shares, seed=seed)
    assert all(len(set(part[groups == group])) == 1 for group in range(300))
    for number in range(3):
        caught = np.bincount(part[target == number], minlength=3)
        largest = np.bincount(groups[target == number]).max()
        assert np.abs(caught - shares * caught.sum()).max() <= largest + 1
    assert np.array_equal(part, assign_groups(groups, target, shares, seed=seed))
    assert not np.array_equal(part, assign_groups(groups, target, shares, seed=seed + 100))


def test_numbers_of_groups_need_not_be_without_a_gap() -> None:
    """Groups that are in the test part alone leave gaps, which decide nothing."""
    groups, target = np.arange(40) // 2, np.arange(40) % 2
    plain = assign_groups(groups, target, np.ones(4), seed=0)
    assert np.array_equal(plain, assign_groups(groups * 7 + 3, target, np.ones(4), seed=0))
    with pytest.raises(FoldError, match="21 folds need 21 groups; the table has 20"):
        assign_groups(groups, target, np.ones(21), seed=0)


def test_a_fold_that_lacks_a_class_is_refused_with_a_number_that_works() -> None:
    groups = np.arange(12)
    target = np.array([1, 1, *[0] * 10])
    fold = np.arange(12) % 3
    fold[[0, 1]] = 0, 1  # the third fold has no melanoma
    with pytest.raises(FoldError, match=r"1 of 3 folds without one of the .*folds\.k=2 works"):
        require_each_class(fold, groups, target, rules(3))
    require_each_class(np.where(fold == 2, 0, fold), groups, target, rules(2))


def test_a_share_takes_whole_groups_and_leaves_each_class_on_both_sides() -> None:
    groups, target = np.arange(200) // 2, (np.arange(200) // 2 % 10 == 0).astype(np.int64)
    rows = take_share(groups, target, 0.25, seed=3)
    assert len(rows) == 50 and target[rows].sum() in (4, 6)  # of 20 in pairs
    assert set(groups[rows]).isdisjoint(np.delete(groups, rows))


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_class_of_one_group_is_on_both_sides_of_no_share(share: float) -> None:
    groups, target = np.array([0, 0, *range(1, 31)]), np.array([1, 1, *[0] * 30])
    with pytest.raises(FoldError, match="leaves one part without one of the classes"):
        take_share(groups, target, share, seed=0)


@pytest.mark.parametrize("trial", range(60))
def test_a_share_is_the_older_assignment_where_that_is_right_and_else_the_nearer_one(
    trial: int,
) -> None:
    rng = np.random.default_rng(trial)
    images = int(rng.integers(20, 80))
    target = np.sort(rng.integers(0, rng.integers(2, 6), images))
    groups = np.sort(rng.integers(0, max(8, images // 2), images))
    share = float(rng.choice([0.1, 0.2, 0.25]))
    older = assign_groups(groups, target, np.array([1 - share, share]), seed=0)
    newer = split_by_share(groups, target, share, seed=0)
    whole = [p for p in (older, newer) if {*target[p == 0]} == {*target[p == 1]} == {*target}]
    if not whole:
        with pytest.raises(FoldError, match="leaves one part without one of the classes"):
            take_share(groups, target, share, seed=0)
        return
    part = np.isin(np.arange(images), take_share(groups, target, share, seed=0)).astype(int)
    if whole[0] is older and worst_share(older, target, share) <= 1:
        assert np.array_equal(part, older), "fold files that were right stay as they were"
    else:
        nearest = min(worst_share(p, target, share) for p in whole)
        assert worst_share(part, target, share) == nearest
        assert {*target[part == 0]} == {*target[part == 1]} == {*target}
