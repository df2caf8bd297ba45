"""The recipe that a command line asks for, with what an earlier one said of the same data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import RecipeError
from melanoma.workflows.asked import Asked, ask_recipe

BASE = {"reader": "csv_folder"}
GIVEN = ["data.image_col=file", "data.target_col=dx"]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndata: {reader: csv_folder}\nfolds: {name: shared}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/t.csv").write_text("file,dx\na,1\n")
    return path


def keep(path: Path, given: list[str], base: Any = BASE) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"options": {"base": base, "given": given}}))


def ask(path: Path, *overrides: str, said: list[str] | None = None, **more: Any) -> Asked:
    places = {"data": Path("data"), "arrays": Path("arrays"), "folds": None, "seed": None}
    say = [].append if said is None else said.append
    return ask_recipe(path, overrides, **{**places, **more}, say=say)


def test_without_a_record_the_recipe_is_the_file_s_and_the_overrides(recipe: Path) -> None:
    said: list[str] = []
    asked = ask(recipe, "data.image_col=b", "training.epochs=7", seed=9, said=said)
    assert asked.recipe.model_dump()["data"]["image_col"] == "b"
    assert (asked.recipe.training.epochs, asked.recipe.seed) == (7, 9)
    assert (asked.base, asked.options) == (BASE, ("data.image_col=b",))
    assert said == []


@pytest.mark.parametrize(
    ("record", "overrides", "more"),
    [
        ("arrays/x_train_512.json", ("image.size=512",), {}),
        ("elsewhere/x_train_128.json", (), {"arrays": Path("elsewhere")}),
        ("folds/shared.made_from.json", (), {}),
        ("folds/other.made_from.json", ("folds.name=other",), {}),
        ("kept/f.made_from.json", (), {"folds": Path("kept/f.csv")}),
    ],
)
def test_options_are_recalled_from_the_array_s_record_and_the_fold_file_s(
    record: str, overrides: tuple[str, ...], more: Any, recipe: Path
) -> None:
    said: list[str] = []
    keep(Path(record), GIVEN)
    asked = ask(recipe, *overrides, said=said, seed=4, **more)
    data: Any = asked.recipe.data
    assert (data.image_col, data.target_col) == ("file", "dx")
    assert asked.options == tuple(GIVEN) and asked.recipe.seed == 4
    assert len(said) == 1 and all(option in said[0] for option in (*GIVEN, record))
    # Another array, or another fold file: its options are not meant.
    other = ask(recipe, "image.size=64", "folds.name=third", arrays=Path("none"))
    assert other.options == ()


def test_what_is_said_anew_wins(recipe: Path) -> None:
    keep(Path("folds/shared.made_from.json"), GIVEN)
    asked = ask(recipe, "data.target_col=truth")
    data: Any = asked.recipe.data
    assert (data.image_col, data.target_col) == ("file", "truth")
    assert asked.options == ("data.image_col=file", "data.target_col=truth")
    with pytest.raises(RecipeError, match=r"data\.tabel"):
        ask(recipe, "data.tabel=x")


def test_options_of_another_section_or_for_another_table_are_not_recalled(recipe: Path) -> None:
    said: list[str] = []
    keep(Path("folds/shared.made_from.json"), GIVEN, {"reader": "siim"})
    assert ask(recipe, said=said).options == ()
    keep(Path("folds/shared.made_from.json"), ["data.image_col=absent"])
    asked = ask(recipe, "data.target_col=dx", said=said)
    assert asked.options == ("data.target_col=dx",)
    assert asked.recipe.model_dump()["data"]["image_col"] == "image_name"
    assert said == []


@pytest.mark.parametrize("command", [("train", "--fold", "0"), ("distill", "teacher")])
def test_a_seed_that_trains_no_network_is_refused(
    command: tuple[str, ...], recipe: Path, call_door: Callable[..., Any]
) -> None:
    recipe.write_text(f"{recipe.read_text()}seeds: [0, 1]\n")
    answer = call_door(*command, "--config", recipe, "--seed", 9)
    assert (
        answer.code == 2
        and "--seed 9: this recipe's networks have seeds of their own (0, 1)" in (answer.err)
    )
    alone = call_door(*command, "--config", recipe, "--seed", 9, "--set", "seeds=[]")
    assert alone.code != 0 and "seeds of their own" not in alone.err
