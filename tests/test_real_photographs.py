"""The whole way through, on real dermoscopy images. Skipped where the data folder is absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.data.arrays import load_array
from melanoma.data.readers.labels import HAM10000_CLASSES
from melanoma.recipe.sections import Image
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

Door = Callable[..., Any]
IDENTICAL_ON_HAM10000 = ({"ISIC_0024366", "ISIC_0029861"}, {"ISIC_0024777", "ISIC_0029938"})


@pytest.mark.usefixtures("set_by_hand")
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
    assert oof["logit"].nunique() > 1100, "the photographs cannot be told apart"

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


@pytest.fixture
def ham10000_part(real_data: Path, tmp_path: Path) -> Path:
    """All images of ten lesions of each diagnosis, and those that are there twice, whose lesion
    does not join them here. The whole table's counts are tests/data/test_folds.py's."""
    table = pd.read_csv(real_data / "ham10000/HAM10000_metadata.csv")
    few = table.groupby("dx")["lesion_id"].transform(lambda ids: pd.factorize(ids)[0]) < 10
    twice = table["image_id"].isin(set().union(*IDENTICAL_ON_HAM10000))
    table["lesion_id"] = table["lesion_id"].mask(twice, table["image_id"])
    folder = tmp_path / "ham10000"
    (folder / "HAM10000_images").mkdir(parents=True)
    for image in table["image_id"][few | twice]:
        name = f"HAM10000_images/{image}.jpg"
        shutil.copy(real_data / "ham10000" / name, folder / name)
    table[few | twice].to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


def test_ham10000_s_seven_diagnoses_go_from_jpegs_to_folds_with_their_lesions_whole(
    ham10000_part: Path, call_door: Door
) -> None:
    config = Path(__file__).resolve().parents[1] / "configs" / "ham10000_mobilenet.yaml"
    common = ["--data", ham10000_part, "--set", "image.size=32", "--folds", "folds.csv"]
    assert call_door("prepare", "--config", config, *common[:-2]).code == 0
    split = call_door("split", "--config", config, *common)
    assert split.code == 0
    assert "actinic keratosis / intraepithelial carcinoma" in split.out
    planned = call_door("train", "--config", config, *common, "--fold", "0", "--dry-run")
    assert planned.code == 0, planned.err

    table = pd.read_csv("folds.csv").set_index("image_name")
    diagnoses = pd.read_csv(ham10000_part / "HAM10000_metadata.csv").set_index("image_id")["dx"]
    assert table["label"].to_dict() == diagnoses.map(HAM10000_CLASSES).to_dict()
    assert table.groupby("lesion_id")["fold"].nunique().max() == 1
    for pair in IDENTICAL_ON_HAM10000:
        assert table.loc[sorted(pair), "group"].nunique() == 1
    learned = table["label"][table["fold"] != 0].value_counts()["dermatofibroma"]
    assert learned < (table["label"] == "dermatofibroma").sum()
    assert f"{learned} dermatofibroma" in planned.out

    # Seven classes in the file, two in the other recipe: nothing is trained on a guess.
    other = config.with_name("ham10000_melanoma.yaml")
    refusal = call_door("train", "--config", other, *common, "--fold", "0")
    assert refusal.code == 3
    assert "rows of a class that the recipe has not" in refusal.err
    assert call_door("split", "--config", other, *common).code == 0
    for_two = pd.read_csv("folds.csv").set_index("image_name")
    assert (for_two["target"] == (diagnoses == "mel")).all()
    for pair in IDENTICAL_ON_HAM10000:
        assert for_two.loc[sorted(pair), "group"].nunique() == 1


# The tree of the MLBIO project: one table, a folder of training images and one of test images.


@pytest.fixture
def s2_tree(real_data: Path, tmp_path: Path) -> Path:
    """All images of 12 lesions of each diagnosis, every fourth lesion in the test folder."""
    table = pd.read_csv(real_data / "ham10000/HAM10000_metadata.csv")
    kept = table.groupby("dx")["lesion_id"].transform(lambda ids: pd.factorize(ids)[0]) < 12
    table = table[kept]
    part = pd.Series(pd.factorize(table["lesion_id"])[0] % 4 == 3, table.index)
    for image, tested in zip(table["image_id"], part, strict=True):
        folder = tmp_path / "s2" / f"HAM10000_images_{'test' if tested else 'train'}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(real_data / f"ham10000/HAM10000_images/{image}.jpg", folder)
    table.to_csv(tmp_path / "s2/HAM10000_metadata.csv", index=False)
    return tmp_path / "s2"


@pytest.fixture
def s2_options(s2_tree: Path, tiny_recipe: Callable[..., Path]) -> list[str | Path]:
    config = tiny_recipe(
        classes=list(HAM10000_CLASSES.values()),
        data={"reader": "ham10000"},
        image={"fit": "center"},
        folds={"k": 2, "holdout": "folders"},
        loss={"name": "cross_entropy"},
        selection={"keep": "last"},
    )
    return ["--config", config, "--data", s2_tree, "--device", "cpu"]


@pytest.mark.usefixtures("set_by_hand")
def test_the_s2_tree_is_trained_on_one_folder_and_tested_once_on_the_other(
    s2_tree: Path, s2_options: list[str | Path], call_door: Door
) -> None:
    answer = call_door("train", *s2_options, "--fold", "all")
    assert answer.code == 0, answer.err
    answer = call_door("evaluate", *s2_options)
    assert answer.code == 0, answer.err
    stems = {
        part: {p.stem for p in (s2_tree / f"HAM10000_images_{part}").iterdir()}
        for part in ("train", "test")
    }
    assert set(pd.read_csv("weights/tiny/oof.csv")["image_name"]) == stems["train"]
    scores = pd.read_csv("weights/tiny/test/scores.csv")
    assert set(scores["image_name"]) == stems["test"]
    metadata = pd.read_csv(s2_tree / "HAM10000_metadata.csv").set_index("image_id")
    names = metadata.loc[scores["image_name"], "dx"].map(HAM10000_CLASSES)
    assert scores["label"].tolist() == names.tolist()
    columns = [f"prob_{name}" for name in HAM10000_CLASSES.values()]
    called = scores[columns].idxmax(axis=1).str.removeprefix("prob_")
    report = json.loads(Path("weights/tiny/test/report.json").read_text())
    right = (called == scores["label"]).mean()
    assert report["metrics"]["accuracy"]["value"] == pytest.approx(right)
    melanoma = scores["label"] == "melanoma"
    assert report["metrics"]["auroc"]["value"] == pytest.approx(
        roc_auc_score(melanoma, scores["prob_melanoma"])
    )
    again = call_door("evaluate", *s2_options)
    assert "these weights scored the test part before" in again.err


def test_a_lesion_in_both_folders_of_the_s2_tree_is_named_and_refused(
    s2_tree: Path, s2_options: list[str | Path], call_door: Door
) -> None:
    table = pd.read_csv(s2_tree / "HAM10000_metadata.csv")
    trained = {p.stem for p in (s2_tree / "HAM10000_images_train").iterdir()}
    twice = table[table["image_id"].isin(trained) & table["lesion_id"].duplicated()].iloc[0]
    file = f"{twice['image_id']}.jpg"
    (s2_tree / "HAM10000_images_train" / file).rename(s2_tree / "HAM10000_images_test" / file)
    answer = call_door("split", *s2_options[:4], "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["leaks"]["lesions"] == [twice["lesion_id"]]
    answer = call_door("train", *s2_options, "--fold", "0")
    assert answer.code == 3
    assert f"1 lesions in more than one part ({twice['lesion_id']})" in answer.err
    assert not Path("weights").exists()
    allowed = call_door("train", *s2_options, "--fold", "0", "--dry-run", "--allow-leak")
    assert allowed.code == 0
    # A share instead of the folders, and the same images leak no more.
    mended = ["--set", "folds.holdout=0.25", "--folds", "mended.csv"]
    assert call_door("train", *s2_options, *mended, "--fold", "all", "--dry-run").code == 2
    assert call_door("split", *s2_options[:4], *mended).code == 0
    assert call_door("train", *s2_options, *mended, "--fold", "all", "--dry-run").code == 0


def test_a_missing_file_of_the_s2_tree_is_named(
    s2_tree: Path, s2_options: list[str | Path], call_door: Door
) -> None:
    gone = sorted((s2_tree / "HAM10000_images_test").iterdir())[0]
    gone.unlink()
    answer = call_door("train", *s2_options, "--fold", "0")
    assert answer.code == 3
    assert f"images missing: {gone.stem}" in answer.err
    assert "data.rows=with_image leaves them out" in answer.err
    wanted = [*s2_options, "--set", "data.rows=with_image"]
    assert call_door("prepare", *wanted[:4], *wanted[-2:]).code == 0
    (s2_tree / "HAM10000_metadata.csv").unlink()
    answer = call_door("train", *s2_options, "--fold", "0")
    assert answer.code == 3
    assert "no table at" in answer.err
    assert "HAM10000_metadata.csv" in answer.err
