"""Shortcut baselines: planted ones are found, others stay at chance, none sees its own fold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.data.folds import load_folds, make_folds
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.evaluation.measure.shortcut_baselines import (
    _TREES as TREES,
)
from melanoma.evaluation.measure.shortcut_baselines import (
    IMAGES_PER_PATIENT,
    held_out_scores,
    shortcut_baselines,
    shortcut_inputs,
)
from melanoma.evaluation.report.schema_parts import Shortcuts
from melanoma.recipe.data_sections import CsvFolderData
from melanoma.recipe.sections import Folds

pytestmark = pytest.mark.slow  # together they take many seconds


NO_FILE_FACTS = {"width": np.nan, "height": np.nan, "bytes": np.nan}
CLINICAL_ALONE = {**NO_FILE_FACTS, "patient_id": ""}  # one line instead of four


@pytest.fixture(autouse=True)
def _all_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("melanoma.evaluation.measure.shortcut_baselines._TREES", TREES)


def fold_frame(patients: int = 400, seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Patients of 1 to 5 images in three folds, a label by chance, and what a table can hold."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    count = len(patient)
    frame = pd.DataFrame(
        {
            "image_name": [f"i{row}" for row in range(count)],
            "patient_id": [f"p{p}" for p in patient],
            "age": rng.integers(20, 90, count).astype(float),
            "sex": rng.choice(["male", "female", ""], count),
            "site": rng.choice(["torso", "arm", "head/neck"], count),
            "target": (rng.random(count) < 0.3).astype(np.int64),
            "width": rng.integers(600, 6000, count).astype(float),
            "height": rng.integers(400, 4000, count).astype(float),
            "bytes": rng.integers(20_000, 4_000_000, count).astype(float),
            "group": [f"g{p}" for p in patient],
            "fold": rng.integers(0, 3, patients)[patient],
        }
    )
    return frame.assign(**columns)


def measured(frame: pd.DataFrame, **options: Any) -> Shortcuts:
    given = {"model_probability": np.random.default_rng(9).random(len(frame)), **options}
    found = shortcut_baselines(
        frame,
        frame["target"].to_numpy(),
        frame["fold"].to_numpy(),
        pd.factorize(frame["group"])[0],
        resamples=100,
        seed=0,
        **given,
    )
    assert found is not None
    return found


def lines(found: Shortcuts) -> dict[str, Any]:
    return {line.name: line for line in found.lines}


def test_a_label_that_sex_decides_is_told_by_sex_and_by_nothing_else() -> None:
    frame = fold_frame()
    flipped = np.random.default_rng(1).random(len(frame)) < 0.1
    frame["sex"] = np.where((frame["target"] == 1) ^ flipped, "male", "female")
    found = lines(measured(frame))
    assert found["age, sex and site"].auroc.value == pytest.approx(0.9, abs=0.02)
    assert found["all of these"].auroc.low > 0.8
    for name in (IMAGES_PER_PATIENT, "file facts"):
        assert found[name].auroc.low < 0.5 < found[name].auroc.high


def test_a_label_that_the_camera_decides_is_told_by_the_file_alone() -> None:
    frame = fold_frame()
    frame["width"] = np.where(frame["target"] == 1, 6000.0, 1024.0)
    found = lines(measured(frame))
    assert found["file facts"].auroc.value == 1
    assert found["file facts"].inputs == ("width", "height", "bytes", IMAGES_PER_PATIENT)
    assert found["age, sex and site"].auroc.low < 0.5 < found["age, sex and site"].auroc.high


def test_images_per_patient_are_counted_and_told() -> None:
    frame = fold_frame()
    size = frame.groupby("patient_id")["image_name"].transform("size").to_numpy()
    assert shortcut_inputs(frame)[IMAGES_PER_PATIENT].tolist() == size.tolist()
    frame["target"] = (size >= 4).astype(np.int64)
    assert lines(measured(frame))[IMAGES_PER_PATIENT].auroc.value == 1


@pytest.mark.parametrize("seed", range(2))
def test_a_shuffled_label_is_told_by_no_baseline(seed: int) -> None:
    found = measured(fold_frame(seed=seed))
    assert len(found.lines) == 4
    for line in found.lines:
        # 8 intervals of 95 %: one without 0.5 in it may well be among them, one far from it not.
        width = line.auroc.high - line.auroc.low
        assert line.auroc.low - width / 4 < 0.5 < line.auroc.high + width / 4


def test_a_fold_s_own_labels_change_nothing_of_what_is_said_of_it() -> None:
    frame = fold_frame()
    inputs, fold = shortcut_inputs(frame), frame["fold"].to_numpy()
    target = frame["target"].to_numpy()
    first = held_out_scores(inputs, target, fold, seed=0)
    turned = np.where(fold == 2, 1 - target, target)
    second = held_out_scores(inputs, turned, fold, seed=0)
    assert np.array_equal(first[fold == 2], second[fold == 2])
    assert not np.array_equal(first[fold == 1], second[fold == 1])


def test_knowing_nothing_is_chance_however_uneven_the_folds() -> None:
    """Without the base rate taken out, a constant would rank at 0.325 here."""
    target = np.array([1] * 60 + [0] * 40 + [1] * 10 + [0] * 90 + [1] * 30 + [0] * 70)
    parts = np.repeat([0, 1, 2], 100)
    scores = held_out_scores({"age": np.full(300, 50.0)}, target, parts, seed=0)
    assert roc_auc_score(target, scores) == pytest.approx(0.5, abs=1e-9)


def test_the_auroc_is_scikit_learn_s_of_the_held_out_scores() -> None:
    frame = fold_frame(**CLINICAL_ALONE)
    frame["age"] += 15 * frame["target"]
    inputs = shortcut_inputs(frame)
    target, fold = frame["target"].to_numpy(), frame["fold"].to_numpy()
    model = np.random.default_rng(9).random(len(frame))
    found = measured(frame, model_probability=model)
    expected = roc_auc_score(target, held_out_scores(inputs, target, fold, seed=0))
    assert found.lines[0].auroc.value == pytest.approx(expected, abs=1e-12)
    assert found.model.value == pytest.approx(roc_auc_score(target, model), abs=1e-12)


def test_only_scored_folds_are_measured_while_the_others_are_learned_from() -> None:
    frame = fold_frame(**CLINICAL_ALONE)
    frame["age"] += 15 * frame["target"]
    fold, target = frame["fold"].to_numpy(), frame["target"].to_numpy()
    model = np.where(fold == 1, np.random.default_rng(9).random(len(frame)), np.nan)
    found = measured(frame, model_probability=model)
    inputs = shortcut_inputs(frame)
    own = held_out_scores(inputs, target, fold, seed=0)[fold == 1]
    assert found.lines[0].auroc.value == pytest.approx(roc_auc_score(target[fold == 1], own))
    assert found.model.value == pytest.approx(roc_auc_score(target[fold == 1], model[fold == 1]))


def test_what_the_fold_file_lacks_is_named_and_a_line_without_inputs_says_why() -> None:
    empty = {**NO_FILE_FACTS, "site": ""}
    found = measured(fold_frame(**empty))
    by_name = lines(found)
    assert by_name["age, sex and site"].inputs == ("age", "sex")
    assert by_name["age, sex and site"].absent == ("site",)
    assert "file facts" not in by_name
    assert found.left_out == (
        "file facts: without width, height, bytes the same as images per patient",
    )
    nothing = measured(fold_frame(**empty, age=np.nan, sex="", patient_id=""))
    assert nothing.lines == ()
    assert nothing.left_out[0] == "age, sex and site: the fold file holds no age, sex, site"
    assert nothing.model.value is not None


@pytest.mark.parametrize(
    "columns",
    [
        {"fold": 0},  # one fold: its groups are halved
        {"age": 50.0, "sex": "male", "site": "torso", "width": 144.0},
        {"age": [np.nan] * 600 + [40.0] * 5},  # unknown in some training part throughout
        {"sex": [""] * 600 + ["male"] * 5},
        {"target": [1, 1, 1] + [0] * 602},
        {"target": 0},
        {"width": np.inf},
        {"site": [f"s{row}" for row in range(605)]},  # more categories than boosting takes
    ],
    ids=["one fold", "constant", "no age", "no sex", "3 positives", "none", "inf", "605 sites"],
)
def test_odd_tables_give_numbers_or_null_and_no_failure(columns: dict[str, Any]) -> None:
    frame = fold_frame(220).iloc[:605]
    assert len(frame) == 605
    found = measured(frame.assign(**columns))
    for line in found.lines:
        value = line.auroc.value
        assert (value is None) == (columns.get("target") == 0)
    Shortcuts.model_validate_json(found.model_dump_json())


def test_one_fold_is_halved_by_groups_and_no_group_is_in_both_halves() -> None:
    """Ages name the patient, and the label is the patient's: a leak would be seen as skill."""
    frame = fold_frame(**CLINICAL_ALONE)
    patient = pd.factorize(frame["group"])[0]
    frame["age"], frame["fold"] = patient / 7, 0
    frame["target"] = (np.random.default_rng(3).random(400) < 0.4).astype(np.int64)[patient]
    found = lines(measured(frame))["age, sex and site"].auroc
    assert found.low < 0.5 < found.high


def test_siim_s_whole_table_is_told_as_well_as_was_measured_before(
    real_data: Path, tmp_path: Path
) -> None:
    """0.663 for age, sex and site, and 0.724 with images per patient, by other boosting."""
    (tmp_path / "train.csv").symlink_to(real_data / "siim2020/train_full.csv")
    data = CsvFolderData(
        reader="csv_folder",
        group_col="patient_id",
        age_col="age_approx",
        sex_col="sex",
        site_col="anatom_site_general_challenge",
    )
    folds = make_folds(read_lesions(tmp_path, data), Folds(name="siim"))
    start = time.process_time()
    by_name = lines(measured(folds.frame))
    assert time.process_time() - start < 60
    assert by_name["age, sex and site"].auroc.value == pytest.approx(0.663, abs=0.02)
    assert by_name["all of these"].auroc.value == pytest.approx(0.724, abs=0.02)
    assert by_name["all of these"].absent == ("width", "height", "bytes")


def test_a_fold_file_alone_is_enough(tmp_path: Path) -> None:
    frame = fold_frame()
    path = tmp_path / "folds.csv"
    frame.to_csv(path, index=False)
    again = load_folds(path).frame
    given = ["target", "fold", "group"]
    pd.testing.assert_frame_equal(again[given], frame[given])
    for name, values in shortcut_inputs(frame).items():
        assert np.array_equal(shortcut_inputs(again)[name], values, equal_nan=True)
