"""B: what none of the five has together."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from fold_tables import held, lesions
from made_content import context_stack
from PIL import Image
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from api.app import create_app
from api.settings import Settings
from melanoma import report_lines, validate_report
from melanoma.data.duplicates.near import NearPair
from melanoma.data.duplicates.search import Duplicates
from melanoma.data.folds import FoldTable, make_folds
from melanoma.data.leaks import audit_folds, require_no_leaks
from melanoma.errors import FoldError
from melanoma.evaluation.calibration import prior_shift
from melanoma.evaluation.measure.prediction_sets import SetRule
from melanoma.scoring.novelty import fit_novelty
from melanoma.scoring.scorer import Scorer
from melanoma.scoring.square_statistics import square_statistics
from melanoma.workflows.compare import compare_runs_in
from melanoma.workflows.external import evaluate_external

ROOT = Path(__file__).resolve().parents[2]


def answered(scorer: Scorer, ask: Callable[[TestClient], Any]) -> Any:
    """What a service over this scorer answers."""
    with TestClient(create_app([scorer], Settings())) as client:
        reply = ask(client)
    assert reply.status_code == 200, reply.text
    return reply.json()


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
    assert scorer.bundle.prevalence == pytest.approx(
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
    (sealed,) = [one for one in manifest["threshold_intervals"] if one["at"] == point["at"]]
    for reached in ("sensitivity", "specificity"):
        assert answer["threshold"][reached] == sealed[reached] == point[reached]
        assert point[reached]["low"] <= point[reached]["value"] <= point[reached]["high"]
    assert answer["flagged"] == (answer["melanoma_probability"] >= point["value"])


def test_b5_subgroups_by_age_sex_and_site_and_the_net_benefit(
    report: Any, bundle_folder: Path
) -> None:
    assert {"age", "sex", "site"} <= {line["column"] for line in report["subgroups"]}
    oof = pd.read_csv(bundle_folder / "oof.csv")
    folds = pd.read_csv(bundle_folder.parent / "folds.csv")
    oof = oof.merge(folds[["image_name", "sex"]], on="image_name", validate="1:1")
    for line in report["subgroups"]:
        if line["column"] == "sex" and line["auroc"]["value"] is not None:
            rows = oof[oof["sex"] == line["value"]]
            area = roc_auc_score(rows["target"], rows["prob"])
            assert (line["images"], line["auroc"]["value"]) == (len(rows), pytest.approx(area))
    benefit, melanoma = report["net_benefit"], oof["target"] == 1
    for number in (5, 20):
        threshold = benefit["thresholds"][number]
        odds = threshold / (1 - threshold)
        treated = oof["prob_crossfit"] >= threshold
        gain = (treated & melanoma).mean() - (treated & ~melanoma).mean() * odds
        assert benefit["model"][number] == pytest.approx(gain)
        everybody = melanoma.mean() - (1 - melanoma.mean()) * odds
        assert benefit["treat_all"][number] == pytest.approx(everybody)


def test_b6_each_answer_abstains_where_it_must_and_says_how_new_the_photograph_is(
    scorer: Scorer, trained: Any, photograph: bytes
) -> None:
    once = trained.array.rows(np.arange(80)).astype(np.float64)
    rng = np.random.default_rng(4)
    # The threshold asks for 200 lesions: each in four lights.
    lights = rng.uniform(0.85, 1.05, (4, len(once), 1, 1, 1))
    squares = np.concatenate(once * lights).clip(0, 255).astype(np.uint8)
    found = fit_novelty(
        scorer.members.outputs(squares, views=1).embeddings[:, 0],
        square_statistics(squares),
        np.arange(320) % 2,
        np.arange(320),
        seed=0,
    )
    assert found is not None
    noise = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(noise, "PNG")

    def predict(bundle: Any, data: bytes) -> Any:
        own = Scorer(bundle, members=scorer.members)
        return answered(own, lambda client: client.post("/predict", files={"file": data}))

    knowing = replace(scorer.bundle, novelty=found.novelty)
    new, usual = predict(knowing, noise.getvalue()), predict(knowing, photograph)
    assert new["novelty"]["is_novel"] and new["verdict"]["code"] == "unscorable"
    assert new["novelty"]["score"] >= new["novelty"]["threshold"] == found.novelty.threshold
    assert new["frequency"] is None  # no sentence about a score that means nothing
    assert not usual["novelty"]["is_novel"] and usual["verdict"]["code"] != "unscorable"
    # In doubt between a cancer and a harmless class it says so, and not "not flagged".
    torn = replace(
        knowing,
        sets=SetRule(0.9, (0.0, 0.0), scorer.bundle.calibration.class_prevalence),
        risk={"benign": "benign", "melanoma": "malignant"},
    )
    ask = {"files": {"file": photograph}}
    own = Scorer(torn, members=scorer.members)
    doubtful = answered(own, lambda client: client.post("/predict?threshold=1", **ask))
    assert set(doubtful["set"]["classes"]) == {"benign", "melanoma"}
    assert doubtful["verdict"]["code"] == "unsure" and not doubtful["flagged"]
    flagged = answered(own, lambda client: client.post("/predict?threshold=0", **ask))
    assert flagged["verdict"]["code"] == "flagged"  # no doubt takes a flag away


def test_b7_several_lesions_of_one_patient_are_scored_together(
    scorer: Scorer, trained: Any
) -> None:
    photographs = [trained.photograph(n) for n in (0, 1, 4, 9, 12)]
    files = [("files", ("a.jpg", data)) for data in (*photographs, photographs[0])]

    def patient(bundle: Any) -> Any:
        own = Scorer(bundle, members=scorer.members)
        return answered(own, lambda client: client.post("/predict/patient", files=files))

    plain = patient(scorer.bundle)
    assert plain["distinct_lesions"] == 5  # a copy is no lesion
    own = [result["melanoma_probability"] for result in plain["results"]]
    # Not to the bit: the copy may have come into another batch, which rounds otherwise.
    assert own[5] == pytest.approx(own[0], abs=1e-6)
    odds = logit(np.array(own[:5]))
    for number, result in enumerate(plain["results"][:5]):
        assert result["rank_in_patient"] == 1 + int((odds > odds[number]).sum())
        middle = np.median(np.delete(odds, number))
        lesion = plain["lesions"][result["lesion"]]
        assert lesion["odds_of_others"] == pytest.approx(np.exp(odds[number] - middle))
        stands_out = odds[number] == odds.max() and odds[number] - middle >= np.log(10)
        assert result["outlier"] == bool(stands_out)  # the ugly duckling
        assert result["context_probability"] is None  # none was seen to help on this bundle
    # With a stack a lesion's probability depends on the patient's others.
    stack = context_stack(-0.5, 0.8, {"percentile": 3.0})
    stacked = patient(replace(scorer.bundle, context=stack))
    trust = 4 / (4 + 2.0)
    for number, result in enumerate(stacked["results"][:5]):
        below = float((np.delete(odds, number) < odds[number]).mean()) - 0.5
        wanted = expit(-0.5 + 0.8 * odds[number] + 3.0 * trust * below)
        assert result["context_probability"] == pytest.approx(wanted)
        assert result["flagged"] == plain["results"][number]["flagged"]


def test_b8_the_model_card_is_made_of_the_run_in_tripod_ai_order(
    bundle_folder: Path, report: Any
) -> None:
    card = (bundle_folder / "MODEL_CARD.md").read_text()
    numbers = [int(n) for n in re.findall(r"^(?:[-*#\s]*)\*\*(\d+)[a-z]? ", card, re.M)]
    assert len(numbers) > 5 and numbers == sorted(numbers)
    assert f"{report['data']['images']}" in card and "TRIPOD" in card
    assert numbers[0] == 1 and {9, 16, 20, 23} <= set(numbers)
    auroc = report["metrics"]["auroc"]
    assert "| AUROC | {value:.3f} | {low:.3f} to {high:.3f} |".format(**auroc) in card
    assert all(digest[:12] in card for digest in report["digests"].values() if digest)


def test_b9_two_runs_are_compared_in_pairs_with_an_interval_by_patient(
    bundle_folder: Path,
) -> None:
    same = compare_runs_in(bundle_folder, bundle_folder, metrics=["auroc"], resamples=100)
    none = same.metrics["auroc"].difference
    assert (none.value, none.low, none.high) == (0, 0, 0)
    first, second = (ROOT / f"results/ham10000_melanoma_{name}" for name in ("capped", "weighted"))
    found = compare_runs_in(first, second, metrics=["auroc"], resamples=100)
    tables = [pd.read_csv(folder / "oof.csv.gz") for folder in (first, second)]
    ours, theirs = (roc_auc_score(table["target"], table["prob"]) for table in tables)
    auroc = found.metrics["auroc"]
    assert auroc.difference.value == pytest.approx(ours - theirs)
    # Paired: far narrower than two intervals of runs that had nothing in common.
    both = (auroc.a, auroc.b, auroc.difference)
    widths = [(one.high or 0) - (one.low or 0) for one in both]
    assert widths[2] < 0.7 * np.hypot(*widths[:2])
    groups = tables[0]["group"].nunique()
    assert (found.images, found.groups) == (len(tables[0]), groups) and found.folds_digest


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
