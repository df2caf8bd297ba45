"""model.embeddings: another model's numbers train a head on the same folds; nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.errors import DataError, RecipeError, WeightsError
from melanoma.training.given_embeddings import open_given
from melanoma.training.run.facts import read_facts

HEAD: dict[str, Any] = {
    "augment": [],
    "training": {"epochs": 30, "batch_size": 16},
    "optimizer": {"rate": 0.05},
}


@pytest.fixture
def file(place: Any, tmp_path: Path) -> Path:
    """Embeddings in which the second of three numbers tells melanoma; in another order than the
    array, with one image more."""
    names = [*place.array.names, "stranger"]
    order = np.random.default_rng(0).permutation(len(names))
    target = dict(zip(place.folds.frame["image_name"], place.folds.frame["target"], strict=True))
    rows = np.random.default_rng(1).normal(size=(len(names), 3)).astype(np.float32)
    rows[:, 1] += [4.0 * target.get(name, 0) for name in names]
    np.save(tmp_path / "other.npy", rows[order])
    (tmp_path / "other.txt").write_text("\n".join(names[n] for n in order) + "\n")
    return tmp_path / "other.npy"


def test_a_head_learns_what_the_embeddings_tell_of_the_right_images(
    fit: Any, place: Any, recipe_of: Any, file: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(**HEAD, model={"embeddings": str(file)})
    run = fit(recipe, tmp_path / "run")
    assert roc_auc_score(run.scores.target, run.scores.logits()[:, 0]) > 0.95
    held_out = [place.array.names[row] for row in place.data(0).validation]
    assert run.scores.frame["image_name"].tolist() == held_out
    facts = read_facts(tmp_path / "run")
    assert facts is not None
    assert str(facts.embeddings).startswith("other.npy, sha256 ")


def test_rows_are_found_by_name_in_csv_too(place: Any, file: Path) -> None:
    data = place.data(0)
    by_line = open_given(file, data).rows(data.training)
    names = file.with_suffix(".txt").read_text().split()
    file.with_suffix(".csv").write_text("image_name,more\n" + "".join(f"{n},1\n" for n in names))
    file.with_suffix(".txt").unlink()
    assert np.array_equal(open_given(file, data).rows(data.training), by_line)
    expected = np.load(file)[names.index(data.array.names[data.training[3]])]
    assert np.array_equal(by_line[3], expected)


def test_another_file_of_the_same_name_is_another_run(
    fit: Any, recipe_of: Any, file: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(**{**HEAD, "training": {"epochs": 1}}, model={"embeddings": str(file)})
    fit(recipe, tmp_path / "run")
    np.save(file, np.load(file) + 1)
    with pytest.raises(WeightsError, match=r"model\.embeddings: other\.npy, sha256"):
        fit(recipe, tmp_path / "run")


def test_a_file_that_does_not_fit_is_one_line(place: Any, file: Path) -> None:
    data, values = place.data(0), np.load(file)
    names = file.with_suffix(".txt").read_text().split()
    file.with_suffix(".txt").write_text("\n".join(names[:-1]))
    with pytest.raises(DataError, match="65 rows and 64 names"):
        open_given(file, data)
    file.with_suffix(".txt").write_text("\n".join(["x", *names[1:]]))
    with pytest.raises(DataError, match="lacks 1 images of the folds"):
        open_given(file, data)
    file.with_suffix(".txt").write_text("\n".join([names[1], *names[1:]]))
    with pytest.raises(DataError, match="a name stands twice"):
        open_given(file, data)
    file.with_suffix(".txt").write_text("\n".join(names))
    values[names.index(data.array.names[data.validation[0]]), 2] = np.nan
    np.save(file, values)
    with pytest.raises(DataError, match="holds what is no number"):
        open_given(file, data)
    np.save(file, np.zeros((4, 4, 3, 3)))
    with pytest.raises(DataError, match=r"\(images, numbers\) was expected"):
        open_given(file, data)
    with pytest.raises(DataError, match="no file at"):
        open_given(file.with_name("none.npy"), data)


def test_what_needs_images_is_refused_beside_embeddings(recipe_of: Any) -> None:
    with pytest.raises(RecipeError, match="there are no images, so augment, evaluation"):
        recipe_of(model={"embeddings": "x.npy"}, evaluation={"views": 4})
