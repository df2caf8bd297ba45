"""Sources from a folder to a fold: prepared once, frozen, and nothing of what is held out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.data.sources import save_rows
from melanoma.errors import DataError
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.audit import audit_fold_file, look_at
from melanoma.workflows.fold_sources import find_folder, open_sources, source_folder
from melanoma.workflows.train import select_folds
from melanoma.workflows.watch import Watch


def recipe_of(**source: Any) -> Recipe:
    values = {
        "name": "several",
        "data": {
            "reader": "csv_folder",
            "group_col": "patient_id",
            "sources": [
                {
                    "name": "year",
                    "data": {"reader": "csv_folder"},
                    "soft_target": {"column": "p"},
                    **source,
                }
            ],
        },
        "image": {"size": 32},
        "folds": {"name": "several", "k": 2},
        "model": {"backbone": "resnet18"},
    }
    return make_recipe(values)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """own/ has eight phantoms of eight patients; year/ has the second of them, and two others."""
    home = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    own, year = home / "own", home / "year"
    for folder in (own, year):
        folder.mkdir()
    rows = ["image_name,patient_id,target"]
    for n in range(8):
        picture = Image.fromarray(draw_phantom(melanoma=n % 2 == 0, rng=rng, size=48))
        picture.save(own / f"i{n}.png")
        rows.append(f"i{n},p{n},{(n + 1) % 2}")
        if n == 1:
            picture.save(year / "copy.png")
    (own / "train.csv").write_text("\n".join(rows) + "\n")
    for name in ("a", "b"):
        Image.fromarray(draw_phantom(melanoma=False, rng=rng, size=48)).save(year / f"{name}.png")
    (year / "train.csv").write_text("image_name,target,p\ncopy,0,0.1\na,1,0.9\nb,0,\n")
    return home


def test_a_photograph_that_is_held_out_trains_nowhere_in_that_fold(
    folders: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    parts = select_folds(
        recipe_of(),
        data=folders / "own",
        arrays=tmp_path / "arrays",
        folds=tmp_path / "folds.csv",
        watch=Watch(say=said.append),
    )
    assert len(parts) == 2
    for part in parts:
        (source,) = part.sources
        held_out = {part.array.names[row] for row in part.validation}
        names = {source.table.array.names[row] for row in source.rows}
        assert names == {"a", "b"} | ({"copy"} if "i1" not in held_out else set())
    assert sum("1 show a patient, lesion or photograph that is held out" in s for s in said) == 1
    audited = audit_fold_file(
        recipe_of(),
        look_at(recipe_of(), folders / "own", tmp_path / "arrays", tmp_path / "scratch"),
        tmp_path / "folds.csv",
    )
    assert len(audited.sources) == 2
    assert sum("; 1 show" in line for line in audited.sources) == 1
    table = parts[0].sources[0].table
    taught = dict(zip(table.array.names, table.soft, strict=True))
    assert taught["copy"] == pytest.approx(0.1) and np.isnan(taught["b"])


def test_a_patient_whom_only_the_table_names_trains_from_no_source(
    folders: Path, tmp_path: Path
) -> None:
    """A fold file from elsewhere may know names and folds alone."""
    year = tmp_path / "year"
    shutil.copytree(folders / "year", year)
    (year / "train.csv").write_text("image_name,patient_id,target,p\na,p2,1,0.9\nb,p9,0,\n")
    (year / "copy.png").unlink()
    shutil.copytree(folders / "own", tmp_path / "own")
    lines = [f"i{n},,{(n + 1) % 2},{n // 4}" for n in range(8)]
    (tmp_path / "folds.csv").write_text("\n".join(["image_name,patient_id,target,fold", *lines]))
    places = {"arrays": tmp_path / "arrays", "folds": tmp_path / "folds.csv"}
    parts = select_folds(recipe_of(), data=tmp_path / "own", **places)
    trained = [
        {source.table.array.names[row] for source in part.sources for row in source.rows}
        for part in parts
    ]
    assert trained == [{"b"}, {"a", "b"}]


def test_rows_are_frozen_and_a_table_that_changed_is_refused(folders: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(folders, home)
    arrays, said = tmp_path / "arrays", list[str]()
    watch = Watch(say=said.append)
    with pytest.raises(DataError, match=r"has no array yet; python -m melanoma\.audit"):
        open_sources(recipe_of(), home / "own", arrays, dry_run=True)
    (first,) = open_sources(recipe_of(), home / "own", arrays, watch=watch)
    # What a label or a teacher means is the recipe's: no other record is needed.
    shifted = {"soft_target": {"column": "p", "shift": 1.0}}
    (moved,) = open_sources(recipe_of(**shifted), home / "own", arrays)
    assert moved.digest == first.digest
    assert (moved.soft > first.soft)[:2].all()
    table = home / "year" / "train.csv"
    table.write_text(table.read_text().replace("a,1", "a,0"))
    rows = rows_at(arrays) / "rows.csv"
    changed = r"no longer read as .*rows.csv has it \(label of 1 rows: a: melanoma -> benign\); put"
    with pytest.raises(DataError, match=rf"{changed}.*rm {rows}"):
        open_sources(recipe_of(), home / "own", arrays)
    shutil.rmtree(home / "year")
    (again,) = open_sources(recipe_of(), home / "own", arrays, watch=watch)
    assert again.digest == first.digest
    assert any("taken as it was prepared" in line for line in said)
    shutil.rmtree(arrays)
    with pytest.raises(DataError, match="source year: "):
        open_sources(recipe_of(), home / "own", arrays)


def test_rows_that_an_earlier_version_read_otherwise_go_on_or_are_named(
    folders: Path, tmp_path: Path
) -> None:
    home, arrays = tmp_path / "home", tmp_path / "arrays"
    shutil.copytree(folders, home)
    table = home / "year" / "train.csv"
    table.write_text("image_name,MRN,target,p\ncopy,7,0,0.1\na,7.0,1,0.9\nb,8,0,\n")
    (now,) = open_sources(recipe_of(), home / "own", arrays)
    assert now.frame["patient_id"].tolist() == ["7", "7", "8"]
    # 7.0 was another than 7: what is frozen goes on, and with it the folds that trained on it.
    save_rows(replace(now, frame=now.frame.assign(patient_id=["7", "7.0", "8"])), rows_at(arrays))
    (then,) = open_sources(recipe_of(), home / "own", arrays)
    assert then.frame["patient_id"].tolist() == ["7", "7.0", "8"]
    # MRN was no column of patients: the folds may have divided them.
    save_rows(replace(now, frame=now.frame.assign(patient_id="")), rows_at(arrays))
    with pytest.raises(DataError, match=r"\(patient_id of 3 rows: copy: blank -> 7\)"):
        open_sources(recipe_of(), home / "own", arrays)


def rows_at(arrays: Path) -> Path:
    return source_folder(arrays, recipe_of().data.sources[0])


def test_the_neighbors_of_a_link_are_where_it_lies(folders: Path, tmp_path: Path) -> None:
    """A data folder on another disk, linked to: DIR/own/.. would be that disk's."""
    (tmp_path / "own").symlink_to(folders / "own")
    source = recipe_of().data.sources[0]
    assert find_folder(tmp_path / "own", source).samefile(folders / "year")  # the only one there
    (tmp_path / "year").mkdir()
    assert find_folder(tmp_path / "own", source) == tmp_path / "year"
    assert find_folder(folders / "own", source) == folders / "year"


def test_a_source_that_is_nowhere_is_named_where_one_would_put_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    assert find_folder(tmp_path / "own", recipe_of().data.sources[0]) == tmp_path / "year"
