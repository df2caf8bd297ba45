"""Pipes, devices and monsters in the place of recipes, tables, records and a run's own files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from melanoma.data.arrays import load_array
from melanoma.data.csv_tables import read_table
from melanoma.errors import DataError, MelanomaError, RecipeError
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.sections import Image
from melanoma.storage import read_text
from melanoma.training.run.facts import read_facts


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_recipe_that_is_no_file_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: is a (pipe|device)"):
        load_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: " + "[" * 50_000, "nested too deeply"), ("a: " + "x" * 300_000, "300,003 characters")],
)
def test_a_recipe_that_is_a_bomb_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_name," + "x" * 200_000 + "\na,1\n", "a name of 200,000 letters"),
        ("image_name" + ",c" * 20_000 + "\n", "20,001 columns"),
    ],
)
def test_a_table_with_a_monstrous_header_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_table(path, needed=["image_name"])


def test_a_row_that_ends_early_is_refused_and_a_blank_line_is_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('image_name,target,site\na,1,"x,\ny"\n\nb,0\nc\n')
    with pytest.raises(DataError, match="row 3 has 2 cells where the header has 3, and 1 more"):
        read_table(path, needed=["image_name"])
    path.write_text('image_name,target,site\na,1,"x,\ny"\n\nb,0,\n')
    assert read_table(path, needed=["image_name"])["site"].tolist() == ["x,\ny", ""]


def test_records_that_are_pipes_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("x_train_32.json", "run.json"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(OSError, match="is a pipe"):
            read_text(tmp_path / name)
    load_array(tmp_path, Image(size=32))  # where no record is, there is no array
    with pytest.raises((MelanomaError, OSError)):
        read_facts(tmp_path)
