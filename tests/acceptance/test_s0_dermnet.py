"""S0, Skin-Disease-Prediction: DermNet's 23 classes, ResNet152 embeddings and a head."""

from __future__ import annotations

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fold_tables import held, lesions
from interrupted import leaving_after_an_epoch
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score

from melanoma.data.folds import make_folds
from melanoma.data.images import decode_image
from melanoma.data.transforms import to_tensor
from melanoma.errors import DataError
from melanoma.models.classifier import make_classifier
from melanoma.scoring.files.score_files import likeliest_classes
from melanoma.training.embeddings import embedding_id, make_embeddings

CPU = torch.device("cpu")
FROZEN: dict[str, Any] = {
    "model": {"freeze_backbone": True, "head": {"hidden": [12], "dropout": 0.5}},
    "augment": [],
    "training": {"epochs": 2, "batch_size": 16},
}


def test_s0_1_a_tree_is_split_by_class_with_a_seed_and_optional_groups() -> None:
    target = np.repeat(np.arange(6), [100, 50, 40, 30, 25, 20])
    table = lesions(target)
    folds = make_folds(table, held(k=1, holdout=0.2, seed=3))
    shares = pd.crosstab(folds.whole["target"], folds.whole["fold"] == -2)[True]
    assert (np.abs(shares - 0.2 * np.bincount(target)) <= 1).all()
    assert make_folds(table, held(k=1, holdout=0.2, seed=3)).digest == folds.digest
    groups = [f"p{n // 5}" for n in range(len(target))]
    grouped = make_folds(lesions(target, groups), held(k=2)).frame
    assert grouped.groupby("patient_id")["fold"].nunique().max() == 1


def test_s0_2_embeddings_are_made_once_known_by_their_id_and_refused_when_damaged(
    trained: Any, recipe_of: Any, tmp_path: Path
) -> None:
    recipe, array = recipe_of(**FROZEN), trained.array
    torch.manual_seed(0)
    network = make_classifier("tiny", outputs=1, head=recipe.model.head)
    made = make_embeddings(network, recipe, array, tmp_path)
    when = made.path.stat().st_mtime_ns
    again = make_embeddings(network, recipe, array, tmp_path)
    assert again.path == made.path and made.path.stat().st_mtime_ns == when
    assert {"backbone", "weights", "normalize", "array"} <= set(made.id)
    torch.manual_seed(1)
    other = make_classifier("tiny", outputs=1, head=recipe.model.head)
    assert embedding_id(other, recipe, array) != made.id
    record = made.path.with_suffix(".json")
    record.write_text(record.read_text().replace('"tiny"', '"tine"'))
    with pytest.raises(DataError):
        make_embeddings(network, recipe, array, tmp_path)


def test_s0_3_the_head_is_the_original_s_and_the_run_holds_the_whole_classifier(
    config: Any, recipe_of: Any, fit: Any
) -> None:
    recipe = config("dermnet_resnet152")
    assert recipe.model.backbone == "resnet152" and recipe.model.freeze_backbone
    head = recipe.model.head
    assert (head.hidden, head.activation, head.dropout) == ((1000,), "relu", 0.5)
    assert (recipe.optimizer.name, recipe.optimizer.rate) == ("adam", 1e-4)
    assert (recipe.training.batch_size, recipe.training.epochs) == (32, 100)
    assert (recipe.schedule.name, recipe.schedule.metric) == ("plateau", "loss")
    run = fit(recipe_of(**FROZEN))
    assert run.facts.embeddings
    from safetensors.torch import load_file

    names = set(load_file(run.folder / "model.safetensors"))
    assert any(n.startswith("backbone.") for n in names)
    assert any(n.startswith("head.") for n in names)


def test_s0_4_a_resumed_head_equals_the_unbroken_one(
    recipe_of: Any, fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(**FROZEN)
    whole = fit(recipe, "whole")
    with leaving_after_an_epoch(monkeypatch):
        fit(recipe, "broken")
    assert fit(recipe, "broken").facts.files["oof.csv"] == whole.facts.files["oof.csv"]


def test_s0_5_twenty_three_names_in_the_recipe_and_the_top_three_of_any(config: Any) -> None:
    classes = config("dermnet_resnet152").classes
    assert len(classes) == len(set(classes)) == 23
    by_class = {name: number / 300 for number, name in enumerate(classes)}
    assert [name for name, _ in likeliest_classes(by_class, 3)] == list(classes[:-4:-1])


def test_s0_6_the_embedding_at_training_is_the_served_one(trained: Any, scorer: Any) -> None:
    network = scorer.classifiers[0]
    pixels = decode_image(trained.photograph(11)).pixels
    with torch.inference_mode():
        served = network.embed(to_tensor(scorer.square(pixels)[None], normalize="imagenet"))
        row = network.embed(to_tensor(trained.array.rows([11]), normalize="imagenet"))
    assert torch.equal(served, row)


def test_s0_7_the_page_has_name_type_size_preview_and_the_command_its_top_three(
    client: Any, page: str, call_door: Any, given: Any, photograph: bytes, tmp_path: Path
) -> None:
    body = client.get("/").text
    assert 'id="facts"' in body and 'id="preview"' in body and ".size" in page and ".type" in page
    file = tmp_path / "mole.jpg"
    file.write_bytes(photograph)
    answer = call_door("predict", file, *given[:4], "--out", tmp_path / "o.csv", "--top", 3)
    assert answer.code == 0, answer.err
    ranked = [line for line in answer.out.splitlines() if line.endswith(" %")]
    assert len(ranked) == 2
    assert all(len(line.split()[-2].partition(".")[2]) == 2 for line in ranked)


def test_s0_8_rgba_grey_cmyk_and_rotated_photographs_score(scorer: Any, photograph: bytes) -> None:
    picture = Image.open(io.BytesIO(photograph)).convert("RGB")

    def scored(image: Image.Image, kind: str, **options: Any) -> float:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return scorer.score(file.getvalue()).melanoma_probability

    plain = scored(picture, "PNG")
    assert scored(picture.convert("RGBA"), "PNG") == plain
    for mode in ("L", "CMYK"):
        assert 0 < scored(picture.convert(mode), "JPEG") < 1
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    assert scored(turned, "PNG", exif=exif) == plain
    assert scored(turned, "PNG") != plain


def test_s0_9_recalls_balanced_accuracy_macro_f1_and_confusion_of_each_part(
    folder_run: Any, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(folder_run.weights, weights, copy_function=os.link)
    replace(folder_run, weights=weights).evaluate()  # as the command does after the folds
    for part in ("oof.csv", "test/scores.csv"):
        table = pd.read_csv(weights / part)
        report = json.loads((weights / part).with_name("report.json").read_text())
        names = report["classes"]
        said = table[[f"prob_{name}" for name in names]].to_numpy().argmax(axis=1)
        counts = np.array(report["confusion"]["counts"])
        assert np.array_equal(counts, confusion_matrix(table["target"], said, labels=[0, 1, 2]))
        recall = counts.diagonal() / counts.sum(axis=1)
        assert [line["recall"]["value"] for line in report["per_class"]] == pytest.approx(recall)
        metrics = {name: one["value"] for name, one in report["metrics"].items()}
        assert metrics["accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
        assert metrics["balanced_accuracy"] == pytest.approx(recall.mean())
        wanted = f1_score(table["target"], said, average="macro", labels=[0, 1, 2])
        assert metrics["macro_f1"] == pytest.approx(wanted)
