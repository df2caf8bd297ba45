"""The finished folds of a run: whose they are, and what is refused before anything is reported."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_bundle import TinyRun

from melanoma.data.folds import FoldTable, load_folds, save_folds
from melanoma.errors import DataError, FoldError, WeightsError
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.storage import sha256_of
from melanoma.workflows.finished import FinishedFolds, finished_folds, require_same_images
from melanoma.workflows.watch import Watch


@pytest.fixture
def place(trained: TinyRun, tmp_path: Path) -> Path:
    """A copy of the small run with its data and arrays, to spoil. Its files are links."""
    base = trained.folder.parent
    for name in (trained.folder.name, "data", "arrays"):
        shutil.copytree(base / name, tmp_path / name, copy_function=os.link)
    for path in base.glob("folds*"):
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.fixture
def weights(place: Path, trained: TinyRun) -> Path:
    return place / trained.folder.name


def read(
    weights: Path, recipe: Recipe, said: list[str] | None = None, **options: Any
) -> FinishedFolds:
    watch = Watch(say=[].append if said is None else said.append)
    return finished_folds(recipe, weights, weights.parent / "folds.csv", watch=watch, **options)


def changed(recipe: Recipe, **sections: Any) -> Recipe:
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    for name, section in sections.items():
        is_section = isinstance(section, dict) and isinstance(values.get(name), dict)
        values[name] = {**values[name], **section} if is_section else section
    return make_recipe(values)


def write_recipe(folder: Path, **sections: Any) -> None:
    """Fold folder's recipe with other values, as if another had been trained there."""
    path = folder / "recipe.yaml"
    values = yaml.safe_load(path.read_text())
    for name, section in sections.items():
        values[name] = {**values[name], **section} if isinstance(section, dict) else section
    path.unlink()
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    facts = json.loads((folder / "run.json").read_text())
    facts["files"]["recipe.yaml"] = sha256_of(path)
    (folder / "run.json").unlink()
    (folder / "run.json").write_text(json.dumps(facts))


def test_the_scores_of_all_folds_stand_in_the_order_of_the_fold_file(
    weights: Path, trained: TinyRun
) -> None:
    found = read(weights, trained.recipe)
    assert [run.fold for run in found.runs] == [facts.fold for facts in found.facts] == [0, 1]
    names = load_folds(weights.parent / "folds.csv").frame["image_name"].tolist()
    assert found.scores.frame["image_name"].tolist() == names
    own = found.runs[1].scores.frame.set_index("image_name")["logit"]
    whole = found.scores.frame.set_index("image_name")["logit"]
    assert whole[own.index].tolist() == own.tolist()


def test_an_absent_fold_is_refused_or_left_out_with_its_images(
    weights: Path, trained: TinyRun
) -> None:
    shutil.rmtree(weights / "fold_1")
    with pytest.raises(WeightsError, match="fold_1"):
        read(weights, trained.recipe)
    found = read(weights, trained.recipe, allow_missing=True)
    assert [run.fold for run in found.runs] == [0]
    frame = found.table.frame
    held_out = frame["image_name"][frame["fold"] == 0].tolist()
    assert found.scores.frame["image_name"].tolist() == held_out
    shutil.rmtree(weights / "fold_0")
    with pytest.raises(WeightsError, match="no finished fold in"):
        read(weights, trained.recipe, allow_missing=True)


def test_folds_that_were_trained_on_another_fold_file_are_refused(
    weights: Path, trained: TinyRun
) -> None:
    path = weights.parent / "folds.csv"
    frame = load_folds(path).whole.copy()
    frame.loc[0, "fold"] = 1 - frame.loc[0, "fold"]
    save_folds(FoldTable(frame), path)
    with pytest.raises(WeightsError, match=r"trained on other folds than .*folds\.csv"):
        read(weights, trained.recipe)


def test_folds_of_several_recipes_are_refused_by_what_differs(
    weights: Path, trained: TinyRun
) -> None:
    write_recipe(weights / "fold_1", seed=41)
    with pytest.raises(WeightsError, match=r"fold_1 and .*fold_0 were trained .*\(seed: .*41"):
        read(weights, trained.recipe)


def test_folds_of_several_arrays_or_sources_are_refused_by_what_differs(
    weights: Path, trained: TinyRun
) -> None:
    path = weights / "fold_1" / "run.json"
    facts = json.loads(path.read_text())
    source = {"name": "year", "images": 5, "left_out": 0, "weight": 1.0}
    others = {
        "array: [0-9a-f]{12} -> other": {"array_digest": "other"},
        "source year: None -> other": {"sources": [{**source, "digest": "other"}]},
    }
    for said, values in others.items():
        path.unlink()
        path.write_text(json.dumps({**facts, **values}))
        with pytest.raises(WeightsError, match=rf"fold_1 and .*fold_0 were .* data \({said}\)"):
            read(weights, trained.recipe)
    # Of what an earlier version did not write down nothing is known.
    path.unlink()
    path.write_text(json.dumps({**facts, "auxiliary": "0123"}))
    assert len(read(weights, trained.recipe).runs) == 2


def test_folds_of_several_sizes_are_refused_by_the_size_and_not_by_their_arrays(
    weights: Path, trained: TinyRun
) -> None:
    write_recipe(weights / "fold_1", image={"size": 64})
    path = weights / "fold_1" / "run.json"
    facts = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**facts, "array_digest": "other"}))
    with pytest.raises(WeightsError, match=r"different recipes \(image\.size: 32 -> 64\)"):
        read(weights, trained.recipe)


def test_what_was_trained_is_reported_and_only_the_evaluation_is_as_asked(
    weights: Path, trained: TinyRun
) -> None:
    said: list[str] = []
    wanted = {"resamples": 150, "views": 2, "calibration": "temperature"}
    asked = changed(trained.recipe, evaluation=wanted, image_type="clinical")
    found = read(weights, asked, said).recipe
    assert (found.evaluation.resamples, found.evaluation.calibration) == (150, "temperature")
    assert found.evaluation.views == trained.recipe.evaluation.views, "of the scores that there are"
    assert found.image_type == "clinical"
    other: list[str] = []
    found = read(weights, changed(trained.recipe, optimizer={"rate": 0.5}), other).recipe
    assert found.optimizer == trained.recipe.optimizer
    assert len(other) == 1 and "reporting what was trained" in other[0]
    assert "optimizer.rate" in other[0]
    silent: list[str] = []
    assert read(weights, trained.recipe, silent).recipe.digest() == trained.recipe.digest()
    assert silent == []


def require(found: FinishedFolds, place: Path, arrays: Path | None) -> list[str]:
    said: list[str] = []
    require_same_images(found, place / "data", arrays, watch=Watch(say=said.append))
    return said


def test_images_that_were_replaced_since_training_are_refused(
    place: Path, weights: Path, trained: TinyRun
) -> None:
    found = read(weights, trained.recipe)
    assert require(found, place, place / "arrays") == []
    first, second = sorted((place / "data/jpeg/train").iterdir())[:2]
    second.unlink()
    shutil.copy(first, second)
    with pytest.raises(DataError, match=f"1 of 80 image files have changed.*{second.stem}"):
        require(found, place, place / "arrays")
    # Without the array nothing tells what they were.
    assert require(found, place, None) == require(found, place, place / "none") == []


def test_a_table_that_was_corrected_since_training_is_refused(
    place: Path, weights: Path, trained: TinyRun
) -> None:
    found = read(weights, trained.recipe)
    path = place / "data/train.csv"
    text = path.read_text()
    path.unlink()
    path.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(FoldError, match=r"1 rows \(removed 1\)"):
        require(found, place, None)


def test_folds_scored_over_views_that_were_mirror_images_are_refused(
    weights: Path, trained: TinyRun
) -> None:
    for folder in weights.glob("fold_*"):
        write_recipe(folder, evaluation={"views": 4})
    read(weights, trained.recipe)
    path = weights / "fold_1" / "run.json"
    facts = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**facts, "view_order": 1}))
    with pytest.raises(WeightsError, match=r"fold_1 was scored .* 4 views were mirror images"):
        read(weights, trained.recipe)
