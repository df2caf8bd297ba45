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
from sklearn.metrics import brier_score_loss

from melanoma.data.arrays import load_array
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import RecipeError
from melanoma.evaluation.calibration import crossfit_parts
from melanoma.evaluation.report.schema import External
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.recalibrated import seal_recalibrated
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


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """Three networks set by hand, each turned another way, on a set of other patients."""
    base = tmp_path_factory.mktemp("classes")
    for name, seed in (("own", 3), ("other", 11)):
        make_phantoms(base / name, images=90, patients=40, size=48, seed=seed)
        tint_melanomas(base / name)
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
        inside = bundle.sets.of(values, bundle.calibration.class_prevalence)
        ill, well = inside[..., 0], inside[..., 1:].any(axis=-1)
        sick = (scored.melanoma == 1).reshape(-1, *[1] * (inside.ndim - 2))
        assert coverage == pytest.approx(np.where(sick, ill, well).mean(), abs=1e-9)
        if values.ndim == 2:
            size = (ill.astype(int) + well).mean()
            assert told["overall"]["mean_size"] == pytest.approx(size, abs=1e-9)


def test_what_a_fit_here_would_be_is_a_shift_of_melanomas_log_odds(scored: Scored) -> None:
    told = scored.report["external"]["recalibration"]
    odds = logit(scored.scorer.calibrate(scored.logits)[..., 0])

    def fit(rows: npt.NDArray[np.bool_]) -> float:
        """The shift at which the members' mean says as many melanomas as there are."""
        sick = scored.melanoma[rows].sum()
        shifts = np.linspace(-8, 8, 1601)
        said = np.array([expit(odds[rows] + shift).mean(axis=1).sum() for shift in shifts])
        return float(np.interp(sick, said, shifts))

    assert told["slope"] == 1
    assert told["intercept"] == pytest.approx(fit(np.ones(len(odds), dtype=bool)), abs=1e-4)
    groups = pd.factorize(scored.rows["group"])[0]
    halves = crossfit_parts(np.zeros_like(groups), groups)
    after = np.empty(len(odds))
    for half in (0, 1):
        after[halves == half] = expit(odds[halves == half] + fit(halves != half)).mean(axis=1)
    assert told["brier_recalibrated"] == pytest.approx(
        brier_score_loss(scored.melanoma, after), abs=1e-5
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
    assert abs(fit["intercept"]) > 0.1
    copy = seal_recalibrated(bundle, tmp_path / "copy", recipe, external)
    before, after = (Scorer(one).calibrate(scored.logits) for one in (bundle, copy))
    assert np.allclose(logit(after[..., 0]) - logit(before[..., 0]), fit["intercept"], atol=1e-9)
    assert np.allclose(after[..., 1] / after[..., 2], before[..., 1] / before[..., 2], rtol=1e-9)
    assert copy.calibration.prevalence == 0.3
    assert after[..., 0].mean() == pytest.approx(scored.melanoma.mean(), abs=1e-9)
    ill, *well = copy.calibration.class_prevalence
    assert ill == pytest.approx(0.3) and sum(well) == pytest.approx(0.7)
    at_home = bundle.calibration.class_prevalence
    assert well[0] * at_home[2] == pytest.approx(well[1] * at_home[1])
    for one, other in zip(bundle.thresholds, copy.thresholds, strict=True):
        flagged = (before[:, 0, 0] >= one.value), (after[:, 0, 0] >= other.value * (1 - 1e-12))
        assert (flagged[0] == flagged[1]).all() and 0 < flagged[0].mean() < 1
    # A member's sets hold the same classes, but for the likeliest, which every set does.
    assert bundle.sets is not None and copy.sets is not None
    sets = [
        one.sets.of(values[:, 0], one.calibration.class_prevalence)
        for one, values in ((bundle, before), (copy, after))
    ]
    same = before[:, 0].argmax(axis=1) == after[:, 0].argmax(axis=1)
    assert (sets[0][same] == sets[1][same]).all() and same.any()
    assert len({tuple(row) for row in sets[0].tolist()}) > 1
    # Nothing else would be a calibration: a slope reaches the other diagnoses.
    steep = external.model_copy(update={"recalibration": {**fit, "slope": 1.2}})
    with pytest.raises(RecipeError, match="the slope 1"):
        seal_recalibrated(bundle, tmp_path / "steep", recipe, steep)


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
    assert copy.calibration.prevalence == pytest.approx(scored.melanoma.mean())


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
