"""python -m melanoma.blend: runs on the same folds, blended and judged honestly."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score

from melanoma.blend import _told


@pytest.fixture
def second(bundle_folder: Path, tmp_path: Path) -> Path:
    """The same run with noise on its probabilities: another model of the same folds."""
    folder = tmp_path / "second"
    folder.mkdir()
    shutil.copy(bundle_folder / "report.json", folder)
    frame = pd.read_csv(bundle_folder / "oof.csv")
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, len(frame))
    frame["prob"] = (frame["prob"] + noise).clip(0.001, 0.999)
    frame.to_csv(folder / "oof.csv", index=False)
    return folder


def test_runs_their_mean_and_a_nested_blend_are_measured_on_the_same_images(
    call_door: Callable[..., Any], bundle_folder: Path, second: Path, tmp_path: Path
) -> None:
    options = ("--resamples", 200, "--out", tmp_path / "oof.csv", "--json")
    answer = call_door("blend", bundle_folder, second, *options)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    first, other = (pd.read_csv(folder / "oof.csv") for folder in (bundle_folder, second))
    mean = (first["prob"] + other["prob"]) / 2
    expected = roc_auc_score(first["target"], mean)
    assert found["against_mean"]["other"]["value"] == pytest.approx(expected)
    blended = pd.read_csv(tmp_path / "oof.csv")
    value = roc_auc_score(blended["target"], blended["prob"])
    assert found["against_mean"]["blend"]["value"] == pytest.approx(value, abs=1e-6)
    difference = found["against_mean"]["difference"]
    assert difference["value"] == pytest.approx(value - expected, abs=1e-6)
    assert difference["low"] <= difference["high"]
    assert sum(found["weights"]["weights"]) == pytest.approx(1)
    for fold in (0, 1):
        weights = found["weights_by_fold"][str(fold)]["weights"]
        rows = blended["fold"] == fold
        by_hand = weights[0] * first["prob"][rows] + weights[1] * other["prob"][rows]
        assert np.allclose(blended["prob"][rows], by_hand, atol=1e-6)
    said = call_door("blend", bundle_folder, second, "--resamples", 100, "--method", "stacking")
    assert "stacking, nested: AUROC" in said.out and "stacking - equal mean:" in said.out
    assert re.search(r"^coefficients, of all folds: -?\d", said.out, re.MULTILINE)
    assert _told(", ".join(["0.100"] * 100)) == "100 numbers (--json lists them)"


def test_no_cell_of_a_blend_begins_as_a_formula_does(
    call_door: Callable[..., Any], second: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(second / "oof.csv")
    frame.loc[:1, "image_name"] = ['=HYPERLINK("a")', "+1"]
    frame.to_csv(second / "oof.csv", index=False)
    out = tmp_path / "blend.csv"
    answer = call_door(
        "blend", second, second, "--method", "equal", "--resamples", 100, "--out", out
    )
    assert answer.code == 0, answer.err
    assert list(pd.read_csv(out)["image_name"][:2]) == ['\'=HYPERLINK("a")', "'+1"]


@pytest.mark.parametrize("method", ["equal", "weights"])
def test_a_run_blended_with_itself_is_itself_by_what_asks_for_probabilities(
    call_door: Callable[..., Any], bundle_folder: Path, tmp_path: Path, method: str
) -> None:
    """Those that were calibrated on other folds: a bundle's calibration saw every image."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(bundle_folder / "report.json", folder)
    frame = pd.read_csv(bundle_folder / "oof.csv")
    frame["prob_crossfit"] = 0.1 + 0.8 * frame["prob"]
    frame.to_csv(folder / "oof.csv", index=False)
    options = ("--metric", "log_loss", "--method", method, "--resamples", 100, "--json")
    answer = call_door("blend", folder, folder, *options)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["against_each"][0]
    target, prob = frame["target"], frame["prob_crossfit"]
    assert found["blend"]["value"] == pytest.approx(log_loss(target, prob))
    assert found["difference"]["value"] == pytest.approx(0, abs=1e-12)


def test_submissions_are_blended_by_the_weights_of_all_folds(
    call_door: Callable[..., Any], bundle_folder: Path, second: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("image_name,target\nx,0.2\ny,0.8\n")
    (tmp_path / "b.csv").write_text("image_name,melanoma_probability\ny,0.4\nx,0.6\n")
    tables = ("--scores", tmp_path / "a.csv", "--scores", tmp_path / "b.csv")
    out = ("--submission", tmp_path / "s.csv", "--resamples", 100)
    answer = call_door("blend", bundle_folder, second, "--method", "equal", *tables, *out)
    assert answer.code == 0, answer.err
    assert (tmp_path / "s.csv").read_text() == "image_name,target\nx,0.4\ny,0.6\n"
    (tmp_path / "b.csv").write_text("image_name,melanoma_probability\nz,0.4\nx,0.6\n")
    answer = call_door("blend", bundle_folder, second, *tables, *out)
    assert answer.code == 3 and "hold different images" in answer.err


def test_true_labels_are_no_scores(
    call_door: Callable[..., Any], bundle_folder: Path, second: Path, tmp_path: Path
) -> None:
    """scores.csv of a test part or another set has what is true as `target`."""
    head = "image_name,patient_id,group,label,target"
    (tmp_path / "a.csv").write_text(f"{head},prob\nx,,g0,melanoma,1,0.08\ny,,g1,other,0,0.3\n")
    tables = ("--scores", tmp_path / "a.csv") * 2
    out = ("--submission", tmp_path / "s.csv", "--resamples", 100)
    answer = call_door("blend", bundle_folder, second, "--method", "equal", *tables, *out)
    assert answer.code == 0, answer.err
    assert (tmp_path / "s.csv").read_text() == "image_name,target\nx,0.08\ny,0.3\n"
    (tmp_path / "a.csv").write_text(f"{head}\nx,,g0,melanoma,1\ny,,g1,other,0\n")
    answer = call_door("blend", bundle_folder, second, "--method", "equal", *tables, *out)
    assert answer.code == 3 and "melanoma_probability" in answer.err


def test_mean_ranks_order_a_submission_and_are_no_probabilities(
    call_door: Callable[..., Any], bundle_folder: Path, second: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("image_name,target\nx,0.001\ny,0.8\nz,0.9\n")
    (tmp_path / "b.csv").write_text("image_name,target\nz,0.4\nx,0.6\ny,0.5\n")
    tables = ("--scores", tmp_path / "a.csv", "--scores", tmp_path / "b.csv")
    out = ("--submission", tmp_path / "s.csv", "--resamples", 100, "--method", "ranks")
    answer = call_door("blend", bundle_folder, second, *tables, *out)
    assert answer.code == 0, answer.err
    assert "places among these images, not probabilities" in answer.err
    written = pd.read_csv(tmp_path / "s.csv").set_index("image_name")["target"]
    assert np.allclose(written.loc[["x", "y", "z"]] * 3, [(1 + 3) / 2, (2 + 2) / 2, (3 + 1) / 2])
    for more, said in (
        (("--metric", "brier"), "ranks are no probabilities"),
        (("--out", tmp_path / "oof.csv"), "--out writes probabilities"),
    ):
        answer = call_door("blend", bundle_folder, second, *out[2:], *more)
        assert answer.code == 2 and said in answer.err


def test_several_classes_are_stacked_class_by_class(
    call_door: Callable[..., Any], folder_run: Any, tmp_path: Path
) -> None:
    run, names = folder_run.weights, folder_run.recipe.classes
    columns = [f"prob_{name}" for name in names]
    pd.read_csv(run / "oof.csv")[["image_name", *columns]][:9].to_csv(tmp_path / "a.csv")
    tables = ("--scores", tmp_path / "a.csv") * 2
    out = ("--submission", tmp_path / "s.csv", "--resamples", 100, "--method", "stacking")
    answer = call_door("blend", run, run, *tables, *out, "--json")
    assert answer.code == 0, answer.err
    weights = json.loads(answer.out)["weights"]
    logs = np.log(np.clip(pd.read_csv(tmp_path / "a.csv")[columns].to_numpy(), 1e-7, 1 - 1e-7))
    twice = np.concatenate([logs, logs], axis=1)
    wanted = softmax(twice @ np.array(weights["coefficients"]).T + weights["intercepts"], axis=1)
    found = pd.read_csv(tmp_path / "s.csv")
    assert list(found) == ["image_name", *names]
    assert np.allclose(found[list(names)], wanted, atol=1e-5)
    (tmp_path / "a.csv").write_text("image_name,target\nx,0.2\n")
    refused = call_door("blend", run, run, *tables, *out)
    assert refused.code == 2 and f"columns {columns[0]}" in refused.err


@pytest.fixture
def first_of_two(second: Path) -> Path:
    """The second run's scores with melanoma as the first of two classes, which are two outputs."""
    frame = pd.read_csv(second / "oof.csv")
    frame["melanoma"], frame["target"] = frame["target"], 1 - frame["target"]
    for kind in ("prob", "prob_crossfit"):
        frame[f"{kind}_melanoma"], frame[f"{kind}_nevus"] = frame[kind], 1 - frame[kind]
    frame.to_csv(second / "oof.csv", index=False)
    return second


def test_a_submission_is_of_melanoma_where_it_is_the_first_of_two_classes(
    call_door: Callable[..., Any], first_of_two: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("image_name,melanoma_probability\nx,0.2\ny,0.8\n")
    tables = ("--scores", tmp_path / "a.csv") * 2
    for method in ("stacking", "equal"):
        out = ("--submission", tmp_path / "s.csv", "--resamples", 100, "--method", method)
        answer = call_door("blend", first_of_two, first_of_two, *tables, *out, "--json")
        assert answer.code == 0, answer.err
        found = pd.read_csv(tmp_path / "s.csv")["target"]
        if method == "equal":
            assert list(found) == [0.2, 0.8]
            continue
        weights = json.loads(answer.out)["weights"]  # of the second class, nevus
        odds = np.log([0.8 / 0.2, 0.2 / 0.8]) * np.sum(weights["coefficients"])
        wanted = 1 / (1 + np.exp(odds + weights["intercepts"][0]))
        assert np.allclose(found, wanted, atol=1e-6)


def test_runs_that_count_other_classes_as_melanoma_have_no_difference(
    call_door: Callable[..., Any], first_of_two: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(first_of_two, other)
    frame = pd.read_csv(other / "oof.csv")
    frame["melanoma"] = 1 - frame["melanoma"]
    frame.to_csv(other / "oof.csv", index=False)
    for command in ("blend", "compare"):
        answer = call_door(command, first_of_two, other)
        assert answer.code == 3 and "do not count the same classes as melanoma" in answer.err
    # Of one alone some metrics are of melanoma, where the other's are of the likeliest class.
    columns = ["melanoma", "prob", "prob_crossfit"]
    frame.drop(columns=columns).to_csv(other / "oof.csv", index=False)
    for command in ("blend", "compare"):
        answer = call_door(command, first_of_two, other, "--metric", "brier")
        assert answer.code == 2 and "--metric" in answer.err
        assert call_door(command, first_of_two, other, "--resamples", 100).code == 0


def test_what_cannot_be_blended_is_one_line(
    call_door: Callable[..., Any], bundle_folder: Path, second: Path, tmp_path: Path
) -> None:
    one = call_door("blend", bundle_folder)
    assert one.code == 2 and "two runs or more" in one.err
    wrong = call_door("blend", bundle_folder, second, "--method", "weight")
    assert wrong.code == 2 and "did you mean weights?" in wrong.err
    alone = call_door("blend", bundle_folder, second, "--scores", tmp_path / "a.csv")
    assert alone.code == 2 and "go together" in alone.err
    report = json.loads((second / "report.json").read_text())
    report["digests"]["folds_digest"] = "0" * 64
    (second / "report.json").write_text(json.dumps(report))
    other = call_door("blend", bundle_folder, second)
    assert other.code == 3 and "trained on different folds" in other.err


def test_one_run_is_stacked_with_what_the_fold_file_knows_of_its_patients(
    call_door: Callable[..., Any], bundle_folder: Path, second: Path, tmp_path: Path
) -> None:
    folds = bundle_folder.parent / "folds.csv"
    options = ("--method", "stacking", "--with", "age", "--with", "sex", "--resamples", 100)
    answer = call_door("blend", bundle_folder, *options, "--folds", folds, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["beside"][:2] == ["age", "age not known"]
    assert len(found["weights"]["coefficients"][0]) == 1 + len(found["beside"])
    without = call_door("blend", bundle_folder, *options)
    assert without.code == 2 and "--folds names the fold file" in without.err
    weights = call_door("blend", bundle_folder, "--with", "age", "--folds", folds)
    assert weights.code == 2 and "--method stacking learns from it" in weights.err
    size = call_door("blend", bundle_folder, "--method", "stacking", "--with", "bytes")
    assert size.code == 2 and "never inputs" in size.err
    table = ("--scores", tmp_path / "a.csv", "--submission", tmp_path / "s.csv")
    both = call_door("blend", bundle_folder, *options, "--folds", folds, *table)
    assert both.code == 2 and "not together with --with" in both.err
