"""Labels: a cell means one class or is refused with its row; every class has a row."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from class_lists import DERMNET23, SKIN22, SKIN22_FOLDERS

from melanoma.data.readers.labels import (
    HAM10000_CLASSES,
    UNLABELED,
    ham10000_labels,
    names_of,
    read_folders,
    read_targets,
)
from melanoma.errors import DataError, RecipeError
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.sections import BINARY_CLASSES

THREE = ("nevus", "melanoma", "vascular lesion")
CODES = {"nv": "nevus", "mel": "melanoma", "vasc": "vascular lesion", "angioma": "vascular lesion"}


def read(*cells: str, classes: tuple[str, ...] = THREE, **options: Any) -> tuple[list[int], str]:
    numbers, problems = read_targets(pd.Series(cells, name="dx"), classes, **options)
    return numbers.tolist(), "\n".join(problems)


def test_a_map_says_what_a_cell_means_and_two_cells_may_mean_one_class() -> None:
    cells = ("angioma", "mel", "nv", "vasc", "mel")
    assert read(*cells, labels=CODES) == ([2, 1, 0, 2, 1], "")


def test_names_are_read_in_the_recipe_s_order_and_not_the_alphabet_s() -> None:
    assert read("vascular lesion", "nevus", "melanoma") == ([2, 0, 1], "")
    turned = THREE[::-1]
    assert read("vascular lesion", "nevus", "melanoma", classes=turned) == ([0, 2, 1], "")


def test_numbers_are_read_where_no_cell_is_a_name() -> None:
    assert read("0", "2", "1.0", "1") == ([0, 2, 1, 1], "")
    # A class may be named by a figure: then it is a name, and its number is its place.
    assert read("3", "1", "2", classes=("3", "2", "1")) == ([0, 2, 1], "")


def test_names_and_numbers_mixed_are_a_guess_and_refused() -> None:
    numbers, said = read("nevus", "melanoma", "vascular lesion", "1")
    assert numbers == [0, 1, 2, UNLABELED]
    assert "1 rows whose dx is not a class name: row 4 (line 5): '1'" in said


@pytest.mark.parametrize(
    ("cells", "options", "said"),
    [
        (("melanom", *THREE), {}, "row 1 (line 2): 'melanom'; data.labels says what a value means"),
        (("nevus", "", "melanoma", "vascular lesion"), {}, "row 2 (line 3): ''"),
        (
            ("nv", "mel", "vasc", "scar"),
            {"labels": CODES},
            "not in data.labels: row 4 (line 5): 's",
        ),
        (
            ("nv", "mel", "vasc", "nvv"),
            {"labels": CODES},
            "'nvv'; it knows 'nv', 'mel', 'vasc'",
        ),
        (("0", "1", "2", "3"), {}, "a number from 0 to 2: row 4 (line 5): '3'; data.labels says"),
        (("0", "1", "2", "-1"), {}, "row 4 (line 5): '-1'"),
        (("0", "1", "2", "1.5"), {}, "row 4 (line 5): '1.5'"),
    ],
)
def test_a_cell_that_means_no_class_is_refused_with_its_row_and_a_hint(
    cells: tuple[str, ...], options: dict[str, Any], said: str
) -> None:
    numbers, problem = read(*cells, **options)
    assert said in problem
    assert "\n" not in problem
    assert numbers.count(UNLABELED) == 1


def test_an_empty_cell_has_no_misspelling() -> None:
    _, said = read("nevus", "", "melanoma", "vascular lesion")
    assert said.endswith("''; where it is blank, label the row or take it out of the table")


def test_a_class_that_no_row_has_is_refused_by_name() -> None:
    assert read("nevus", "melanoma")[1] == "no row's dx means 'vascular lesion'"
    assert read("0", "2")[1] == "no row's dx means 'melanoma'"
    assert "means 'melanoma'" in read("nv", "vasc", labels=CODES)[1]
    two = {"nv": "benign", "mel": "melanoma"}
    assert "means 'melanoma'" in read("nv", "nv", classes=BINARY_CLASSES, labels=two)[1]


def test_two_classes_are_0_and_1_or_their_names() -> None:
    assert read("0", "1.0", classes=BINARY_CLASSES) == ([0, 1], "")
    assert read("melanoma", "benign", classes=BINARY_CLASSES) == ([1, 0], "")
    assert "not 0 or 1" in read("0", "2", classes=BINARY_CLASSES)[1]
    assert "'1'" in read("benign", "1", classes=BINARY_CLASSES)[1]
    # One class alone is a table that has not been refused yet; its folds are.
    assert read("0", "0", classes=BINARY_CLASSES) == ([0, 0], "")


def test_a_positive_cell_that_no_row_has_is_refused() -> None:
    with pytest.raises(DataError, match="no row has target mel "):
        read("nv", "bcc", classes=BINARY_CLASSES, positive=("mel",))


@pytest.mark.parametrize(
    ("listed", "beside"),
    [("True", "TRUE"), ("malignant", "Malignant"), ("1", "1.0"), ("in situ", "In-situ")],
)
def test_another_spelling_of_a_positive_cell_is_not_taken_for_benign(
    listed: str, beside: str
) -> None:
    numbers, problem = read(listed, beside, "no", classes=BINARY_CLASSES, positive=(listed,))
    assert numbers == [1, UNLABELED, 0]  # so that a fold file that has it as benign differs
    assert f"{beside!r} (1)" in problem and "every spelling" in problem
    both = read(listed, beside, "no", classes=BINARY_CLASSES, positive=(listed, beside))
    assert both == ([1, 1, 0], "")


def test_a_value_that_says_the_opposite_is_no_other_spelling() -> None:
    cells = ("melanoma", "non-melanoma", "-1", "1", "10")
    assert read(*cells, classes=BINARY_CLASSES, positive=("melanoma", "1"))[0] == [1, 0, 0, 1, 0]
    assert read(*cells, classes=BINARY_CLASSES, positive=("melanoma", "1"))[1] == ""


def test_an_unlabeled_row_has_no_name() -> None:
    assert names_of(pd.Series([2, UNLABELED, 0]), THREE) == ["vascular lesion", "", "nevus"]


def test_the_seven_codes_have_their_names_and_each_is_a_class() -> None:
    seven = tuple(HAM10000_CLASSES.values())
    assert HAM10000_CLASSES == {
        "akiec": "actinic keratosis / intraepithelial carcinoma",
        "bcc": "basal cell carcinoma",
        "bkl": "benign keratosis-like lesion",
        "df": "dermatofibroma",
        "mel": "melanoma",
        "nv": "melanocytic nevus",
        "vasc": "vascular lesion",
    }
    assert ham10000_labels(seven) == ham10000_labels(seven[::-1]) == HAM10000_CLASSES


def test_of_two_classes_only_the_code_of_melanoma_is_one() -> None:
    meaning = ham10000_labels(BINARY_CLASSES)
    assert [code for code, name in meaning.items() if name == "melanoma"] == ["mel"]
    assert len(meaning) == 7


@pytest.mark.parametrize(
    "classes", [("melanoma", "benign"), THREE, tuple(HAM10000_CLASSES.values())[1:]]
)
def test_other_classes_are_none_of_ham10000_s(classes: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match=r"classes: reader ham10000 knows benign, melanoma"):
        ham10000_labels(classes)


# The class lists of the recipes.


@pytest.mark.parametrize(
    ("names", "count"), [(tuple(HAM10000_CLASSES.values()), 7), (DERMNET23, 23), (SKIN22, 22)]
)
def test_a_list_of_classes_has_every_class_once(names: tuple[str, ...], count: int) -> None:
    assert len(names) == len(set(names)) == len({name.lower() for name in names}) == count
    assert all(name == name.strip() for name in names)
    # A recipe can have them, and none but HAM10000's has a class that is melanoma alone.
    melanoma = [name for name in names if name.lower() == "melanoma"]
    recipe = make_recipe(
        {
            "name": "x",
            "classes": list(names),
            "melanoma": melanoma,
            "data": {"reader": "class_folders"},
            "folds": {"name": "x"},
        }
    )
    assert recipe.outputs == count
    assert bool(recipe.melanoma) == (count == 7)


@pytest.mark.parametrize("codes", [HAM10000_CLASSES, SKIN22_FOLDERS])
def test_codes_and_names_can_be_told_from_each_other(codes: dict[str, str]) -> None:
    assert len(set(codes.values())) == len(codes)
    back = {name: code for code, name in codes.items()}
    assert all(back[name] == code for code, name in codes.items())


def test_a_folder_s_images_are_counted_once_for_all() -> None:
    folders = pd.Series(["b", "a", "c", "c"], name="folder")
    numbers, problems = read_folders(folders, ("a", "b"), labels={"a": "b"})
    # labels win over a class of the same name, and then nothing means a.
    assert numbers.tolist() == [1, 1, UNLABELED, UNLABELED]
    assert len(problems) == 2
    assert "'c' (2 images)" in problems[0]
    assert "1 classes without an image: 'a'" in problems[1]


@pytest.mark.parametrize(
    "cells",
    [("Benign", "Malignant"), ("False", "True"), ("no", "yes"), ("non-melanoma", "Melanoma")],
)
@pytest.mark.parametrize("classes", [BINARY_CLASSES, ("nevus", "other", "melanoma")])
def test_a_hint_lists_the_values_and_never_says_which_is_the_melanoma(
    cells: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    """Case 01: the first value of the alphabet is the benign one, and a hint is copied."""
    _, said = read(*cells, *cells, classes=classes)
    first, second = sorted(cells)
    assert f"{first!r} (2), {second!r} (2)" in said
    assert "[VALUE, ...]" in said or "{VALUE: CLASS, ...}" in said
    assert "did you mean" not in said
    assert not any(f"[{cell}" in said or f"{{{cell}" in said for cell in cells)


@pytest.mark.parametrize("cells", [("1", "2"), ("1.0", "2.0"), ("0", "2")])
def test_a_code_of_numbers_is_listed_as_well(cells: tuple[str, ...]) -> None:
    """Where 1 is the benign one, no half of them may pass as melanomas without a word."""
    _, said = read(*cells, *cells, classes=BINARY_CLASSES)
    assert f"{cells[0]!r} (2), {cells[1]!r} (2): list those that count as melanoma" in said
