"""The whole way through, on real dermoscopy images. Skipped where the data folder is absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.data.arrays import load_array
from melanoma.recipe import Image
from melanoma.scoring.bundle import load_bundle
from melanoma.scoring.scorer import Scorer

Door = Callable[..., Any]
IDENTICAL_ON_HAM10000 = ({"ISIC_0024366", "ISIC_0029861"}, {"ISIC_0024777", "ISIC_0029938"})


def test_the_siim_sample_goes_from_jpegs_to_a_served_probability(
    real_data: Path, tmp_path: Path, call_door: Door, tiny_recipe: Callable[..., Path]
) -> None:
    config = tiny_recipe(image={"size": 48}, training={"epochs": 1, "batch_size": 32})
    common = ["--config", config, "--data", real_data / "siim2020", "--arrays", tmp_path / "arrays"]
    folds = ["--folds", tmp_path / "folds.csv", "--weights", tmp_path / "weights"]

    prepared = call_door("prepare", *common)
    assert prepared.code == 0
    assert "3 pairs of identical images" in prepared.err
    assert call_door("train", *common, *folds, "--fold", "all").code == 0
    assert call_door("evaluate", "--config", config, *folds).code == 0

    oof = pd.read_csv(tmp_path / "weights" / "oof.csv", keep_default_na=False)
    report = json.loads((tmp_path / "weights" / "report.json").read_text())
    assert len(oof) == 1144
    assert oof["image_name"].is_unique
    assert oof.groupby("patient_id")["fold"].nunique().max() == 1
    auroc = report["metrics"]["auroc"]["value"]
    assert auroc == pytest.approx(roc_auc_score(oof["target"], oof["prob"]), abs=1e-12)
    # Color alone ranks this case-control sample better than chance, after a single epoch too.
    assert auroc > 0.6

    photograph = sorted((real_data / "siim2020" / "jpeg" / "train").glob("*.jpg"))[7]
    table = tmp_path / "scores.csv"
    asked = ["--weights", tmp_path / "weights", "--config", config, "--out", table]
    assert call_door("predict", photograph, *asked).code == 0
    array = load_array(tmp_path / "arrays", Image(size=48))
    assert array is not None
    scorer = Scorer(load_bundle(tmp_path / "weights"))
    (by_array,) = scorer.score_squares(array.rows([array.row_of[photograph.stem]]))
    (by_file,) = pd.read_csv(table)["melanoma_probability"]
    assert by_file == pytest.approx(by_array.melanoma_probability, abs=1e-5)


def test_ham10000_comes_in_by_its_own_reader_with_its_lesions_whole(
    real_data: Path, tmp_path: Path, call_door: Door
) -> None:
    config = Path(__file__).resolve().parents[1] / "configs" / "ham10000_melanoma.yaml"
    common = ["--config", config, "--data", real_data / "ham10000", "--arrays", tmp_path / "arrays"]
    folds = tmp_path / "folds.csv"
    assert call_door("prepare", *common, "--set", "image.size=32").code == 0
    assert call_door("split", *common, "--set", "image.size=32", "--out", folds).code == 0

    table = pd.read_csv(folds).set_index("image_name")
    assert len(table) == 10_015
    assert table["target"].sum() == 1113
    assert table.groupby("lesion_id")["fold"].nunique().max() == 1
    for pair in IDENTICAL_ON_HAM10000:
        assert table.loc[sorted(pair), "group"].nunique() == 1
    positives = table.groupby("fold")["target"].sum()
    assert positives.max() - positives.min() <= 5


SEVEN_COUNTS = [327, 514, 1099, 115, 1113, 6705, 142]


def test_ham10000_s_seven_diagnoses_go_from_jpegs_to_even_folds(
    real_data: Path, tmp_path: Path, call_door: Door
) -> None:
    config = Path(__file__).resolve().parents[1] / "configs" / "ham10000_mobilenet.yaml"
    common = ["--config", config, "--data", real_data / "ham10000", "--arrays", tmp_path / "arrays"]
    small, folds = ["--set", "image.size=32"], ["--folds", tmp_path / "folds.csv"]
    assert call_door("prepare", *common, *small).code == 0
    split = call_door("split", *common, *small, *folds)
    assert split.code == 0
    assert "actinic keratosis / intraepithelial carcinoma" in split.out
    planned = call_door("train", *common, *small, *folds, "--fold", "0", "--dry-run")
    assert planned.code == 0, planned.err
    assert "115 dermatofibroma" not in planned.out
    assert "92 dermatofibroma" in planned.out

    table = pd.read_csv(tmp_path / "folds.csv")
    assert table["target"].value_counts().sort_index().tolist() == SEVEN_COUNTS
    assert table.groupby("lesion_id")["fold"].nunique().max() == 1
    for pair in IDENTICAL_ON_HAM10000:
        assert table[table["image_name"].isin(pair)]["group"].nunique() == 1
    held_out = pd.crosstab(table["label"], table["fold"])
    assert (held_out.max(axis=1) - held_out.min(axis=1) <= 1).all()

    # Seven classes in the file, two in the other recipe: nothing is trained on a guess.
    other = config.with_name("ham10000_melanoma.yaml")
    refusal = call_door("train", "--config", other, *common[2:], *small, *folds, "--fold", "0")
    assert refusal.code == 3
    assert "rows of a class that the recipe has not" in refusal.err
