"""--config NAME: one's own file first, then ./configs, then what ships; else one clear line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import RecipeError
from melanoma.recipe.find_recipe import find_recipe, known_recipes, shipped_recipes
from melanoma.recipe.overrides import load_recipe

SHIPPED = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_ships_is_found_from_anywhere() -> None:
    assert shipped_recipes() == SHIPPED
    assert find_recipe(Path("demo")) == SHIPPED / "demo.yaml"
    assert list(known_recipes()) == sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def test_a_file_wins_over_configs_here_and_that_over_what_ships(elsewhere: Path) -> None:
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs/demo.yaml").touch()
    (elsewhere / "configs/mine.yaml").touch()
    assert find_recipe(Path("demo")) == Path("configs/demo.yaml")
    assert find_recipe(Path("mine")) == Path("configs/mine.yaml")
    (elsewhere / "demo").touch()
    assert find_recipe(Path("demo")) == Path("demo")


def test_a_folder_of_that_name_hides_no_recipe(elsewhere: Path) -> None:
    (elsewhere / "demo").mkdir()
    assert find_recipe(Path("demo")) == SHIPPED / "demo.yaml"


def test_an_unknown_name_is_refused_with_the_known_ones_and_a_suggestion(elsewhere: Path) -> None:
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs/mine.yaml").touch()
    with pytest.raises(RecipeError, match=r"no recipe dmeo; did you mean demo\? .*one of: ") as one:
        find_recipe(Path("dmeo"))
    assert all(name in str(one.value) for name in ("mine", "siim_seresnext50_best"))
    with pytest.raises(RecipeError, match=r"no recipe xyz \(a file, or one of"):
        find_recipe(Path("xyz"))
    with pytest.raises(RecipeError, match="one of"):
        find_recipe(Path("x" * 5000))


def test_an_absent_path_is_not_looked_for_under_other_folders() -> None:
    assert find_recipe(Path("other/mine.yaml")) == Path("other/mine.yaml")
    assert find_recipe(Path("other/demo")) == Path("other/demo")
    for path in ("configs/demo.yaml", "demo.yml"):
        with pytest.raises(RecipeError, match=f"no recipe at {path}; did you mean --config demo"):
            find_recipe(Path(path))


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is hidden from root")
def test_a_file_that_may_not_be_read_is_named_by_its_reader(elsewhere: Path) -> None:
    (elsewhere / "closed").mkdir(mode=0)
    assert find_recipe(Path("closed/mine.yaml")) == Path("closed/mine.yaml")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_recipe_that_ships_starts_from_a_file_elsewhere(path: Path) -> None:
    source = load_recipe(path).model.pretrained
    assert source == Path(source).name, "weights/imagenet is where a bare name is looked for"


@pytest.mark.parametrize(
    "command",
    [
        ("check", "--config"),
        ("serve", "--config"),
        ("evaluate", "--external"),
        ("audit", "--external-data", "there", "--config", "demo", "--external"),
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_whatever_takes_a_recipe_takes_its_name(
    command: tuple[str, ...], call_door: Callable[..., Any]
) -> None:
    answer = call_door(*command, "siim_mobilnet")
    assert answer.code == 2
    assert "no recipe siim_mobilnet; did you mean siim_mobilenet?" in answer.err
