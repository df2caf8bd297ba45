"""A recipe's own files: beside it, of the sha256 that it says, read and never run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import RecipeError
from melanoma.recipe.own_files import read_own_files

SOURCE = b"raise SystemExit('run')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe's folder with two files that must not be run."""
    (tmp_path / "brighten.py").write_bytes(SOURCE)
    (tmp_path / "blur.py").write_bytes(SOURCE * 2)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/blur.py").write_bytes(SOURCE)
    return tmp_path


def own(name: str = "brighten.py", source: bytes = SOURCE, **step: Any) -> dict[str, Any]:
    """A step of `augment`; a value of None is no key."""
    values = {"file": name, "sha256": hashlib.sha256(source).hexdigest(), **step}
    return {"own": {key: value for key, value in values.items() if value is not None}}


def test_named_files_are_read_by_name_within_one_of_too(folder: Path) -> None:
    both = {"one_of": {"of": [{"flip_horizontal": {}}, own("blur.py", SOURCE * 2)], "p": 0.5}}
    nested = {"one_of": {"of": [both]}}
    found = read_own_files([{"gauss_noise": {"std": 0.1}}, own(), nested], folder)
    assert found == {"brighten.py": SOURCE, "blur.py": SOURCE * 2}
    assert read_own_files([{"flip_horizontal": {}}], folder) == {}


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (own(sha256="0" * 64), f"augment.0.own.sha256: brighten.py has {own()['own']['sha256']}"),
        (own(source=SOURCE * 2), "a change that is meant is written into the recipe"),
        (own(sha256=None), f"it is missing; write sha256: '{own()['own']['sha256']}'"),
        (own("other.py"), "augment.0.own.file: no other.py in "),
        (own("../brighten.py"), "augment.0.own.file: the name of a .py file beside the recipe"),
        (own("deep/blur.py"), "augment.0.own.file: the name of a .py file"),
        (own("os.path"), "augment.0.own.file: the name of a .py file"),
        (own(file=None), "augment.0.own.file: the name of a .py file"),
        (own(file=3), "augment.0.own.file: the name of a .py file"),
    ],
)
def test_what_is_no_file_beside_the_recipe_or_another_one_is_refused_in_a_line(
    step: dict[str, Any], said: str, folder: Path
) -> None:
    with pytest.raises(RecipeError) as refused:
        read_own_files([step], folder)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_step_is_named_by_its_whole_place(folder: Path) -> None:
    steps = [own(), {"one_of": {"of": [{"flip_horizontal": {}}, own("other.py")]}}]
    with pytest.raises(RecipeError, match=r"^augment\.1\.one_of\.of\.1\.own\.file: no other"):
        read_own_files(steps, folder)


@pytest.mark.parametrize("steps", [None, "own", [3], [{"own": "brighten.py"}], {"own": {}}])
def test_steps_of_another_shape_are_left_to_the_recipe_which_refuses_them(
    steps: Any, folder: Path
) -> None:
    assert read_own_files(steps, folder) == {}


def test_an_evaluated_run_has_them_in_its_folds(folder: Path) -> None:
    """Its recipe is written anew above them, for evaluate and distill to go by."""
    for fold in ("fold_0", "fold_1"):
        kept = folder / "run" / fold
        kept.mkdir(parents=True)
        (kept / "recipe.yaml").touch()
        (kept / "brighten.py").write_bytes(SOURCE)
    assert read_own_files([own()], folder / "run") == {"brighten.py": SOURCE}
    with pytest.raises(RecipeError, match="no blur"):
        read_own_files([own("blur.py")], folder / "run")
