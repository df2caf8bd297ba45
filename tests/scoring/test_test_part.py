"""The test part: never read by training, scored once by evaluate, reported by the bundle alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from melanoma.data.arrays import load_array
from melanoma.data.folds import load_folds, save_folds
from melanoma.errors import DataError
from melanoma.evaluation.report.schema import validate_report
from melanoma.scoring import test_part
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of, write_json
from melanoma.workflows.evaluate import evaluate_folds

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs


@pytest.fixture
def run(folder_run: Any, tmp_path: Path) -> Any:
    """The run with a weights folder of the test's own. Its files are links."""
    shutil.copytree(folder_run.weights, tmp_path / "weights", copy_function=os.link)
    return replace(folder_run, weights=tmp_path / "weights")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of images whenever the test part is scored."""
    found: list[int] = []
    score = test_part.score_external

    def count(scorer: Any, table: Any, *rest: Any, **options: Any) -> Any:
        found.append(len(table))
        return score(scorer, table, *rest, **options)

    monkeypatch.setattr(test_part, "score_external", count)
    return found


def reseal(run: Any, **options: Any) -> None:
    evaluate_folds(run.recipe, run.weights, run.folds, **options)


def give_fold_1_the_weights_of_fold_0(run: Any) -> None:
    """Another model in the same folder, honestly sealed."""
    folder = run.weights / "fold_1"
    tensors = load_file(run.weights / "fold_0/model.safetensors")
    # But for a hair: a bundle refuses two folds of the same weights.
    (folder / "model.safetensors").unlink()
    save_file({name: t * 1.0001 for name, t in tensors.items()}, folder / "model.safetensors")
    facts = json.loads((folder / "run.json").read_text())
    facts["files"]["model.safetensors"] = sha256_of(folder / "model.safetensors")
    write_json(folder / "run.json", facts)
    reseal(run)


def test_training_reads_every_row_of_the_folds_and_none_of_the_test_part(folder_run: Any) -> None:
    folds = load_folds(folder_run.folds, classes=folder_run.recipe.classes)
    array = load_array(folder_run.arrays, folder_run.recipe.image)
    assert array is not None
    rows = {
        name: {array.row_of[n] for n in part["image_name"]}
        for name, part in (("test", folds.test), ("folds", folds.frame))
    }
    assert len(rows["test"]) >= 20
    assert folder_run.asked & rows["test"] == set()
    assert folder_run.asked == rows["folds"]


def test_nothing_that_training_wrote_names_an_image_of_the_test_part(folder_run: Any) -> None:
    folds = load_folds(folder_run.folds)
    tested = set(folds.test["image_name"])
    for file in ("oof.csv", "fold_0/oof.csv", "fold_1/oof.csv"):
        names = set(pd.read_csv(folder_run.weights / file)["image_name"])
        assert names
        assert names & tested == set()
    report = json.loads((folder_run.weights / "report.json").read_text())
    assert report["data"]["images"] == len(folds.frame)
    flow = report["flow"]
    assert flow["read"] == len(folds.whole) + flow["unreadable"]
    assert flow["in_test_part"] == len(folds.test)
    assert (flow["never_held_out"], flow["untrained"]) == (0, 0)


def test_the_test_report_is_of_the_test_part_by_the_sealed_ensemble(run: Any) -> None:
    report = run.evaluate()
    folds = load_folds(run.folds, classes=run.recipe.classes)
    table = pd.read_csv(run.weights / "test/scores.csv")
    assert table["image_name"].tolist() == folds.test["image_name"].tolist()
    assert table["label"].tolist() == folds.test["label"].tolist()
    # The very answers that a caller gets for these files.
    scorer = Scorer(load_bundle(run.weights))
    files = [run.tree / source for source in folds.test["source"]]
    answers = [scorer.score(file.read_bytes()).by_class for file in files]
    columns = [f"prob_{name}" for name in run.recipe.classes]
    found = table[columns].to_numpy()
    assert np.allclose(found, [list(answer.values()) for answer in answers], atol=1e-6)
    content = validate_report(json.loads((run.weights / "test/report.json").read_text()))
    assert content.data.images == len(folds.test)
    target, called = folds.test["target"].to_numpy(), found.argmax(axis=1)
    metrics = content.metrics
    assert metrics["accuracy"].value == pytest.approx(accuracy_score(target, called))
    assert metrics["balanced_accuracy"].value == pytest.approx(
        balanced_accuracy_score(target, called)
    )
    assert metrics["macro_auroc"].value == pytest.approx(
        roc_auc_score(target, found, multi_class="ovr")
    )
    assert content.external is not None
    assert content.external.test_part
    assert content.external.scored_before == 0
    assert content.external.model_digest == load_bundle(run.weights).digest
    assert content.folds == ()
    assert report.content == content


def test_groups_of_the_test_report_are_those_of_the_fold_file(run: Any) -> None:
    table = run.evaluate().images.table
    folds = load_folds(run.folds)
    assert table["group"].tolist() == folds.test["group"].tolist()
    assert table["group"].nunique() < len(table)


def test_the_same_weights_are_scored_once(run: Any, scored: list[int]) -> None:
    first = run.evaluate()
    before = (run.weights / "test/member_logits.npy").stat().st_mtime_ns
    again = run.evaluate()
    assert scored == [len(first.images)]
    assert (run.weights / "test/member_logits.npy").stat().st_mtime_ns == before
    assert again.content.metrics == first.content.metrics
    assert again.content.external.scored_before == 0


def test_a_bundle_of_other_calibration_needs_no_second_look(
    run: Any, scored: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    run.evaluate()
    sealed = load_bundle(run.weights).digest
    reseal(run, seed=9)
    assert load_bundle(run.weights).digest != sealed
    capsys.readouterr()
    report = run.evaluate()
    assert len(scored) == 1
    assert "these weights scored the test part before" in capsys.readouterr().err
    assert report.content.external.model_digest == load_bundle(run.weights).digest


def test_another_model_on_the_same_test_part_is_counted(run: Any, scored: list[int]) -> None:
    first = run.evaluate()
    give_fold_1_the_weights_of_fold_0(run)
    second = run.evaluate()
    assert len(scored) == 2
    assert second.content.external.scored_before == 1
    assert any(
        "this test part was scored by 1 other model before" in warning
        for warning in second.content.warnings
    )
    assert not any("scored by" in warning for warning in first.content.warnings)
    run.evaluate()
    assert len(scored) == 2


def test_spoiled_logits_are_scored_again_and_a_spoiled_count_is_not_forgotten(
    run: Any, scored: list[int]
) -> None:
    first = run.evaluate()
    (run.weights / "test/member_logits.npy").write_bytes(b"spoiled")
    assert run.evaluate().content.metrics == first.content.metrics
    assert len(scored) == 2
    (run.weights / "test/scored.json").write_text("{")
    with pytest.raises(DataError, match=r"scored\.json is damaged"):
        run.evaluate()


def test_a_bundle_that_lacks_a_fold_does_not_spend_the_test_part(
    run: Any, scored: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run.weights / "fold_1")
    reseal(run, allow_missing=True)
    assert run.evaluate() is None
    assert scored == []
    assert "waits until all 2 folds are trained" in capsys.readouterr().err
    assert not (run.weights / "test").exists()


def test_without_a_test_part_there_is_no_test_report(run: Any, tmp_path: Path) -> None:
    folds = load_folds(run.folds)
    save_folds(type(folds)(folds.frame), tmp_path / "none.csv")
    assert replace(run, folds=tmp_path / "none.csv").evaluate() is None


def test_another_array_than_training_s_is_refused(run: Any, tmp_path: Path) -> None:
    shutil.copytree(run.arrays, tmp_path / "arrays")
    record = tmp_path / "arrays/x_train_32.json"
    values = json.loads(record.read_text())
    values["names"][:2] = values["names"][1::-1]
    record.write_text(json.dumps(values))
    with pytest.raises(DataError, match="is not the array that the folds were trained from"):
        replace(run, arrays=tmp_path / "arrays").evaluate()


def test_a_patient_on_both_sides_stands_on_top_of_the_test_report(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = load_folds(run.folds)
    moved = folds.whole.copy()
    shared = moved["patient_id"][moved["fold"] == 0].iloc[0]
    moved.loc[moved.index[moved["fold"] == -2][0], "patient_id"] = shared
    # Patients decide no fold and are not in the digest: the file still is the run's.
    save_folds(type(folds)(moved), tmp_path / "leaking.csv")
    report = replace(run, folds=tmp_path / "leaking.csv").evaluate()
    assert report.content.warnings[0].startswith("LEAK: 1 patients in both training and test")
    assert report.content.external.overlap.patients == 1
    assert report.content.external.overlap.near_duplicates is not None


def test_the_door_prints_both_reports_and_writes_the_test_s(
    folder_run: Any, tmp_path: Path, call_door: Callable[..., Any]
) -> None:
    shutil.copytree(folder_run.weights, tmp_path / "w")
    (tmp_path / "recipe.yaml").write_text(folder_run.recipe.to_yaml())
    given = ["--config", "recipe.yaml", "--data", folder_run.tree, "--weights", "w"]
    given += ["--arrays", folder_run.arrays, "--folds", folder_run.folds, "--device", "cpu"]
    answer = call_door("evaluate", *given)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    test = next(n for n, line in enumerate(lines) if line.startswith("folders on folders, test"))
    assert any(line.startswith("pooled out-of-fold macro AUROC") for line in lines[:test])
    assert any(line.startswith("test macro AUROC") for line in lines[test:])
    assert {p.name for p in Path("w/test").iterdir()} >= {
        *("report.json", "report.html", "scores.csv", "member_logits.npy", "scored.json")
    }
    page = Path("w/test/report.html").read_text()
    assert "Test part, scored by the sealed bundle" in page
    assert "Infestations &amp; Bites" in page
