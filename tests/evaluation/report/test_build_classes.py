"""Reports of several classes: melanoma against the rest, and what there is without a melanoma."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from scipy.special import softmax
from sklearn import metrics as sk

from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.render.text import report_lines
from melanoma.evaluation.report.build import Report, build_report, save_out_of_fold
from melanoma.evaluation.score_table import LOGITS, ScoreTable, make_scores
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunFacts

CLASSES = ("nevus", "melanoma", "basal cell carcinoma", "melanoma in situ")
MELANOMA = ("melanoma", "melanoma in situ")
SHIFTS = np.array([[0.0, 1.5, 0.5, 2.0], [0.2, 1.0, 0.0, 2.5], [0.1, 1.2, 0.7, 1.5]])


def _recipe(*, melanoma: tuple[str, ...] = MELANOMA) -> Recipe:
    return make_recipe(
        {
            "name": "four",
            "classes": list(CLASSES),
            "melanoma": list(melanoma),
            "data": {"reader": "csv_folder"},
            "loss": {"name": "cross_entropy"},
            "folds": {"name": "four", "k": 3},
            "evaluation": {"resamples": 200},
        }
    )


@pytest.fixture(scope="module")
def scores() -> ScoreTable:
    rng = np.random.default_rng(5)
    count = 600
    target = rng.choice(4, count, p=[0.6, 0.15, 0.15, 0.1])
    truth = rng.normal(size=(count, 4)) + 2 * np.eye(4)[target] + np.log([0.6, 0.15, 0.15, 0.1])
    group = np.arange(count) // 2
    fold = group % 3
    frame = pd.DataFrame(
        {
            "image_name": [f"i{n:03d}" for n in range(count)],
            "patient_id": "",
            "group": [f"g{n}" for n in group],
            "label": np.array(CLASSES)[target],
            "target": target,
            "fold": fold,
        }
    )
    for name in ("logit", "logit_best", "logit_last"):
        noise = 0.0 if name == "logit" else rng.normal(size=truth.shape)
        frame[[f"{name}_{c}" for c in CLASSES]] = truth + SHIFTS[fold] + noise
    return ScoreTable(frame, CLASSES)


def _facts() -> list[RunFacts]:
    kinds = ("patients", "lesions", "groups", "identical", "near_duplicates")
    shared = {
        "audit": {**dict.fromkeys(kinds, 0), "findings": [], "allowed": False},
        "kept": "last",
        "best_epoch": 2,
        "last_epoch": 3,
        "seconds": 1.0,
        **dict.fromkeys(("recipe_digest", "folds_digest", "array_digest"), "d"),
        "versions": {"torch": "2"},
        "device": "cpu",
        "precision": "float32",
        "pretrained": "none",
    }
    folds = [{"fold": f, "prior_shift": SHIFTS[f].tolist()} for f in range(3)]
    return [RunFacts.model_validate(shared | fold) for fold in folds]


@pytest.fixture(scope="module")
def report(scores: ScoreTable) -> Report:
    return build_report(_recipe(), scores, _facts())


@pytest.fixture(scope="module")
def oof(report: Report, scores: ScoreTable, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("oof") / "oof.csv"
    save_out_of_fold(report, scores, _facts(), path)
    return pd.read_csv(path, keep_default_na=False)


def test_melanoma_against_the_rest_sums_its_classes(report: Report, oof: pd.DataFrame) -> None:
    assert np.allclose(oof["prob"], oof[[f"prob_{name}" for name in MELANOMA]].sum(axis=1))
    assert (oof["melanoma"] == oof["label"].isin(MELANOMA)).all()
    found = report.content.metrics["auroc"].value
    assert found == pytest.approx(sk.roc_auc_score(oof["melanoma"], oof["prob"]), abs=1e-12)
    assert report.content.data.positives == oof["melanoma"].sum()


def test_the_two_pooled_aurocs_of_several_classes_are_told_apart(
    report: Report, oof: pd.DataFrame
) -> None:
    content, selection = report.content, report.content.selection
    assert selection is not None
    logits = oof[[f"logit_last_{name}" for name in CLASSES]].to_numpy()
    raw = softmax(logits, axis=1)[:, [1, 3]].sum(axis=1)
    assert selection.last.auroc.value == pytest.approx(sk.roc_auc_score(oof["melanoma"], raw))
    lines = report_lines(content)
    kept = next(n for n, line in enumerate(lines) if line.startswith("AUROC of the last epochs"))
    assert lines[kept].startswith("AUROC of the last epochs (kept) by uncalibrated scores: ")
    assert "what follows is by calibrated probabilities" in lines[kept + 1]
    assert "By the networks' uncalibrated scores" in Markup(render_html(content)).unescape()
    card = render_card(content, _recipe())
    assert "By the networks' uncalibrated scores; item 23 is by calibrated" in card


def test_many_classes_are_written_without_a_warning_of_pandas(tmp_path: Path) -> None:
    classes = tuple(f"class {number}" for number in range(22))
    rng, rows = np.random.default_rng(2), 220
    target = np.arange(rows) % len(classes)
    held_out = pd.DataFrame(
        {
            "image_name": [f"i{n}" for n in range(rows)],
            **dict.fromkeys(("patient_id", "label"), ""),
            "group": [f"g{n}" for n in range(rows)],
            "target": target,
            "fold": np.arange(rows) // len(classes) % 2,
        }
    )
    held_out["label"] = [classes[number] for number in target]
    logits = rng.normal(size=(rows, len(classes))) + 2 * np.eye(len(classes))[target]
    facts = [f.model_copy(update={"prior_shift": (0.0,) * 22}) for f in _facts()[:2]]
    recipe = make_recipe(
        {
            "name": "many",
            "classes": list(classes),
            "melanoma": [],
            "data": {"reader": "class_folders"},
            "loss": {"name": "cross_entropy"},
            "folds": {"name": "many", "k": 2},
            "evaluation": {"resamples": 100},
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.PerformanceWarning)
        scores = make_scores(held_out, classes, dict.fromkeys(LOGITS, logits))
        report = build_report(recipe, scores, facts)
        save_out_of_fold(report, scores, facts, tmp_path / "oof.csv")
    columns = pd.read_csv(tmp_path / "oof.csv").columns
    assert len(columns) == 6 + 3 * 22 + 2 * 22


def test_metrics_of_the_classes_are_scikit_learn_s(report: Report, oof: pd.DataFrame) -> None:
    table = oof[[f"prob_{name}" for name in CLASSES]].to_numpy()
    called = table.argmax(axis=1)
    evenly = (table / np.bincount(oof["target"]) * len(oof)).argmax(axis=1)
    assert (evenly != called).any()
    expected = {
        "macro_auroc": sk.roc_auc_score(oof["target"], table, multi_class="ovr"),
        "accuracy": sk.accuracy_score(oof["target"], called),
        "balanced_accuracy": sk.balanced_accuracy_score(oof["target"], called),
        "balanced_accuracy_equal_priors": sk.balanced_accuracy_score(oof["target"], evenly),
        "macro_f1": sk.f1_score(oof["target"], called, average="macro"),
        "top_3_accuracy": sk.top_k_accuracy_score(oof["target"], table, k=3),
    }
    for name, value in expected.items():
        assert report.content.metrics[name].value == pytest.approx(value, abs=1e-12)
    confusion = report.content.confusion
    assert confusion.rule == "likeliest class"
    counted = sk.confusion_matrix(oof["target"], called)
    assert [list(row) for row in confusion.counts] == counted.tolist()
    recalls = sk.recall_score(oof["target"], called, average=None)
    assert [line.recall.value for line in report.content.per_class] == pytest.approx(recalls)
    assert [line.melanoma for line in report.content.per_class] == [0, 1, 0, 1]


def test_probabilities_are_the_bundle_s_arithmetic(report: Report, oof: pd.DataFrame) -> None:
    stated = report.content.calibration
    logits = oof[[f"logit_{name}" for name in CLASSES]].to_numpy()
    expected = softmax(stated.slope * logits + np.array(stated.intercept), axis=1)
    assert np.allclose(oof[[f"prob_{name}" for name in CLASSES]], expected, atol=1e-12)
    assert stated.prior_shift["1"] == tuple(SHIFTS[1])
    # The shift was put into the logits: taken out, the slope that is left is the truth's.
    assert 0.7 < stated.slope * 0.5 < 1.4
    assert stated.before.ece.value > stated.after.ece.value


def test_without_a_melanoma_class_nothing_is_said_of_melanoma(
    scores: ScoreTable, tmp_path: Path
) -> None:
    report = build_report(_recipe(melanoma=()), scores, _facts())
    content = report.content
    assert not {"auroc", "pr_auc"} & content.metrics.keys()
    assert content.thresholds == ()
    assert content.data.positives is None
    assert (content.curves, content.net_benefit, content.shortcuts) == (None, None, None)
    assert content.metrics["macro_auroc"].value > 0.8
    save_out_of_fold(report, scores, _facts(), tmp_path / "oof.csv")
    columns = pd.read_csv(tmp_path / "oof.csv").columns
    assert not {"prob", "melanoma", "prob_crossfit"} & set(columns)
    likeliest = report.images.crossfit.argmax(axis=1)
    right = (likeliest == scores.target).astype(float)
    brier = ((report.images.crossfit.max(axis=1) - right) ** 2).mean()
    assert content.metrics["brier"].value == pytest.approx(brier, abs=1e-12)
