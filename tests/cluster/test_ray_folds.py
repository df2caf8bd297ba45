"""Folds on two Ray nodes: what they give without Ray, also when a node is killed on the way."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from melanoma.cluster.ray_folds import train_on_ray
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.fold_data import FoldData
from melanoma.training.run.run_folder import fold_folder
from melanoma.workflows.train import select_folds, train_fold
from melanoma.workflows.watch import Watch


@pytest.fixture(scope="module")
def inputs(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A recipe of three folds, their data, and their oof.csv without Ray."""
    import yaml

    folder = tmp_path_factory.mktemp("folds")
    values = {
        "name": "tiny",
        "data": {"reader": "siim"},
        "image": {"size": 32},
        "folds": {"name": "tiny", "k": 3},
        "model": {"backbone": "resnet18", "pretrained": "none"},
        "schedule": {"name": "constant"},
        "training": {"epochs": 3, "batch_size": 16, "precision": "float32"},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    recipe = load_recipe(folder / "tiny.yaml")
    parts = select_folds(
        recipe, data=phantom_set, arrays=folder / "arrays", folds=folder / "folds.csv"
    )
    for part in parts:
        train_fold(recipe, part, folder / "alone", device="cpu")
    return recipe, parts, folder


def oof(folder: Path, fold: int) -> bytes:
    return (fold_folder(folder, fold) / "oof.csv").read_bytes()


def test_folds_on_two_nodes_are_the_folds_without_ray_although_a_node_is_killed(
    inputs: tuple[Recipe, list[FoldData], Path], two_nodes: Any, tmp_path: Path
) -> None:
    import ray

    recipe, parts, folder = inputs
    third = two_nodes.add_node(**two_nodes.options)
    said: list[str] = []
    moment = random.Random(time.time_ns()).uniform(0, 2)
    killed: list[float] = []

    def epoch(record: dict[str, Any]) -> None:
        said.append(f"fold {record['fold']} epoch {record['epoch']}")
        if not killed:
            time.sleep(moment)
            killed.append(moment)
            for process in psutil.process_iter(["cmdline"]):
                if "ray::_Lines" in " ".join(process.info["cmdline"] or ()):
                    process.kill()  # who gathers what all say
            two_nodes.remove_node(third, allow_graceful=False)

    runs = train_on_ray(
        ray,
        recipe,
        parts,
        tmp_path / "runs",
        arrays=folder / "arrays",
        device="cpu",
        watch=Watch(say=said.append, epoch=epoch),
    )
    assert killed, said
    assert [run.fold for run in runs] == [0, 1, 2]
    for fold in range(3):
        assert oof(tmp_path / "runs", fold) == oof(folder / "alone", fold), (moment, said)
