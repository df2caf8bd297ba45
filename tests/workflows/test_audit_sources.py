"""The audit of two sets where the recipe has sources: by tables alone, and with its pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanoma.audit
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.audit import audit_two_sets, look_at

TABLE = {"reader": "csv_folder"}


def make_set(folder: Path, *, seed: int, name: str) -> Path:
    """Eight phantoms NAME0 to NAME7, two a patient."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    rows = [(f"{name}{n}", f"{folder.name}{n // 2}", n // 2 % 2) for n in range(8)]
    for image, _, target in rows:
        picture = Image.fromarray(draw_phantom(melanoma=bool(target), rng=rng, size=40))
        picture.save(folder / f"{image}.png")
    frame = pd.DataFrame(rows, columns=["image_name", "patient_id", "target"])
    frame.to_csv(folder / "train.csv", index=False)
    return folder


def recipe_of(*sources: str) -> Recipe:
    listed = [{"name": one, "data": TABLE} for one in sources]
    values = {
        "name": "several",
        "data": {**TABLE, "sources": listed},
        "image": {"size": 32},
        "folds": {"name": "several", "k": 2},
        "model": {"backbone": "resnet18"},
    }
    return make_recipe(values)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """own/, its source year/ with images of the same names, and there/ with two of year's."""
    for seed, folder in enumerate(("own", "year", "there")):
        make_set(tmp_path / folder, seed=seed, name="" if folder != "there" else "there")
    for n in (3, 5):
        shutil.copy(tmp_path / "year" / f"{n}.png", tmp_path / "there" / f"there{n}.png")
    return tmp_path


@pytest.mark.parametrize("bare", ["own", "there"])
def test_tables_without_photographs_are_compared_with_a_source_that_has_none(
    sets: Path, bare: str
) -> None:
    for folder in (bare, "year"):
        for picture in (sets / folder).glob("*.png"):
            picture.unlink()
    table = sets / "there" / "train.csv"
    table.write_text(table.read_text().replace("there7,there3", "there7,year2"))
    folders = (("own", recipe_of("year")), ("there", recipe_of()))
    ours, theirs = (look_at(r, sets / f, sets / f"{f}_arrays", sets) for f, r in folders)
    audited = audit_two_sets(recipe_of("year"), ours, theirs)
    assert (audited.audit.patients, audited.audit.identical) == (("year2",), None)
    assert f"8 images of {sets / 'own'}, 8 of source year, 8 of" in audited.looked_at


def test_the_pictures_show_a_sources_own_photographs(
    sets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of("year")
    folders = (("own", recipe), ("there", recipe_of()))
    ours, theirs = (look_at(r, sets / f, sets / f"{f}_arrays", sets) for f, r in folders)
    audited = audit_two_sets(recipe, ours, theirs)
    assert [(one.first, one.second) for one in audited.pairs] == [("3", "there3"), ("5", "there5")]
    shown: list[Any] = []
    monkeypatch.setattr(
        "melanoma.data.duplicates.contact_sheet.save_contact_sheet",
        lambda _path, rows, title: shown.extend(tile for row in rows for tile in row),
    )
    melanoma.audit._save_pictures(audited, sets / "sheet.png")
    assert len(shown) == 4
    for first, second in zip(shown[::2], shown[1::2], strict=True):
        assert np.array_equal(first[0], second[0])
