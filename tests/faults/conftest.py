"""What a test of faults at the doors begins with: sound inputs, a copy to damage, a broken run."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from refusals import interrupt_after, require_refusal

from melanoma import train
from melanoma.recipe.overrides import load_recipe
from melanoma.workflows.prepare import prepare_array
from melanoma.workflows.split import split_folds

Door = Callable[..., Any]
Recipes = Callable[..., Path]


@pytest.fixture(scope="session")
def inputs(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the phantoms' array of 32 px and a sound fold file of three folds."""
    folder = tmp_path_factory.mktemp("inputs")
    recipe_file = folder / "recipe.yaml"
    recipe_file.write_text(
        "data: {reader: siim}\nimage: {size: 32}\nfolds: {name: tiny, k: 3}\nname: tiny\n"
    )
    recipe = load_recipe(recipe_file)
    prepare_array(recipe, phantom_set, folder / "arrays")
    split_folds(recipe, phantom_set, folder / "arrays", folder / "folds.csv")
    return folder


@pytest.fixture
def options(phantom_set: Path, inputs: Path, tiny_recipe: Recipes) -> list[str | Path]:
    """The options that every training command of a test has in common."""
    named = {
        "--config": tiny_recipe(),
        "--data": phantom_set,
        "--arrays": inputs / "arrays",
        "--folds": inputs / "folds.csv",
        "--device": "cpu",
    }
    return [part for pair in named.items() for part in pair]


@pytest.fixture
def own_set(phantom_set: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms that a test may damage."""
    folder = tmp_path / "own"
    shutil.copytree(phantom_set, folder)
    return folder


@pytest.fixture
def interrupted(
    call_door: Door, options: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A run folder whose fold 0 was interrupted after its first epoch of two."""
    with monkeypatch.context() as patched:
        patched.setattr(train, "_say_epoch", interrupt_after(1, signal.SIGINT))
        answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 130, "interrupted in epoch 2; the state is saved")
    folder = Path("run").resolve() / "fold_0"
    yield folder
