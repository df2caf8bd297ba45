"""B: what none of the five has together. B7 does not hold yet, and is said to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fold_tables import held, lesions
from scipy.special import expit

from melanoma import report_lines, validate_report
from melanoma.data.duplicates.near import NearPair
from melanoma.data.duplicates.search import Duplicates
from melanoma.data.folds import FoldTable, make_folds
from melanoma.data.leaks import audit_folds, require_no_leaks
from melanoma.errors import FoldError
from melanoma.evaluation.calibration import prior_shift
from melanoma.workflows.compare import compare_runs_in
from melanoma.workflows.external import evaluate_external

VERDICTS = {"flagged", "not_flagged", "other_cancer_likely", "unsure", "unscorable"}


def test_b1_the_audit_fails_a_run_for_patients_lesions_and_duplicates() -> None:
    table = lesions([0, 1] * 20, [f"p{n}" for n in range(40)], [f"l{n}" for n in range(40)])
    folds = make_folds(table, held(k=4))
    require_no_leaks(audit_folds(folds), allow=False)
    frame = folds.frame
    first = 0
    other = int(np.flatnonzero(frame["fold"] != frame["fold"][first])[0])

    def leaks(changed: FoldTable, duplicates: Duplicates | None = None) -> str:
        with pytest.raises(FoldError) as refused:
            require_no_leaks(audit_folds(changed, duplicates), allow=False)
        assert refused.value.exit_code == 3
        return str(refused.value)

    for column, word in (("patient_id", "patient"), ("lesion_id", "lesion")):
        shared = frame.copy()
        shared.loc[[first, other], column] = "shared"
        assert word in leaks(FoldTable(shared))
    leaks(folds, Duplicates(((first, other),), ()))
    leaks(folds, Duplicates((), (NearPair(first, other, 0.97, "mirrored"),)))
    allowed = require_no_leaks(audit_folds(folds, Duplicates(((first, other),), ())), allow=True)
    assert allowed.findings and allowed.allowed


def test_b2_a_shortcut_baseline_stands_beside_the_auroc(report: Any) -> None:
    assert report["shortcuts"] is not None
    shortcuts = json.dumps(report["shortcuts"])
    for name in ("age", "sex", "site"):
        assert name in shortcuts
    lines = report_lines(validate_report(report))
    model = next(n for n, line in enumerate(lines) if "AUROC" in line)
    shortcut = next(n for n, line in enumerate(lines) if "without the photograph" in line)
    assert model < shortcut
    assert all(line["auroc"]["value"] <= 1 for line in report["shortcuts"]["lines"])


def test_b3_the_prior_is_corrected_and_the_ensemble_is_a_mean_of_probabilities(
    scorer: Any, trained: Any
) -> None:
    shift = prior_shift(positive_weight=56.7, sampled_share=None, training_share=0.02)
    assert shift == pytest.approx(np.log(56.7))
    found = scorer.score(trained.photograph(4))
    square = trained.array.rows([4])
    logits = scorer.member_logits(square)[0, :, 0]
    calibration = scorer.bundle.calibration
    each = [
        float(expit(calibration.slope * (value - member.prior_shift) + calibration.intercept))
        for value, member in zip(logits, scorer.bundle.members, strict=True)
    ]
    assert found.by_fold == pytest.approx(each)
    assert found.melanoma_probability == pytest.approx(np.mean(each))
    assert scorer.bundle.calibration.prevalence == pytest.approx(
        np.mean([row == 1 for row in trained.table.frame["target"]])
    )


def test_b4_the_threshold_at_a_stated_sensitivity_is_in_the_bundle_and_each_answer(
    report: Any, bundle_folder: Path, client: Any, photograph: bytes
) -> None:
    point = report["thresholds"][0]
    assert point["at"] == "sensitivity 0.95"
    assert point["sensitivity"]["low"] <= point["sensitivity"]["value"] >= 0.95
    manifest = json.loads((bundle_folder / "manifest.json").read_text())
    assert manifest["thresholds"][0]["value"] == point["value"]
    answer = client.post("/predict", files={"file": photograph}).json()
    assert answer["threshold"]["value"] == point["value"]
    assert answer["threshold"]["at"] == point["at"]
    assert answer["flagged"] == (answer["melanoma_probability"] >= point["value"])


def test_b5_subgroups_by_age_sex_and_site_and_the_net_benefit(report: Any) -> None:
    columns = {line["column"] for line in report["subgroups"]}
    assert {"age", "sex", "site"} <= columns
    assert report["net_benefit"] is not None
    assert "treat_all" in json.dumps(report["net_benefit"])


def test_b6_each_answer_says_when_it_abstains_and_how_new_the_photograph_is(
    client: Any, photograph: bytes
) -> None:
    answer = client.post("/predict", files={"file": photograph}).json()
    assert answer["verdict"]["code"] in VERDICTS
    assert "novelty" in answer


def test_b7_several_lesions_of_one_patient_are_scored_together(
    client: Any, photograph: bytes
) -> None:
    files = [("files", ("a.jpg", photograph)), ("files", ("b.jpg", photograph))]
    reply = client.post("/predict/patient", files=files)
    assert reply.status_code == 200 and reply.json()["distinct_lesions"] == 1  # a copy is none


def test_b8_the_model_card_is_made_of_the_run_in_tripod_ai_order(
    bundle_folder: Path, report: Any
) -> None:
    card = (bundle_folder / "MODEL_CARD.md").read_text()
    numbers = [int(n) for n in re.findall(r"^(?:[-*#\s]*)\*\*(\d+)[a-z]? ", card, re.M)]
    assert len(numbers) > 5 and numbers == sorted(numbers)
    assert f"{report['data']['images']}" in card and "TRIPOD" in card
    assert f"{report['metrics']['auroc']['value']:.3f}" in card or "AUROC" in card


def test_b9_two_runs_are_compared_in_pairs_with_an_interval_by_patient(
    bundle_folder: Path,
) -> None:
    found = compare_runs_in(bundle_folder, bundle_folder, metrics=["auroc"], resamples=100)
    difference = found["metrics"]["auroc"]["difference"]
    assert (difference["value"], difference["low"], difference["high"]) == (0, 0, 0)
    assert found["groups"] <= found["images"] and found["folds_digest"]


def test_b10_an_external_set_is_tested_in_one_command(
    trained: Any, tmp_path: Path, phantom_set: Path
) -> None:
    import shutil

    weights = tmp_path / "weights"
    shutil.copytree(trained.folder, weights)
    base = trained.folder.parent
    report, folder = evaluate_external(
        weights,
        trained.recipe.model_copy(update={"name": "elsewhere"}),
        phantom_set,
        arrays=tmp_path / "arrays",
        training=(base / "folds.csv", base / "arrays"),
        device="cpu",
    )
    assert report.content.external is not None
    assert report.content.data.images == len(pd.read_csv(phantom_set / "train.csv")) == 60
    assert report.content.external.model_digest == trained_digest(weights)
    assert (folder / "scores.csv").is_file() and "external" in folder.parts


def trained_digest(weights: Path) -> str:
    from melanoma.scoring.bundle.bundle import load_bundle

    return load_bundle(weights).digest
