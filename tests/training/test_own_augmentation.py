"""A recipe's own augmentation: a file beside it, by its sha256; nothing else is ever run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from melanoma.data.augmentation import Augmentation
from melanoma.errors import RecipeError, WeightsError
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe

SOURCE = """
import numpy as np

def augment(pixels, rng, *, most=40):
    return np.clip(pixels + rng.integers(0, most), 0, 255).astype(np.uint8)
"""
PIXELS = np.full((32, 32, 3), 100, np.uint8)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, recipe_of: Any) -> Write:
    """Writes brighten.py and a recipe that names it beside it."""

    def make(source: str = SOURCE, **step: Any) -> Path:
        (tmp_path / "brighten.py").write_text(source)
        digest = hashlib.sha256(source.encode()).hexdigest()
        own = {"file": "brighten.py", "sha256": digest, "p": 1.0, **step}
        values = recipe_of(training={"epochs": 1}).model_dump(mode="json")
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**values, "augment": [{"own": own}]}))
        return path

    return make


def augmented(recipe: Recipe, seed: int) -> Any:
    return Augmentation(recipe.augment, recipe.own_files)(PIXELS, seed=seed)


def test_it_runs_with_its_arguments_by_the_image_s_seed(write: Write) -> None:
    recipe = load_recipe(write(arguments={"most": 90}))
    first, again, other = (augmented(recipe, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.min() >= 100 and max(augmented(recipe, n).max() for n in range(30)) > 140
    assert (PIXELS == 100).all()


def test_it_may_stand_within_one_of(write: Write) -> None:
    path = write()
    values = yaml.safe_load(path.read_text())
    values["augment"] = [{"one_of": {"of": values["augment"], "p": 1.0}}]
    path.write_text(yaml.safe_dump(values))
    assert augmented(load_recipe(path), 3).max() > 100


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"arguments": {"least": 1}}, "brighten.py: augment cannot be called with {'least': 1}"),
        ({"source": "def other(): ..."}, "brighten.py has no function augment(pixels, rng)"),
        ({"source": "1 / 0"}, "brighten.py cannot be run: ZeroDivisionError"),
        (
            {"source": "def augment(pixels, rng): return pixels[:8]"},
            "brighten.py: augment gave uint8 of (8, 32, 3), not uint8 of (32, 32, 3)",
        ),
        ({"source": "def augment(pixels, rng): return None"}, "augment gave NoneType of no shape"),
    ],
)
def test_what_cannot_be_meant_is_one_line(write: Write, step: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        augmented(load_recipe(write(**step)), 1)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_reading_a_recipe_runs_nothing(write: Write, tmp_path: Path) -> None:
    source = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{SOURCE}"
    recipe = load_recipe(write(source))
    assert not (tmp_path / "ran").exists()
    augmented(recipe, 1)
    assert (tmp_path / "ran").exists()
    without = Recipe.model_validate(recipe.model_dump())
    with pytest.raises(RecipeError, match="was not read with the recipe"):
        augmented(without, 1)


def test_a_run_keeps_the_file_and_its_digest_and_another_file_is_another_run(
    write: Write, fit: Any, tmp_path: Path
) -> None:
    first = load_recipe(write())
    run = fit(first, tmp_path / "run")
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["own_files"] == {"brighten.py": digest}
    assert (tmp_path / "run/brighten.py").read_text() == SOURCE
    assert run.facts.recipe_digest == load_recipe(tmp_path / "run/recipe.yaml").digest()
    changed = load_recipe(write(SOURCE.replace("40", "41")))
    assert changed.digest() != first.digest()
    with pytest.raises(WeightsError, match="holds another run"):
        fit(changed, tmp_path / "run")
