"""The report's numbers are those that anyone gets from oof.csv with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from melanoma.errors import DataError
from melanoma.evaluation.measure.operating_points import describe_elsewhere
from melanoma.evaluation.prevalence import Move
from melanoma.evaluation.report.build import (
    Report,
    build_report,
    corrected_logits,
    save_out_of_fold,
)
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.score_table import ScoreTable
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import BINARY_CLASSES
from melanoma.storage import write_json
from melanoma.training.run.facts import RunFacts
from melanoma.workflows.compare import compare_runs_in

SHIFTS = (2.0, 2.5, 1.5)


def _recipe(**changes: Any) -> Recipe:
    return make_recipe(
        {
            "name": "synthetic",
            "seed": 4,
            "data": {"reader": "phantoms"},
            "folds": {"name": "synthetic", "k": 3},
            "evaluation": {"resamples": 200, "sensitivity": 0.9},
            **changes,
        }
    )


def _scores(*, images: int = 330, skill: float = 1.5) -> ScoreTable:
    """Three folds, each shifted by its loss's weight; patients of three images."""
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(images // 3), 3)
    target = (rng.random(images) < 0.25).astype(np.int64)
    truth = rng.normal(size=images) + skill * target - 1.5
    fold = patient % 3
    shift = np.array(SHIFTS)[fold]
    return ScoreTable(
        pd.DataFrame(
            {
                "image_name": [f"image_{i:03d}" for i in range(images)],
                "patient_id": [f"p{p}" for p in patient],
                "group": [f"g{p}" for p in patient],
                "label": np.array(BINARY_CLASSES)[target],
                "target": target,
                "fold": fold,
                "logit": np.float32(truth + shift).astype(np.float64),
                "logit_best": np.float32(truth + shift).astype(np.float64),
                "logit_last": np.float32(truth + shift + rng.normal(size=images)).astype(float),
            }
        ),
        BINARY_CLASSES,
    )


def _audit(findings: tuple[str, ...]) -> dict[str, Any]:
    kinds = ("patients", "lesions", "groups", "identical", "near_duplicates")
    return {**dict.fromkeys(kinds, 0), "findings": list(findings), "allowed": bool(findings)}


def _facts(*, folds: int = 3, leaks: tuple[str, ...] = (), kept: str = "best") -> list[RunFacts]:
    return [
        RunFacts.model_validate(
            {
                "fold": fold,
                "prior_shift": SHIFTS[fold],
                "audit": _audit(leaks),
                "kept": kept,
                "best_epoch": 3 + fold,
                "last_epoch": 9,
                "seconds": 12.5,
                "recipe_digest": "r",
                "folds_digest": "f",
                "array_digest": "a",
                "versions": {"torch": "2"},
                "device": "cpu",
                "precision": "float32",
                "pretrained": "none",
            }
        )
        for fold in range(folds)
    ]


@pytest.fixture(scope="module")
def scores() -> ScoreTable:
    return _scores()


@pytest.fixture(scope="module")
def report(scores: ScoreTable) -> Report:
    return build_report(_recipe(), scores, _facts())


@pytest.fixture(scope="module")
def folder(report: Report, scores: ScoreTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    save_out_of_fold(report, scores, _facts(), folder / "oof.csv")
    write_json(folder / "report.json", report.content.model_dump(mode="json"))
    return folder


@pytest.fixture(scope="module")
def oof(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "oof.csv")


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def test_auroc_and_pr_auc_are_scikit_learn_s_on_either_column(
    written: dict[str, Any], oof: pd.DataFrame
) -> None:
    for column in ("logit", "prob"):
        for name, theirs in (
            ("auroc", sk.roc_auc_score),
            ("pr_auc", sk.average_precision_score),
        ):
            expected = theirs(oof["target"], oof[column])
            assert written["metrics"][name]["value"] == pytest.approx(expected, abs=1e-12)


def test_a_report_on_scores_worse_than_chance_says_so(tmp_path: Path) -> None:
    scores = _scores(skill=-1.0)
    report = build_report(_recipe(), scores, _facts())
    expected = sk.roc_auc_score(scores.target, corrected_logits(scores, _facts()))
    assert expected < 0.35
    assert report.content.metrics["auroc"].value == pytest.approx(expected, abs=1e-12)


def test_metrics_of_calibration_are_those_of_the_cross_fitted_column(
    written: dict[str, Any], oof: pd.DataFrame
) -> None:
    for name, theirs in (("brier", sk.brier_score_loss), ("log_loss", sk.log_loss)):
        value = written["metrics"][name]["value"]
        assert value == pytest.approx(theirs(oof["target"], oof["prob_crossfit"]), abs=1e-12)
        assert value != pytest.approx(theirs(oof["target"], oof["prob"]), abs=1e-6)
    error = written["metrics"]["ece"]
    assert 0 <= error["low"] <= error["value"] <= error["high"]


def test_the_threshold_and_its_table_can_be_counted_in_the_file(
    written: dict[str, Any], oof: pd.DataFrame
) -> None:
    points = {point["at"]: point for point in written["thresholds"]}
    assert list(points) == [f"sensitivity {s}" for s in (0.9, 0.8)] + [
        f"specificity {s}" for s in (0.8, 0.9)
    ]
    point = written["thresholds"][0]
    flagged = (oof["prob"] >= point["value"]).astype(int)
    assert point["flagged"] == flagged.sum()
    cells = sk.confusion_matrix(oof["target"], flagged).ravel().tolist()
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert [point[name] for name in names] == cells
    assert written["confusion"]["counts"] == sk.confusion_matrix(oof["target"], flagged).tolist()
    counted = {
        "accuracy": sk.accuracy_score(oof["target"], flagged),
        "balanced_accuracy": sk.balanced_accuracy_score(oof["target"], flagged),
        "sensitivity": sk.recall_score(oof["target"], flagged),
        "specificity": sk.recall_score(oof["target"], flagged, pos_label=0),
        "ppv": sk.precision_score(oof["target"], flagged),
        "npv": sk.precision_score(oof["target"], flagged, pos_label=0),
    }
    for name, expected in counted.items():
        assert point[name]["value"] == pytest.approx(expected, abs=1e-12)
        assert point[name]["low"] <= expected <= point[name]["high"]
    assert counted["sensitivity"] >= 0.9
    higher = oof["prob"] > point["value"]
    assert sk.recall_score(oof["target"], higher.astype(int)) < 0.9
    spared = points["specificity 0.8"]
    assert spared["specificity"]["value"] >= 0.8
    lower = np.sort(oof["prob"][oof["prob"] < spared["value"]])[-1]
    fewer = (oof["prob"] >= lower).astype(int)
    assert sk.recall_score(oof["target"], fewer, pos_label=0) < 0.8


def test_each_fold_s_shift_is_taken_out_before_folds_are_pooled(
    written: dict[str, Any], oof: pd.DataFrame, scores: ScoreTable
) -> None:
    shift = np.array(SHIFTS)[oof["fold"]]
    for column in ("logit", "logit_best", "logit_last"):
        assert np.allclose(oof[column] + shift, scores.logits(column)[:, 0], rtol=1e-12)
    raw = sk.roc_auc_score(scores.target, scores.logits())
    assert written["metrics"]["auroc"]["value"] != pytest.approx(raw, abs=1e-4)
    calibration = written["calibration"]
    expected = expit(calibration["slope"] * oof["logit"] + calibration["intercept"])
    assert np.allclose(oof["prob"], expected, atol=1e-12)
    assert calibration["prior_shift"] == {"0": 2.0, "1": 2.5, "2": 1.5}


def test_the_file_keeps_the_rows_and_their_names(oof: pd.DataFrame, scores: ScoreTable) -> None:
    same = ["image_name", "patient_id", "group", "label", "target", "fold"]
    assert oof[same].equals(scores.frame[same])
    assert {"logit", "prob"} <= set(oof.columns)


def test_best_and_last_epoch_stand_side_by_side(written: dict[str, Any], oof: pd.DataFrame) -> None:
    selection = written["selection"]
    assert selection["kept"] == "best"
    for which in ("best", "last"):
        expected = sk.roc_auc_score(oof["target"], oof[f"logit_{which}"])
        assert selection[which]["auroc"]["value"] == pytest.approx(expected, abs=1e-12)
    assert selection["best"]["auroc"]["value"] > selection["last"]["auroc"]["value"]


def test_each_fold_has_its_own_line(written: dict[str, Any], oof: pd.DataFrame) -> None:
    for line in written["folds"]:
        own = oof[oof["fold"] == line["fold"]]
        assert (line["images"], line["positives"]) == (len(own), own["target"].sum())
        assert line["auroc"] == pytest.approx(sk.roc_auc_score(own["target"], own["logit"]))
        assert line["pr_auc"] == pytest.approx(
            sk.average_precision_score(own["target"], own["logit"])
        )
        assert (line["best_epoch"], line["last_epoch"]) == (3 + line["fold"], 9)
    assert written["data"] == {
        "images": 330,
        "positives": int(oof["target"].sum()),
        "groups": 110,
        "patients": 110,
        "prevalence": oof["target"].mean(),
        "classes": oof["label"].value_counts()[["benign", "melanoma"]].to_dict(),
    }


def test_intervals_are_of_patients_and_follow_the_seed(scores: ScoreTable) -> None:
    def width(table: ScoreTable, seed: int) -> float:
        found = build_report(_recipe(), table, _facts(), seed=seed).content.metrics["auroc"]
        return found.high - found.low

    assert width(scores, 1) == width(scores, 1) != width(scores, 2)
    one = ScoreTable(scores.frame.assign(group=[f"g{i // 66}" for i in range(330)]), BINARY_CLASSES)
    # Five groups of 66 images each: the rows say the same, the groups decide the width.
    assert width(one, 1) != pytest.approx(width(scores, 1), rel=0.05)


def test_leaks_come_first_among_the_warnings(scores: ScoreTable) -> None:
    leak = "12 patients in more than one fold (p1, p2, p3, ...)"
    warnings = build_report(_recipe(), scores, _facts(leaks=(leak,))).content.warnings
    assert warnings[0] == f"LEAK: {leak}"
    assert not any("LEAK" in warning for warning in warnings[1:])


def test_warnings_name_missing_folds_few_positives_and_flattering_selection(
    scores: ScoreTable,
) -> None:
    two = ScoreTable(scores.frame[scores.frame["fold"] < 2].reset_index(drop=True), BINARY_CLASSES)
    warnings = "\n".join(build_report(_recipe(), two, _facts(folds=2)).content.warnings)
    assert "2 of 3 folds" in warnings
    assert f"only {two.target.sum()} positives" in warnings
    # The recipe's metric may be any: the sentence must be true of all.
    assert "picked on the images that score it" in warnings
    assert "compare the last epoch" in warnings
    quiet = _scores(images=900)
    drawn, only = build_report(_recipe(), quiet, _facts(kept="last")).content.warnings
    assert drawn.startswith("the model was trained on drawings")
    assert only.startswith("26 % of these images are melanomas")


def test_probabilities_are_moved_to_another_prevalence_on_request_only(scores: ScoreTable) -> None:
    plain = build_report(_recipe(), scores, _facts()).content
    moved = build_report(_recipe(), scores, _facts(), prevalence=0.02).content
    assert plain.retargeted is None
    assert moved.metrics == plain.metrics
    trained = plain.data.prevalence
    ratio = 0.02 / 0.98 * (1 - trained) / trained
    for here, there in zip(moved.thresholds, moved.retargeted.thresholds, strict=True):
        odds = here.value / (1 - here.value) * ratio
        assert there.value == pytest.approx(odds / (1 + odds), rel=1e-9)
        caught, spared = here.sensitivity.value, here.specificity.value
        true, false = 0.02 * caught, 0.98 * (1 - spared)
        assert there.ppv == pytest.approx(true / (true + false))
        assert there.flagged_share == pytest.approx(true + false)


def test_subgroups_and_shortcuts_come_from_the_fold_file(scores: ScoreTable) -> None:
    sex = np.where(scores.target == 1, "male", "female")
    names = scores.frame["image_name"]
    table = pd.DataFrame({"image_name": names, "age": 50.0, "sex": sex, "site": ""})
    # In another order than the scores: joined by name, never by position.
    content = build_report(_recipe(), scores, _facts(), table=table[::-1]).content
    lines = {(line.column, line.value): line for line in content.subgroups}
    assert lines["sex", "male"].positives == scores.target.sum()
    assert lines["sex", "female"].positives == 0
    clinical = content.shortcuts.lines[0]
    assert clinical.auroc.value == pytest.approx(1.0)
    assert any("age, sex and site alone" in warning for warning in content.warnings)


def test_baselines_learn_from_folds_that_were_not_trained_too(scores: ScoreTable) -> None:
    """The one fold that was scored holds one sex alone: only the others tell what it means."""
    frame = scores.frame
    male = (frame["fold"] != 0) & (frame["target"] == 1)
    table = frame.assign(sex=np.where(male, "male", "female"), age=np.nan, site="")
    table.loc[table["fold"] == 0, "sex"] = np.where(table["target"] == 1, "male", "female")[
        table["fold"] == 0
    ]
    one = ScoreTable(frame[frame["fold"] == 0].reset_index(drop=True), BINARY_CLASSES)
    content = build_report(_recipe(), one, _facts(folds=1), table=table).content
    assert content.shortcuts.lines[0].auroc.value == pytest.approx(1.0)
    assert content.data.images == len(one)


def test_a_threshold_without_sensitivity_has_no_place_elsewhere(report: Report) -> None:
    undefined = report.content.thresholds[0].model_copy(
        update={"sensitivity": Measured(value=None)}
    )
    with pytest.raises(DataError, match=r"sensitivity 0\.9 is undefined"):
        describe_elsewhere([undefined], Move(1.0, -3.0, 0.02))


def test_lesions_of_several_photographs_are_one_in_oof_csv_too(tmp_path: Path) -> None:
    """What is measured within patients is the same of the table as of the report."""
    scores = _scores()
    patient = np.arange(len(scores.frame)) // 6
    lesion = [f"l{row // 2}" for row in range(len(scores.frame))]
    told = {"patient_id": [f"p{p}" for p in patient], "group": [f"g{p}" for p in patient]}
    table = scores.frame.assign(**told, fold=patient % 3, lesion_id=lesion)
    scores = ScoreTable(scores.frame.assign(**told, fold=patient % 3), BINARY_CLASSES)
    report = build_report(_recipe(), scores, _facts(), table=table)
    save_out_of_fold(report, scores, _facts(), tmp_path / "oof.csv")
    write_json(tmp_path / "report.json", report.content.model_dump(mode="json"))
    compared = compare_runs_in(
        tmp_path, tmp_path, metrics=["within_patient_concordance", "melanoma_rank"], resamples=100
    )
    for name, found in compared.metrics.items():
        stated = report.content.metrics[name].value
        assert found.a.value == pytest.approx(stated), name
    alone = pd.read_csv(tmp_path / "oof.csv").drop(columns="lesion_id")
    alone.to_csv(tmp_path / "oof.csv", index=False)
    fewer = compare_runs_in(tmp_path, tmp_path, metrics=["melanoma_rank"], resamples=100)
    assert fewer.metrics["melanoma_rank"].a.value != report.content.metrics["melanoma_rank"].value
