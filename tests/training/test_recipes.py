"""The other systems' recipes, as they are but small and short, train from an array to a FoldRun."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from melanoma.data.arrays import ImageArray
from melanoma.data.folds import FoldTable
from melanoma.devices import seed_everything
from melanoma.models.backbones import find_backbone
from melanoma.models.classifier import make_classifier
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.fit import fit_fold
from melanoma.training.fold_data import FoldData, select_fold
from melanoma.workflows.train import check_recipe
from melanoma.workflows.watch import Watch

CONFIGS = Path(__file__).parents[2] / "configs"
# What every one of them is made small by. The data come as an array and folds, whatever the reader.
SMALL = (
    "data={reader: csv_folder}",
    "image.size=32",
    "folds={name: small, k: 2}",
    "model.backbone=tiny_resnet",
    "model.pretrained=none",
    "training.precision=float32",
    "training.workers=0",
)
ONE = (*SMALL, "training.epochs=1")
TWO = (*SMALL, "stages.0.epochs=1", "stages.1.epochs=1")
RUNS = {
    "ham10000_resnet34": ("ham10000_resnet34", ONE),
    "ham10000 frozen": ("ham10000_resnet34", (*ONE, "model.freeze_backbone=true")),
    "isic_densenet161": ("isic_densenet161", TWO),
    "skin22_efficientnet_b3": ("skin22_efficientnet_b3", ONE),
    "dermnet_resnet152": ("dermnet_resnet152", ONE),
}


@pytest.fixture
def data_of(tmp_path: Path) -> Callable[[Recipe], FoldData]:
    """A photograph of noise a class for either fold, four where there are two classes."""

    def make(recipe: Recipe) -> FoldData:
        each = 2 if len(recipe.classes) > 2 else 8
        labels = [name for name in recipe.classes for _ in range(each)]
        names = [f"image {number}" for number in range(len(labels))]
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (len(names), 32, 32, 3), dtype=np.uint8)
        np.save(tmp_path / "x_train_32.npy", pixels)
        array = ImageArray(tmp_path / "x_train_32.npy", 32, tuple(names), tuple(names))
        target = [recipe.classes.index(label) for label in labels]
        frame = pd.DataFrame(
            {
                "image_name": names,
                "patient_id": names,
                "lesion_id": "",
                "age": np.nan,
                "sex": "",
                "site": "",
                "source": "",
                "label": labels,
                "target": target,
                "group": names,
                "fold": [number % 2 for number in range(len(names))],
            }
        )
        return select_fold(array, FoldTable(frame), 0, classes=recipe.classes)

    return make


@pytest.mark.parametrize("name", list(RUNS))
def test_a_recipe_starts_trains_and_scores_its_fold(
    name: str, data_of: Callable[[Recipe], FoldData], tmp_path: Path
) -> None:
    config, overrides = RUNS[name]
    recipe = load_recipe(CONFIGS / f"{config}.yaml", overrides)
    # That its own one trains, test_backbones.py shows.
    find_backbone(load_recipe(CONFIGS / f"{config}.yaml").model.backbone)
    data = data_of(recipe)
    run = fit_fold(
        recipe,
        data,
        tmp_path / "fold_0",
        device=torch.device("cpu"),
        imagenet=tmp_path,
        embeddings=tmp_path / "arrays",
    )
    logits = run.scores.logits()
    shape = (len(data.validation), recipe.outputs)
    assert logits.shape == shape
    assert np.isfinite(logits).all()
    lines = [
        json.loads(line) for line in (tmp_path / "fold_0/metrics.jsonl").read_text().splitlines()
    ]
    assert len(lines) == len(recipe.stage_plans)
    assert all(line["skipped_steps"] == 0 and np.isfinite(line["loss"]) for line in lines)
    _check_rates(recipe, lines)
    if recipe.model.freeze_backbone and not recipe.augment:
        assert np.load(tmp_path / "arrays" / run.facts.embeddings).shape == (46, 64)
    moved = _moved(recipe, load_file(tmp_path / "fold_0/model.safetensors"))
    assert {"head"} == moved if recipe.model.freeze_backbone else {"head", "backbone"} == moved


def _moved(recipe: Recipe, trained: dict[str, Tensor]) -> set[str]:
    """Which parts have a matrix or kernel that is not as fresh ones are."""
    seed_everything(recipe.seed, 0)
    model = recipe.model
    fresh = make_classifier(
        model.backbone, outputs=recipe.outputs, dropout=model.dropout, head=model.head
    ).state_dict()
    return {
        key.split(".")[0]
        for key, value in trained.items()
        if value.ndim > 1 and not torch.equal(value, fresh[key])
    }


def _check_rates(recipe: Recipe, lines: list[dict[str, Any]]) -> None:
    """Both rates are in the metrics where the backbone learns at another than the head."""
    rules = recipe.stage_plans[-1].optimizer
    if rules.backbone_ratio != 1:
        low, high = lines[-1]["rates"]
        assert low / high == pytest.approx(rules.backbone_ratio)
    if rules.depth_decay != 1:
        rates = lines[-1]["rates"]
        assert rates[0] / rates[-1] == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        (("model.freeze_backbone=true", "model.pretrained=none"), True),
        (("model.freeze_backbone=true", "model.pretrained=imagenet"), False),
        (("model.freeze_backbone=false", "model.pretrained=none"), False),
    ],
)
def test_a_head_on_frozen_noise_is_warned_of(changes: tuple[str, ...], warned: bool) -> None:
    lines: list[str] = []
    recipe = load_recipe(CONFIGS / "dermnet_resnet152.yaml", changes)
    check_recipe(recipe, watch=Watch(say=lines.append))
    assert any("its features are noise" in line for line in lines) == warned


@pytest.mark.parametrize(
    ("normalize", "warned"),
    [
        ("imagenet", False),
        ("{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}", False),
        ("{mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}", True),
        ("half", True),
    ],
)
def test_another_scaling_than_the_published_weights_own_is_warned_of(
    normalize: str, warned: bool
) -> None:
    lines: list[str] = []
    changes = ("model.pretrained=imagenet", f"image.normalize={normalize}")
    recipe = load_recipe(CONFIGS / "dermnet_resnet152.yaml", changes)
    check_recipe(recipe, watch=Watch(say=lines.append))
    assert any("another scaling" in line for line in lines) == warned
