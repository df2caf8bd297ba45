"""evaluate --external: another set through the sealed bundle, nothing refitted, overlap told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from hand_built import hand_built
from made_content import NO_LEAK
from refusals import require_refusal
from safetensors.torch import load_file, save_file
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.served_numbers import served_numbers
from melanoma.scoring.external_set import ExternalScores, build_external_report
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of
from melanoma.training.weights_origin import write_seen
from melanoma.workflows.evaluate import evaluate_folds
from melanoma.workflows.train import select_folds, train_fold

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

Door = Callable[..., Any]


class Sealed(NamedTuple):
    """A bundle of three folds, and what it was trained from."""

    base: Path
    config: Path
    common: list[str | Path]
    weights: Path


@pytest.fixture(scope="module")
def once(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """Sealed once, the networks set by hand; the tests work on copies."""
    base = tmp_path_factory.mktemp("once")
    values = {
        "name": "tiny",
        "data": {"reader": "siim"},
        "image": {"size": 32},
        "folds": {"name": "tiny", "k": 3},
        "model": {"backbone": "tiny_resnet"},
        "schedule": {"name": "constant"},
        "training": {"epochs": 1, "batch_size": 16, "precision": "float32"},
        "evaluation": {"resamples": 100},
    }
    (base / "tiny.yaml").write_text(yaml.safe_dump(values))
    recipe, folds = load_recipe(base / "tiny.yaml"), base / "f.csv"
    parts = select_folds(recipe, data=phantom_set, arrays=base / "arrays", folds=folds)
    with hand_built():
        for part in parts:
            train_fold(recipe, part, base / "weights")
    evaluate_folds(recipe, base / "weights", folds)
    common = ["--config", base / "tiny.yaml", "--arrays", base / "arrays", "--folds", folds]
    return Sealed(base, base / "tiny.yaml", common, base / "weights")


@pytest.fixture
def sealed(once: Sealed, tmp_path: Path) -> Sealed:
    shutil.copytree(once.weights, tmp_path / "weights")
    return once._replace(base=tmp_path, weights=tmp_path / "weights")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another set than phantom_set. Read only."""
    folder = tmp_path_factory.mktemp("drawn")
    make_phantoms(folder, images=60, patients=20, size=48, seed=11)
    return folder


def _rename(drawn: Path, folder: Path) -> pd.DataFrame:
    """A copy of the set in `folder`, each image and patient under another name; its table."""
    shutil.copytree(drawn, folder)
    table = pd.read_csv(folder / "train.csv")
    renamed = table.assign(
        image_name="x" + table["image_name"], patient_id="q" + table["patient_id"]
    )
    for old, new in zip(table["image_name"], renamed["image_name"], strict=True):
        (folder / f"jpeg/train/{old}.jpg").rename(folder / f"jpeg/train/{new}.jpg")
    renamed.to_csv(folder / "train.csv", index=False)
    return renamed


def _external(base: Path, *, melanoma: bool = True) -> Path:
    path = base / "elsewhere.yaml"
    values = {"name": "elsewhere", "data": {"reader": "siim"}, "folds": {"name": "elsewhere"}}
    if not melanoma:
        values |= {"classes": ["left", "right"], "melanoma": [], "data": {"reader": "csv_folder"}}
        values["loss"] = {"name": "cross_entropy"}
    path.write_text(yaml.safe_dump(values))
    return path


def test_what_a_fit_of_two_classes_would_be_is_a_logistic_regressions(
    sealed: Sealed, drawn: Path
) -> None:
    scorer, recipe = Scorer(load_bundle(sealed.weights)), load_recipe(_external(sealed.base))
    table = read_lesions(drawn, recipe.data, classes=recipe.classes)
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (60, 1, 1)) + rng.normal(0, 1, (60, 3, 1))
    sick = (rng.random(60) < expit(0.6 * logits.mean(axis=(1, 2)) - 0.5)).astype(np.int64)
    told_of = LesionTable(table.frame.assign(target=sick), table.folder)
    found = build_external_report(
        scorer,
        ExternalScores(told_of, recipe, "", logits),
        overlap=LeakAudit.model_validate(NO_LEAK),
        resamples=10,
        seed=0,
    ).content.external
    assert found is not None and found.recalibration is not None
    # Each image is both kinds, by the shares at which Platt (1999) aims: n + 1 of n + 2.
    n = sick.sum()
    aim = np.where(sick, (n + 1) / (n + 2), 1 / (len(sick) - n + 2))
    kinds, weights = np.repeat([1, 0], len(sick)), np.concatenate([aim, 1 - aim])
    mean = scorer.calibrate(logits)[..., 1].mean(axis=1)
    odds = np.tile(logit(mean)[:, None], (2, 1))
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(odds, kinds, weights)
    assert found.recalibration["slope"] == pytest.approx(fit.coef_[0, 0], rel=1e-3)
    assert found.recalibration["intercept"] == pytest.approx(fit.intercept_[0], abs=1e-3)


def test_another_set_is_scored_as_the_bundle_scores_and_nothing_is_refitted(
    sealed: Sealed, drawn: Path, call_door: Door
) -> None:
    before = load_bundle(sealed.weights)
    asked = ["--weights", sealed.weights, "--external", _external(sealed.base)]
    asked += ["--external-arrays", sealed.base / "squares", "--data", drawn]
    found = call_door("evaluate", *sealed.common, *asked)
    assert found.code == 0, found.err
    assert load_bundle(sealed.weights) == before

    folder = sealed.weights / "external" / "elsewhere"
    content = json.loads((folder / "report.json").read_text())
    scores = pd.read_csv(folder / "scores.csv")
    auroc = roc_auc_score(scores["target"], scores["prob"])
    assert content["metrics"]["auroc"]["value"] == pytest.approx(auroc, abs=1e-12)
    brier = brier_score_loss(scores["target"], scores["prob"])
    assert content["metrics"]["brier"]["value"] == pytest.approx(brier, abs=1e-12)
    for row in (0, 30, 59):
        name = scores["image_name"][row]
        photograph = (drawn / "jpeg/train" / f"{name}.jpg").read_bytes()
        served = Scorer(before).score(photograph).melanoma_probability
        assert scores["prob"][row] == pytest.approx(served, abs=1e-5)
    assert [p["value"] for p in content["thresholds"]] == [p.value for p in before.thresholds]
    assert content["external"]["model_digest"] == before.digest
    assert content["flow"]["read"] == len(scores) == 60
    assert content["external"]["overlap"]["near_duplicates"] == 0
    assert content["external"]["recalibration"]["brier_as_sealed"] == pytest.approx(brier)
    assert "nothing was changed" in found.out
    assert "sets of possible classes at 90 % hold the true one with" in found.out
    sets = content["prediction_sets"]
    inside = [
        scores["prob"] <= 1 - before.sets.thresholds[0],
        scores["prob"] >= before.sets.thresholds[1],
    ]
    inside = np.stack(inside, axis=1)
    # And the likeliest class, whatever its own threshold.
    inside[np.arange(len(scores)), (scores["prob"] > 0.5).astype(int)] = True
    covered = inside[np.arange(len(scores)), scores["target"]]
    assert sets["overall"]["coverage"]["value"] == pytest.approx(covered.mean())
    assert 0 <= sets["coverage_of_members"] <= 1
    assert (folder / "report.html").is_file()


def test_a_shipped_copy_is_tested_where_nothing_of_its_training_is_left(
    sealed: Sealed, phantom_set: Path, tmp_path: Path, call_door: Door
) -> None:
    copy = tmp_path / "copy"
    assert call_door("ship", "--weights", sealed.weights, "--out", copy).code == 0
    # No config either: the bundle says itself what it is.
    asked = ["--weights", copy, "--external", _external(sealed.base), "--arrays", tmp_path / "none"]
    found = call_door("evaluate", *asked, "--data", phantom_set)
    assert found.code == 0, found.err
    content = json.loads((copy / "external" / "elsewhere" / "report.json").read_text())
    assert content["external"]["overlap"]["near_duplicates"] is None
    # Its own training images, known by their names.
    assert "60 image names" in content["external"]["overlap"]["findings"][0]


def test_a_fold_file_of_other_images_hides_none_that_were_trained_on(
    sealed: Sealed, phantom_set: Path, call_door: Door
) -> None:
    other = pd.read_csv(sealed.common[-1], dtype=str, keep_default_na=False)
    for column in ("image_name", "patient_id", "group"):
        other[column] = "z" + other[column]
    other.to_csv(sealed.base / "other.csv", index=False)
    asked = ["--weights", sealed.weights, "--external", _external(sealed.base)]
    asked += ["--data", phantom_set, "--external-arrays", sealed.base / "squares"]
    found = call_door("evaluate", *sealed.common, "--folds", sealed.base / "other.csv", *asked)
    assert found.code == 0, found.err
    assert "other.csv is not the fold file that the bundle was trained on" in found.err
    content = json.loads((sealed.weights / "external/elsewhere/report.json").read_text())
    assert "60 image names" in str(content["external"]["overlap"]["findings"])
    assert content["external"]["overlap"]["patients"] == 20


def test_images_of_folds_that_were_not_trained_are_known_to_be_trained_on(
    sealed: Sealed, phantom_set: Path, tmp_path: Path, call_door: Door
) -> None:
    for fold in (1, 2):
        shutil.rmtree(sealed.weights / f"fold_{fold}")
    part = ("--weights", sealed.weights)
    assert call_door("evaluate", *sealed.common, *part, "--allow-missing").code == 0
    assert call_door("ship", *part, "--out", tmp_path / "copy").code == 0
    asked = ["--external", _external(sealed.base), "--data", phantom_set]
    asked += ["--arrays", tmp_path / "none", "--external-arrays", sealed.base / "squares"]
    for weights in (sealed.weights, tmp_path / "copy"):
        found = call_door("evaluate", "--weights", weights, *asked)
        assert found.code == 0, found.err
        content = json.loads((weights / "external/elsewhere/report.json").read_text())
        assert "60 image names" in str(content["external"]["overlap"]["findings"])


def test_images_that_were_trained_on_are_told_in_the_report(
    sealed: Sealed, drawn: Path, phantom_set: Path, call_door: Door
) -> None:
    other = sealed.base / "other"
    table = _rename(drawn, other)
    # One training photograph under another's name and patient.
    stolen = pd.read_csv(phantom_set / "train.csv")["image_name"][7]
    shutil.copy(
        phantom_set / "jpeg/train" / f"{stolen}.jpg",
        other / "jpeg/train" / f"{table['image_name'][5]}.jpg",
    )
    asked = ["--weights", sealed.weights, "--external", _external(sealed.base), "--data", other]
    asked += ["--external-arrays", sealed.base / "squares"]
    found = call_door("evaluate", *sealed.common, *asked)
    assert found.code == 0, found.err
    content = json.loads((sealed.weights / "external/elsewhere/report.json").read_text())
    overlap = content["external"]["overlap"]
    assert (overlap["identical"], overlap["patients"]) == (1, 0)
    assert content["warnings"][0].startswith("LEAK: 1 pairs of identical images")
    # The name is for who evaluates, not for the report.
    assert stolen in found.err
    assert stolen not in json.dumps(content)
    assert "--unseen leaves out" in found.err
    before = sha256_of(sealed.weights / "manifest.json")
    require_refusal(call_door("evaluate", *sealed.common, *asked, "--attach"), 3, "--unseen leaves")
    assert sha256_of(sealed.weights / "manifest.json") == before
    fitted = (*asked, "--recalibrate", sealed.base / "copy")
    require_refusal(call_door("evaluate", *sealed.common, *fitted), 3, "surer of than of the rest")
    assert not (sealed.base / "copy").exists()
    # Without it, and without its patient, who was photographed under another name.
    known = table[table["patient_id"] == table["patient_id"][5]]["image_name"]
    assert 1 < len(known) < 10
    found = call_door("evaluate", *sealed.common, *asked, "--unseen", "--names")
    assert found.code == 0, found.err
    content = json.loads((sealed.weights / "external/elsewhere/report.json").read_text())
    overlap = content["external"]["overlap"]
    assert (overlap["identical"], overlap["findings"]) == (0, [])
    assert content["flow"] | {"read": 60, "trained_on": len(known)} == content["flow"]
    assert content["data"]["images"] == 60 - len(known)
    assert any(f"{len(known)} of this set's images are left out" in w for w in content["warnings"])
    left_out = pd.read_csv(sealed.weights / "external/elsewhere/seen.csv")
    assert left_out["image_name"].tolist() == known.tolist()
    assert f"{stolen} = {table['image_name'][5]}" in left_out["shared"].tolist()
    scores = pd.read_csv(sealed.weights / "external/elsewhere/scores.csv")
    assert set(scores["image_name"]) == set(table["image_name"]) - set(known)
    # It stays as long as its report does: this is refused.
    require_refusal(call_door("evaluate", *sealed.common, *asked, "--attach"), 3, "--unseen leaves")
    assert len(pd.read_csv(sealed.weights / "external/elsewhere/seen.csv")) == len(known)
    # Asked for without, the file of before does not stay.
    found = call_door("evaluate", *sealed.common, *asked)
    assert not (sealed.weights / "external/elsewhere/seen.csv").exists()


def test_a_set_of_which_all_was_trained_on_is_refused_by_unseen(
    sealed: Sealed, phantom_set: Path, call_door: Door
) -> None:
    asked = ["--weights", sealed.weights, "--external", _external(sealed.base)]
    asked += ["--external-arrays", sealed.base / "squares", "--data", phantom_set, "--unseen"]
    found = call_door("evaluate", *sealed.common, *asked)
    assert found.code == 3
    told = found.err.splitlines()[-1]
    assert "leaves none of 60 images: 20 patients in the training and the external set" in told
    # The photographs of another clinic may have the same numbers.
    assert "60 image names" in told and "called alike, call them otherwise" in told
    assert not (sealed.weights / "external/elsewhere").exists()


def test_classes_that_cannot_be_compared_are_refused(
    sealed: Sealed, drawn: Path, call_door: Door
) -> None:
    folder = sealed.base / "sides"
    folder.mkdir()
    for image in sorted((drawn / "jpeg/train").glob("*.jpg"))[:20]:
        shutil.copy(image, folder / image.name)
    names = sorted(path.stem for path in folder.glob("*.jpg"))
    sides = np.where(np.arange(len(names)) % 2, "left", "right")
    pd.DataFrame({"image_name": names, "target": sides}).to_csv(folder / "t.csv", index=False)
    asked = ["--weights", sealed.weights, "--data", folder]
    asked += ["--external-arrays", sealed.base / "squares"]
    config = _external(sealed.base, melanoma=False)
    found = call_door("evaluate", *sealed.common, *asked, "--external", config)
    assert found.code == 2
    assert "cannot be compared" in found.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prevalence", "2"], "a share from 0.000001 to 0.999999"),
        (["--recalibrate", "copy"], "only with --external"),
        (["--unseen"], "only with --external"),
    ],
)
def test_options_that_cannot_be_meant_are_one_line(
    sealed: Sealed, call_door: Door, options: list[str], said: str
) -> None:
    found = call_door("evaluate", *sealed.common, "--weights", sealed.weights, *options)
    assert found.code in (2, 3)
    assert said in found.err.splitlines()[-1]
    assert "Traceback" not in found.err


@pytest.mark.parametrize("external", [False, True])
def test_a_column_to_report_by_that_is_not_there_is_refused_before_the_work(
    sealed: Sealed, drawn: Path, call_door: Door, monkeypatch: pytest.MonkeyPatch, external: bool
) -> None:
    for work in ("evaluate.build_report", "external.score_external"):
        monkeypatch.setattr(f"melanoma.workflows.{work}", None)
    squares = ("--external-arrays", sealed.base / "squares", "--data", drawn)
    options = ("--external", _external(sealed.base), *squares) if external else ()
    found = call_door(
        "evaluate", *sealed.common, "--weights", sealed.weights, "--by", "moon", *options
    )
    assert found.code == 3
    assert "no column moon to report by" in found.err.splitlines()[-1]


def test_largest_errors_are_pictured_on_request_only(sealed: Sealed, call_door: Door) -> None:
    sheet = sealed.weights / "figures" / "largest_errors.png"
    assert not sheet.exists()
    found = call_door("evaluate", *sealed.common, "--weights", sealed.weights, "--pictures")
    assert found.code == 0, found.err
    assert sheet.is_file()
    mistakes = {path.name for path in sheet.parent.glob("*.png")} - {sheet.name}
    assert {"confusion.png", "wrong_confidence.png"} <= mistakes
    assert "licenses" in found.err


def test_what_the_starting_weights_saw_is_looked_for_where_nothing_of_the_training_is_left(
    sealed: Sealed, drawn: Path, call_door: Door
) -> None:
    before = _rename(drawn, sealed.base / "other")["image_name"][:7]
    write_seen(sealed.weights / "fold_1", {"own": ""}, dict.fromkeys(before, ""))
    asked = ["--weights", sealed.weights, "--external", _external(sealed.base)]
    asked += ["--external-arrays", sealed.base / "squares", "--data", sealed.base / "other"]
    elsewhere = ["--config", sealed.config, "--folds", "none.csv", "--arrays", "none"]
    found = call_door("evaluate", *elsewhere, *asked)
    assert found.code == 0, found.err
    content = json.loads((sealed.weights / "external/elsewhere/report.json").read_text())
    overlap = content["external"]["overlap"]
    assert any(line.startswith("7 image names in the training and") for line in overlap["findings"])
    assert overlap["identical"] is None
    assert any("were not looked for" in warning for warning in content["warnings"])


def _make_constant(weights: Path, fold: int) -> None:
    """Fold `fold` as a network that says the same of every image, its digests made to fit."""
    folder = weights / f"fold_{fold}"
    scores = pd.read_csv(folder / "oof.csv").assign(logit=0.25)
    scores.to_csv(folder / "oof.csv", index=False)
    tensors = load_file(folder / "model.safetensors")
    head = {name: value * 0 for name, value in tensors.items() if name.startswith("head.")}
    assert head
    save_file(tensors | head, folder / "model.safetensors")
    for path, key in ((folder / "run.json", "files"), (weights / "manifest.json", "sha256")):
        content = json.loads(path.read_text())
        for name in content[key]:
            content[key][name] = sha256_of(path.parent / name)
        path.write_text(json.dumps(content))


def test_a_network_that_tells_no_image_from_another_is_never_sealed(
    sealed: Sealed, call_door: Door
) -> None:
    _make_constant(sealed.weights, 1)
    before = (sealed.weights / "manifest.json").read_bytes()
    found = call_door("evaluate", *sealed.common, "--weights", sealed.weights)
    assert found.code == 4, found.err
    assert "error: training diverged: in fold 1 all " in found.err.splitlines()[-1]
    assert (sealed.weights / "manifest.json").read_bytes() == before


def test_a_member_that_tells_no_image_from_another_calibrates_no_copy(
    sealed: Sealed, drawn: Path, call_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_constant(sealed.weights, 1)
    _rename(drawn, sealed.base / "other")
    # The golden score would refuse it first: as if it had been sealed so.
    monkeypatch.setattr("melanoma.workflows.external.require_golden", lambda _: None)
    asked = ["--weights", sealed.weights, "--external", _external(sealed.base)]
    asked += ["--data", sealed.base / "other", "--recalibrate", sealed.base / "copy"]
    asked += ["--external-arrays", sealed.base / "squares"]
    found = call_door("evaluate", *sealed.common, *asked)
    assert found.code == 3, found.err
    assert "elsewhere: by member 2 of the bundle all " in found.err.splitlines()[-1]
    assert not (sealed.base / "copy").exists()
    assert not (sealed.weights / "external").exists()


def test_a_copy_is_told_that_it_was_calibrated_on_the_set(
    sealed: Sealed, drawn: Path, call_door: Door
) -> None:
    _rename(drawn, sealed.base / "other")
    common = [*sealed.common, "--external", _external(sealed.base), "--data", sealed.base / "other"]
    common += ["--external-arrays", sealed.base / "squares"]
    copy = sealed.base / "copy"
    first = call_door("evaluate", *common, "--weights", sealed.weights, "--recalibrate", copy)
    assert first.code == 0, first.err
    assert "the calibration of this copy" not in first.out + first.err
    again = call_door("evaluate", *common, "--weights", copy)
    assert again.code == 0, again.err
    assert "the calibration of this copy was fitted on elsewhere" in again.out + again.err
    require_refusal(call_door("evaluate", *common, "--weights", copy, "--attach"), 2, "--attach")


def test_a_bundle_that_was_sealed_over_rounding_is_neither_shipped_nor_loaded(
    sealed: Sealed, call_door: Door
) -> None:
    report = json.loads((sealed.weights / "report.json").read_text())
    report["calibration"]["slope"] = 3.9e14
    (sealed.weights / "report.json").write_text(json.dumps(report))
    path = sealed.weights / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["calibration"]["slope"] = 3.9e14
    numbers = served_numbers(ReportContent.model_validate(report))
    manifest |= json.loads(json.dumps(numbers.to_json()))
    manifest["sha256"]["report.json"] = sha256_of(sealed.weights / "report.json")
    path.write_text(json.dumps(manifest))
    found = call_door("ship", "--weights", sealed.weights, "--out", sealed.base / "copy")
    assert found.code == 5, found.err
    assert "a calibration of slope 4e+14 a logit invents certainty" in found.err.splitlines()[-1]
    assert not (sealed.base / "copy").exists()
