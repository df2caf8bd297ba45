"""A bundle of several diagnoses on a set that only tells melanoma: what is compared, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hand_built import hand_built, tint_melanomas
from scipy.special import expit, logit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from melanoma.data.arrays import load_array
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.evaluation.calibration import crossfit_parts
from melanoma.evaluation.prevalence import Move
from melanoma.evaluation.report.schema import External
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.recalibrated import seal_recalibrated
from melanoma.scoring.bundle.shipped_copy import ship_bundle
from melanoma.scoring.external_set import ExternalScores, build_external_report, members_reach
from melanoma.scoring.scorer import Scorer
from melanoma.workflows.evaluate import evaluate_folds
from melanoma.workflows.external import evaluate_external
from melanoma.workflows.train import select_folds, train_fold
from melanoma.workflows.watch import Watch

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

# Melanoma is not the last, so that a column taken for another's would show.
CLASSES = ("melanoma", "nevus", "unknown")


class Scored(NamedTuple):
    """The bundle, the other set by hand, and what evaluate --external wrote of it."""

    scorer: Scorer
    recipe: Recipe
    table: LesionTable
    logits: npt.NDArray[np.float64]
    melanoma: npt.NDArray[np.int64]
    rows: pd.DataFrame
    report: dict[str, Any]


def _name_otherwise(folder: Path) -> None:
    """Call images and patients as no other phantoms are called."""
    table = pd.read_csv(folder / "train.csv", dtype=str, keep_default_na=False)
    for name in table["image_name"]:
        (folder / f"jpeg/train/{name}.jpg").rename(folder / f"jpeg/train/x{name}.jpg")
    names = {one: "x" + table[one] for one in ("image_name", "patient_id")}
    table.assign(**names).to_csv(folder / "train.csv", index=False)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """Three networks set by hand, each turned another way, on a set of other patients."""
    base = tmp_path_factory.mktemp("classes")
    for name, seed in (("own", 3), ("other", 11)):
        make_phantoms(base / name, images=90, patients=40, size=48, seed=seed)
        tint_melanomas(base / name)
    _name_otherwise(base / "other")
    recipe = make_recipe(
        {
            "name": "diagnoses",
            "classes": list(CLASSES),
            "melanoma": ["melanoma"],
            "data": {
                "reader": "csv_folder",
                "table": "train.csv",
                "images": "jpeg/train",
                "image_col": "image_name",
                "target_col": "diagnosis",
                "group_col": "patient_id",
            },
            "image": {"size": 32},
            "folds": {"name": "diagnoses", "k": 3},
            "model": {"backbone": "tiny_resnet"},
            "loss": {"name": "cross_entropy"},
            "schedule": {"name": "constant"},
            "training": {"epochs": 1, "batch_size": 16, "precision": "float32"},
            "evaluation": {"resamples": 100, "calibration": "scale"},
        }
    )
    weights, folds = base / "weights", base / "folds.csv"
    with hand_built():
        for part in select_folds(recipe, data=base / "own", arrays=base / "arrays", folds=folds):
            train_fold(recipe, part, weights)
    evaluate_folds(recipe, weights, folds)
    other = make_recipe(
        {
            "name": "other",
            "data": {"reader": "siim"},
            "folds": {"name": "other"},
            "image": {"size": 32},
        }
    )
    _, folder = evaluate_external(
        weights,
        other,
        base / "other",
        arrays=base / "squares",
        training=(folds, base / "arrays"),
        device="cpu",
        names=True,
    )
    scorer = Scorer(load_bundle(weights))
    table = read_lesions(base / "other", other.data)
    array = load_array(base / "squares", other.image)
    assert array is not None
    logits = scorer.member_logits(array.rows(range(len(array.names))))
    assert tuple(table.names) == array.names
    target = table.frame["target"].to_numpy(np.int64)
    rows = pd.read_csv(folder / "scores.csv").set_index("image_name").loc[list(array.names)]
    report = json.loads((folder / "report.json").read_text())
    return Scored(scorer, other, table, logits, target, rows, report)


def test_the_probability_is_the_share_of_melanoma_among_the_diagnoses(scored: Scored) -> None:
    rows = scored.rows
    assert not [name for name in rows if str(name).startswith("prob_")], "it has no such classes"
    assert set(rows["label"]) == {"melanoma", "other"}
    assert np.array_equal(rows["target"], scored.melanoma)
    assert np.array_equal(rows["label"] == "melanoma", scored.melanoma == 1)
    calibrated = scored.scorer.calibrate(scored.logits).mean(axis=1)
    assert np.allclose(rows["prob"], calibrated[:, 0], atol=1e-6)
    before = brier_score_loss(scored.melanoma, softmax(scored.logits, axis=-1).mean(axis=1)[:, 0])
    assert scored.report["calibration"]["before"]["brier"]["value"] == pytest.approx(
        before, abs=1e-6
    )
    assert scored.report["metrics"]["brier"]["value"] == pytest.approx(
        brier_score_loss(scored.melanoma, calibrated[:, 0]), abs=1e-6
    )


def test_what_single_members_reach_is_the_mean_of_each_at_the_sealed_threshold(
    scored: Scored,
) -> None:
    threshold = scored.scorer.bundle.threshold
    assert threshold is not None
    each = scored.scorer.calibrate(scored.logits)[:, :, 0] >= threshold.value
    sick = scored.melanoma == 1
    told = scored.report["external"]
    assert told["members_sensitivity"] == pytest.approx(each[sick].mean(), abs=1e-9)
    assert told["members_specificity"] == pytest.approx(1 - each[~sick].mean(), abs=1e-9)
    # One kind of image has no such numbers.
    alone = members_reach(scored.scorer, scored.logits[sick], np.ones(sick.sum(), np.int64))
    assert alone == {}


def test_a_set_holds_melanoma_or_not_as_the_bundles_set_of_diagnoses_does(scored: Scored) -> None:
    bundle = scored.scorer.bundle
    assert bundle.sets is not None
    calibrated = scored.scorer.calibrate(scored.logits)
    told = scored.report["prediction_sets"]
    overall = told["overall"]["coverage"]["value"]
    for values, coverage in (
        (calibrated.mean(axis=1), overall),
        (calibrated, told["coverage_of_members"]),
    ):
        inside = bundle.sets.of(values)
        ill, well = inside[..., 0], inside[..., 1:].any(axis=-1)
        sick = (scored.melanoma == 1).reshape(-1, *[1] * (inside.ndim - 2))
        assert coverage == pytest.approx(np.where(sick, ill, well).mean(), abs=1e-9)
        if values.ndim == 2:
            size = (ill.astype(int) + well).mean()
            assert told["overall"]["mean_size"] == pytest.approx(size, abs=1e-9)


def test_what_a_fit_here_would_be_is_a_line_of_the_means_log_odds(scored: Scored) -> None:
    told = scored.report["external"]["recalibration"]
    odds = logit(scored.scorer.calibrate(scored.logits).mean(axis=1)[:, 0])

    def fit(rows: npt.NDArray[np.bool_]) -> tuple[float, float]:
        """Cox's slope and intercept, by another program, of targets smoothed as Platt's are."""
        sick, count = scored.melanoma[rows], rows.sum()
        high = (sick.sum() + 1) / (sick.sum() + 2), 1 / (count - sick.sum() + 2)
        weights = np.where(sick, high[0], high[1])
        twice = np.tile(odds[rows, None], (2, 1))
        kinds, weights = np.repeat([1, 0], count), np.concatenate([weights, 1 - weights])
        line = LogisticRegression(C=np.inf, tol=1e-9).fit(twice, kinds, weights)
        return float(line.coef_[0, 0]), float(line.intercept_[0])

    slope, intercept = fit(np.ones(len(odds), dtype=bool))
    assert told["slope"] == pytest.approx(slope, rel=1e-3)
    assert told["intercept"] == pytest.approx(intercept, abs=1e-3)
    groups = pd.factorize(scored.rows["group"])[0]
    halves = crossfit_parts(np.zeros_like(groups), groups)
    after = np.empty(len(odds))
    for half in (0, 1):
        slope, intercept = fit(halves != half)
        after[halves == half] = expit(slope * odds[halves == half] + intercept)
    assert told["brier_recalibrated"] == pytest.approx(
        brier_score_loss(scored.melanoma, after), abs=1e-4
    )
    assert told["prevalence"] == pytest.approx(scored.melanoma.mean())


def test_a_recalibrated_copy_moves_melanoma_alone_and_flags_the_same_images(
    scored: Scored, tmp_path: Path
) -> None:
    bundle, external = scored.scorer.bundle, External.model_validate(scored.report["external"])
    recipe = load_recipe(bundle.folder / "recipe.yaml")
    assert external.recalibration is not None
    fit = {**external.recalibration, "prevalence": 0.3}  # not the bundle's own, by chance
    external = external.model_copy(update={"recalibration": fit})
    assert abs(fit["intercept"]) > 0.1 and abs(fit["slope"] - 1) > 0.05
    copy = seal_recalibrated(bundle, tmp_path / "copy", recipe, external)
    calibrated = scored.scorer.calibrate(scored.logits)
    before, after = ([Scorer(one).answer(row) for row in calibrated] for one in (bundle, copy))
    there, here = (np.array([[*a.by_class.values()] for a in side]) for side in (after, before))
    line = fit["slope"] * logit(here[:, 0]) + fit["intercept"]
    assert np.allclose(logit(there[:, 0]), line, atol=1e-9)
    assert np.allclose(there[:, 1] / there[:, 2], here[:, 1] / here[:, 2], rtol=1e-9)
    assert copy.prevalence == 0.3
    # The fit's own images: as many melanomas are said as there are.
    assert there[:, 0].mean() == pytest.approx(scored.melanoma.mean(), abs=0.01)
    ill, *well = copy.class_prevalence
    assert ill == pytest.approx(0.3) and sum(well) == pytest.approx(0.7)
    at_home = bundle.class_prevalence
    assert well[0] * at_home[2] == pytest.approx(well[1] * at_home[1])
    flags = [[answer.flagged for answer in side] for side in (before, after)]
    assert flags[0] == flags[1] and 0 < np.mean(flags[0]) < 1
    # Its report states the thresholds that it answers by.
    stated = copy.report.recalibrated
    assert stated is not None
    assert [p.value for p in stated.thresholds] == pytest.approx([p.value for p in copy.points])
    assert "Where 30.0 % of images are" in (copy.folder / "report.html").read_text()
    # The sets hold the same classes, and the likeliest, which every set does.
    for one, other in zip(before, after, strict=True):
        assert one.set is not None and other.set is not None
        assert {*other.set.classes} == {*one.set.classes, other.prediction}
    assert len({tuple(sorted(answer.set.classes)) for answer in before if answer.set}) > 1


@pytest.mark.parametrize("several", [False, True])
def test_of_a_moved_bundle_another_set_tells_the_same_but_the_probabilities(
    scored: Scored, tmp_path: Path, several: bool
) -> None:
    bundle = scored.scorer.bundle
    copy = ship_bundle(bundle, tmp_path / "there", prevalence=0.02).bundle
    assert copy.move is not None
    recipe, table = scored.recipe, scored.table
    if several:  # the bundle's own classes, so that all of them are compared
        recipe = load_recipe(bundle.folder / "recipe.yaml")
        kinds = np.where(scored.melanoma == 1, "melanoma", "nevus")
        target = np.where(scored.melanoma == 1, 0, 1)
        table = LesionTable(table.frame.assign(label=kinds, target=target), table.folder)
    overlap = LeakAudit.model_validate(scored.report["external"]["overlap"])
    here, there = (
        build_external_report(
            Scorer(one),
            ExternalScores(table, recipe, "", scored.logits),
            overlap=overlap,
            resamples=100,
            seed=0,
        )
        for one in (bundle, copy)
    )
    column = [0] if several else [1]
    moved = copy.move.shares(here.images.by_class, column)
    assert there.images.by_class == pytest.approx(moved, rel=1e-9)
    assert sum(there.images.priors) == pytest.approx(1)
    assert there.images.priors[column[0]] == pytest.approx(0.02)
    assert here.images.priors[column[0]] == pytest.approx(bundle.calibration.prevalence)
    said = [one.content.calibration for one in (here, there)]
    assert said[1].prevalence == 0.02 and said[0].prevalence == bundle.prevalence
    assert said[1].class_prevalence["melanoma"] == pytest.approx(0.02)
    assert there.content.metrics["auroc"] == here.content.metrics["auroc"]
    points = [one.content.thresholds[0] for one in (here, there)]
    assert points[0].sensitivity == points[1].sensitivity
    assert points[0].value != points[1].value
    first, second = (one.content.external for one in (here, there))
    assert first is not None and second is not None
    assert second.members_sensitivity == first.members_sensitivity
    assert 0 < (second.members_specificity or 0.0) == first.members_specificity
    assert first.recalibration is not None and second.recalibration is not None
    # The same line leads from both to what is right there.
    both = copy.move.then(Move(*(second.recalibration[n] for n in ("slope", "intercept")), 0.5))
    assert both.slope == pytest.approx(first.recalibration["slope"], rel=1e-3)
    assert both.intercept == pytest.approx(first.recalibration["intercept"], abs=1e-3)


def test_the_command_seals_the_copy_and_says_so(
    scored: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, said = scored.scorer.bundle, list[str]()
    doubted: list[External] = []
    monkeypatch.setattr(
        "melanoma.workflows.external.doubt_fit", lambda one: doubted.append(one) or ["doubt"]
    )
    report, _ = evaluate_external(
        bundle.folder,
        scored.recipe,
        scored.table.folder,
        arrays=tmp_path / "squares",
        training=(tmp_path / "no.csv", tmp_path / "none"),
        device="cpu",
        recalibrate=tmp_path / "copy",
        watch=Watch(say=said.append),
    )
    assert said[-2].startswith(f"sealed a copy calibrated on other in {tmp_path / 'copy'}")
    assert said[-1] == "doubt" and doubted == [report.content.external]
    copy = load_bundle(tmp_path / "copy")
    assert copy.report.recalibrated is not None
    assert copy.prevalence == pytest.approx(scored.melanoma.mean())


def test_where_a_half_has_one_kind_of_image_no_fit_is_told(scored: Scored) -> None:
    """A single melanoma: a fit on the half without it would know of none."""
    kept = (scored.melanoma == 0) | (np.arange(len(scored.melanoma)) == scored.melanoma.argmax())
    frame = scored.table.frame.loc[kept].reset_index(drop=True)
    few = ExternalScores(
        LesionTable(frame, scored.table.folder), scored.recipe, "", scored.logits[kept]
    )
    overlap = LeakAudit.model_validate(scored.report["external"]["overlap"])
    found = build_external_report(scored.scorer, few, overlap=overlap, resamples=100, seed=0)
    assert found.content.data.positives == 1
    assert found.content.external is not None and found.content.external.recalibration is None
