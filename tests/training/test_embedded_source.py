"""What a fold that trains a head alone reads: given embeddings, its backbone's own, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from melanoma.errors import DataError
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.recipe.recipe import Recipe
from melanoma.training.embedded_source import embedded_source
from melanoma.training.embeddings import make_embeddings
from melanoma.training.watchers import Watchers

Source = Callable[..., Any]


@pytest.fixture
def classifier() -> Classifier:
    return make_classifier("tiny", outputs=1)


@pytest.fixture
def source(classifier: Classifier, tmp_path: Path) -> Source:
    """embedded_source of the classifier, its cache in the test's folder."""

    def make(recipe: Recipe, data: Any, said: list[str], between: Any = lambda: None) -> Any:
        watchers = Watchers(say=said.append)
        options = {"workers": 0, "between": between, "watchers": watchers}
        return embedded_source(recipe, data, classifier, tmp_path / "cache", **options)

    return make


@pytest.fixture
def frozen(recipe_of: Any) -> Callable[..., Recipe]:
    def make(**changes: Any) -> Recipe:
        model = {"freeze_backbone": True, "pretrained": "none"}
        return recipe_of(**{"augment": [], "model": model, **changes})

    return make


def test_a_frozen_backbone_s_own_embeddings_are_named_by_their_file(
    place: Any, source: Source, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    said: list[str] = []
    steps: list[int] = []
    found, name = source(frozen(), place.data(0), said, between=lambda: steps.append(1))
    assert (tmp_path / "cache" / name).is_file()
    assert said == [f"the backbone is frozen: training on {tmp_path / 'cache' / name}"]
    assert steps, "a run can be interrupted between the batches"
    rows = np.array([3, 0, 63], dtype=np.int64)
    every = make_embeddings(classifier, frozen(), place.array, tmp_path / "other")
    assert np.array_equal(found.rows(rows), every.rows(rows))


def test_rows_without_a_target_are_not_embedded(place: Any, source: Source, frozen: Any) -> None:
    """Those of a test part."""
    data = place.data(0)
    targets = data.targets.copy()
    targets[[5, 9]] = -1
    found, _ = source(frozen(), replace(data, targets=targets), [])
    assert len(found.rows(np.array([4, 6], dtype=np.int64))) == 2
    for row in (5, 9):
        with pytest.raises(DataError, match="lacks the embedding of an image"):
            found.rows(np.array([row], dtype=np.int64))


def test_where_images_change_or_come_from_elsewhere_there_are_none_and_it_is_said(
    place: Any, source: Source, frozen: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    assert source(frozen(augment=[{"flip_horizontal": {}}]), place.data(0), said) is None
    another: Any = ("a source",)
    assert source(frozen(), replace(place.data(0), sources=another), said) is None
    stages = [{"epochs": 2, "frozen": True, "size": 32}]
    smaller = frozen(model={"pretrained": "none"}, image={"size": 64}, stages=stages)
    assert source(smaller, place.data(0), said) is None
    assert said == [
        "the backbone is frozen, but augment changes the images: it runs for every batch",
        "the backbone is frozen, but there are data.sources: it runs for every batch",
        "the backbone is frozen, but a stage has a size of its own: it runs for every batch",
    ]
    assert not (tmp_path / "cache").exists()


def test_given_embeddings_are_taken_and_no_file_of_ours_is_written(
    place: Any, source: Source, frozen: Any, tmp_path: Path
) -> None:
    path = tmp_path / "other.npy"
    values = np.arange(2 * len(place.array.names), dtype=np.float32).reshape(-1, 2)
    np.save(path, values)
    path.with_suffix(".txt").write_text("".join(f"{name}\n" for name in place.array.names))
    said: list[str] = []
    recipe = frozen(model={"embeddings": str(path)})
    found, name = source(recipe, place.data(0), said)
    assert name is None, "not the backbone's own"
    rows = np.array([7, 2], dtype=np.int64)
    assert np.array_equal(found.rows(rows), values[rows])
    assert said == [f"training a head on {path}"]
    assert not (tmp_path / "cache").exists()
