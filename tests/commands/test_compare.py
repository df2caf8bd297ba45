"""Comparing two evaluated runs: paired by image, refused where pairing would mean nothing."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from melanoma.errors import DataError, FoldError, RecipeError, WeightsError
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.workflows.compare import compare_runs_in

Door = Callable[..., Any]
RESULTS = Path(__file__).resolve().parents[2] / "results"
CLASSES = ("nv", "bkl", "mel")


def truth(images: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    group = rng.integers(0, images // 3, images)
    return pd.DataFrame(
        {
            "image_name": [f"i{row}" for row in range(images)],
            "patient_id": [f"p{g}" for g in group],
            "group": [f"g{g}" for g in group],
            "target": (rng.random(images) < 0.3).astype(int),
            "fold": group % 3,
        }
    )


def written(folder: Path, frame: pd.DataFrame, *, folds: str = "f" * 64, **report: Any) -> Path:
    folder.mkdir(parents=True)
    frame.to_csv(folder / "oof.csv", index=False)
    content = {"recipe": folder.name, "digests": {"folds_digest": folds}, "warnings": []}
    (folder / "report.json").write_text(json.dumps({**content, **report}))
    return folder


def binary_run(folder: Path, *, skill: float, seed: int = 1, **options: Any) -> Path:
    frame = truth()
    noise = np.random.default_rng(seed).normal(size=len(frame))
    frame["prob"] = expit(skill * frame["target"] + noise - 1)
    frame["prob_crossfit"] = expit(skill * frame["target"] + noise - 1.1)
    return written(folder, frame, **options)


def class_run(folder: Path, *, skill: float, melanoma: bool, seed: int = 1) -> Path:
    frame, rng = truth(), np.random.default_rng(seed)
    frame["target"] = np.random.default_rng(5).integers(0, 3, len(frame))
    frame["label"] = np.array(CLASSES)[frame["target"]]
    logits = rng.normal(size=(len(frame), 3)) + skill * np.eye(3)[frame["target"]]
    for number, name in enumerate(CLASSES):
        frame[f"prob_{name}"] = softmax(logits, axis=1)[:, number]
        frame[f"prob_crossfit_{name}"] = 1 - frame[f"prob_{name}"]  # must never be taken instead
    if melanoma:
        frame["melanoma"] = (frame["label"] == "mel").astype(int)
        frame["prob"] = frame["prob_crossfit"] = frame["prob_mel"]
    return written(folder, frame)


def compared(a: Path, b: Path, *metrics: str, **options: Any) -> dict[str, Any]:
    """As `--json` prints it."""
    found = compare_runs_in(a, b, metrics=list(metrics), resamples=300, **options)
    return found.model_dump(mode="json")


def test_each_side_is_scikit_learn_s_on_its_own_table(tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    b = binary_run(tmp_path / "b", skill=1.5, seed=2)
    names = [name for name, spec in METRICS.items() if spec.needs in ("nothing", "melanoma")]
    found = compared(a, b, *names)["metrics"]
    for letter, folder in (("a", a), ("b", b)):
        oof = pd.read_csv(folder / "oof.csv")
        expected = {
            "auroc": sk.roc_auc_score(oof["target"], oof["prob"]),
            "pr_auc": sk.average_precision_score(oof["target"], oof["prob"]),
            "brier": sk.brier_score_loss(oof["target"], oof["prob_crossfit"]),
            "log_loss": sk.log_loss(oof["target"], oof["prob_crossfit"]),
        }
        for name, value in expected.items():
            assert found[name][letter]["value"] == pytest.approx(value, abs=1e-12)
    for metric in found.values():
        gap = metric["a"]["value"] - metric["b"]["value"]
        assert metric["difference"]["value"] == pytest.approx(gap, abs=1e-12)


def test_a_run_against_itself_differs_by_nothing_with_certainty(tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    again = shutil.copytree(a, tmp_path / "again")
    for name, metric in compared(a, again, "auroc", "brier", "pr_auc")["metrics"].items():
        assert metric["difference"] == {"value": 0, "low": 0, "high": 0}
        assert metric["p_value"] == 1
        assert metric["sentence"] == f"A and B have the same {METRICS[name].short}"


def test_swapping_the_runs_negates_the_difference_and_names_the_same_winner(
    tmp_path: Path,
) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    b = binary_run(tmp_path / "b", skill=1.6, seed=2)
    there, back = compared(a, b)["metrics"]["auroc"], compared(b, a)["metrics"]["auroc"]
    for side, other in (("value", "value"), ("low", "high"), ("high", "low")):
        assert there["difference"][side] == pytest.approx(-back["difference"][other], abs=1e-12)
    assert there["p_value"] == back["p_value"]
    assert there["delong"]["value"] == pytest.approx(-back["delong"]["value"])
    assert there["sentence"] == back["sentence"].replace("A ranks", "B ranks")


def test_a_clear_difference_and_none_are_said_in_words(tmp_path: Path) -> None:
    weak = binary_run(tmp_path / "weak", skill=0.5)
    strong = binary_run(tmp_path / "strong", skill=2.0, seed=2)
    like = binary_run(tmp_path / "like", skill=0.5, seed=3)
    clear = compared(weak, strong, "auroc", "log_loss")["metrics"]
    assert clear["auroc"]["sentence"].startswith("B ranks better by 0.")
    assert clear["auroc"]["sentence"].endswith(": the data tell them apart")
    assert clear["auroc"]["p_value"] < 0.01
    assert clear["auroc"]["delong"]["p_value"] < 0.01
    # Less is better: A's loss is greater, so B predicts better, and by a positive number.
    assert clear["log_loss"]["difference"]["low"] > 0
    assert clear["log_loss"]["sentence"].startswith("B predicts better by 0.")
    none = compared(weak, like)["metrics"]["auroc"]
    assert none["sentence"].endswith(": the data cannot tell them apart")
    assert none["p_value"] > 0.05


def test_rows_are_paired_by_name_whatever_their_order(tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    b = binary_run(tmp_path / "b", skill=1.2)
    expected = compared(a, b)["metrics"]
    oof = pd.read_csv(b / "oof.csv")
    oof.sample(frac=1, random_state=0).to_csv(b / "oof.csv", index=False)
    assert compared(a, b)["metrics"] == expected


def test_pairing_narrows_the_interval_of_runs_that_err_alike(tmp_path: Path) -> None:
    """Both runs have the same noise: apart, each is uncertain; their difference is not."""
    a = binary_run(tmp_path / "a", skill=1.0)
    b = binary_run(tmp_path / "b", skill=1.2)
    metric = compared(a, b)["metrics"]["auroc"]
    width = {key: metric[key]["high"] - metric[key]["low"] for key in ("a", "b", "difference")}
    assert width["difference"] < width["a"] / 5


def test_several_classes_are_compared_by_their_melanoma_column(tmp_path: Path) -> None:
    a = class_run(tmp_path / "a", skill=1.0, melanoma=True)
    b = class_run(tmp_path / "b", skill=2.0, melanoma=True, seed=2)
    found = compared(a, b, "auroc", "macro_auroc")
    oof = pd.read_csv(a / "oof.csv")
    expected = sk.roc_auc_score(oof["label"] == "mel", oof["prob"])
    assert found["metrics"]["auroc"]["a"]["value"] == pytest.approx(expected, abs=1e-12)
    assert found["positives"] == (oof["label"] == "mel").sum()
    assert list(compared(a, b)["metrics"]) == ["auroc"]


def test_without_a_melanoma_class_the_macro_auroc_is_compared(tmp_path: Path) -> None:
    a = class_run(tmp_path / "a", skill=1.0, melanoma=False)
    b = class_run(tmp_path / "b", skill=2.0, melanoma=False, seed=2)
    found = compared(a, b)
    assert found["positives"] is None
    ((name, metric),) = found["metrics"].items()
    oof = pd.read_csv(a / "oof.csv")
    probabilities = oof[[f"prob_{c}" for c in CLASSES]].to_numpy()
    expected = sk.roc_auc_score(oof["target"], probabilities, multi_class="ovr")
    assert name == "macro_auroc"
    assert metric["a"]["value"] == pytest.approx(expected, abs=1e-12)
    assert metric["delong"] is None
    assert metric["sentence"].startswith("B tells the classes apart better by 0.")
    with pytest.raises(RecipeError, match="--metric auroc: these runs allow macro_auroc"):
        compared(a, b, "auroc")


def test_an_unknown_metric_is_refused_with_those_there_are(tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    with pytest.raises(RecipeError, match="--metric auc: unknown; known: auroc, "):
        compared(a, a, "auc")
    with pytest.raises(RecipeError, match="--metric macro_auroc: these runs allow auroc"):
        compared(a, a, "macro_auroc")


def test_other_folds_are_refused(tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    b = binary_run(tmp_path / "b", skill=1.0, folds="e" * 64)
    with pytest.raises(FoldError, match="different folds") as caught:
        compared(a, b)
    assert "ffffffffffff and eeeeeeeeeeee" in str(caught.value)


@pytest.mark.parametrize("fault", ["fewer", "others", "twice", "target", "group"])
def test_other_images_or_other_truths_are_refused(fault: str, tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    b = binary_run(tmp_path / "b", skill=1.0)
    oof = pd.read_csv(b / "oof.csv")
    if fault == "fewer":
        oof = oof[oof["fold"] != 0]
    elif fault == "others":
        oof.loc[3, "image_name"] = "stranger"
    elif fault == "twice":
        oof = pd.concat([oof, oof[:1]])
    else:
        oof.loc[3, fault] = 1 - oof.loc[3, "target"] if fault == "target" else "g-other"
    oof.to_csv(b / "oof.csv", index=False)
    said = {"target": "differ in target", "group": "differ in group"}
    for pair in ((a, b), (b, a)):
        with pytest.raises(DataError, match=said.get(fault, "did not score the same images")):
            compared(*pair)


@pytest.mark.parametrize("name", ["oof.csv", "report.json"])
def test_what_is_absent_is_named(name: str, tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    b = binary_run(tmp_path / "b", skill=1.0)
    (b / name).unlink()
    with pytest.raises(WeightsError, match=f"b has no {name}; run python -m melanoma.evaluate"):
        compared(a, b)


def test_two_tables_of_scores_are_one_too_many(tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    (a / "oof.csv.gz").write_bytes(gzip.compress((a / "oof.csv").read_bytes()))
    with pytest.raises(DataError, match=r"holds oof\.csv and oof\.csv\.gz; remove"):
        compared(a, a)
    (a / "oof.csv").unlink()
    assert compared(a, a)


@pytest.mark.parametrize("report", ["{", "[]", '{"recipe": "x"}', '{"recipe": "x", "digests": {}}'])
def test_a_damaged_report_is_refused(report: str, tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    (a / "report.json").write_text(report)
    with pytest.raises(WeightsError, match=r"report\.json is damaged"):
        compared(a, a)


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    a = binary_run(tmp_path / "a", skill=1.0)
    oof = pd.read_csv(a / "oof.csv", dtype=str)
    oof.loc[7, "prob"] = "high"
    oof.to_csv(a / "oof.csv", index=False)
    with pytest.raises(DataError, match="column prob holds a value that is no number"):
        compared(a, a)


def test_two_committed_runs_are_compared_at_the_door(call_door: Door) -> None:
    first, second = RESULTS / "siim_mobilenet", RESULTS / "siim_mobilenet_jitter"
    answer = call_door("compare", first, second, "--resamples", "300")
    assert answer.code == 0
    assert "A ranks better by 0.005 (" in answer.out
    assert "the data cannot tell them apart" in answer.out
    assert "brightness_contrast" in answer.out
    machine = call_door("compare", first, second, "--resamples", "300", "--json")
    found = json.loads(machine.out)
    assert found["metrics"]["auroc"]["a"]["value"] == pytest.approx(0.8652, abs=5e-5)
    assert found["recipe_differences"][0].startswith("augment: [")
    assert len(found["recipe_differences"]) == 1


def test_the_door_says_a_leak_and_refuses_with_its_codes(call_door: Door, tmp_path: Path) -> None:
    leak = "LEAK: 12 patients in more than one fold (p1, p2, p3, ...)"
    a = binary_run(tmp_path / "a", skill=1.0, warnings=["only 9 positives", leak])
    b = binary_run(tmp_path / "b", skill=1.0, folds="e" * 64)
    leaky = call_door("compare", a, a)
    assert leaky.out.startswith(f"warning: {leak}\n")
    assert "only 9 positives" not in leaky.out
    for other, code in ((b, 3), (tmp_path / "none", 5)):
        refused = call_door("compare", a, other)
        assert refused.code == code
        assert refused.err.startswith("error: ")
        assert refused.err.count("\n") == 1
    assert call_door("compare", a, a, "--metric", "auc").code == 2
    assert call_door("compare", a).code == 2
