"""What an external set and a bundle's training have in common; its sources: test_held_out_sources.

The door, and folds that were not trained: test_external_set.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from tiny_bundle import TinyRun

from melanoma.data.readers.table import LesionTable
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.workflows.overlap import _beside, find_seen
from melanoma.workflows.watch import SILENT, Watch


def test_its_own_images_are_known_with_its_fold_file_and_without(
    trained: TinyRun, tmp_path: Path
) -> None:
    base, said = trained.folder.parent, list[str]()
    bundle, part = load_bundle(trained.folder), trained.parts[0]
    table = LesionTable(part.folds.frame.head(5), base)
    watch = Watch(say=said.append)
    for folds in (base / "folds.csv", tmp_path / "none.csv"):
        found = find_seen(
            bundle, trained.recipe, (folds, base / "arrays"), table, part.array, watch=watch
        ).audit(table.frame)
        assert found.images == tuple(sorted(table.frame["image_name"]))
        assert found.patients == tuple(sorted(set(table.frame["patient_id"])))
        assert found.identical is not None and len(found.identical) >= 5
    assert [line for line in said if "oof.csv" in line] == [
        f"note: no fold file at {tmp_path / 'none.csv'}: overlap by oof.csv's names, patients and "
        "lesions"
    ]


def test_a_lesion_that_oof_csv_names_is_known_without_a_fold_file(
    trained: TinyRun, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    bundle = load_bundle(folder)  # which holds the table to its digest
    oof = pd.read_csv(folder / "oof.csv", dtype=str, keep_default_na=False)
    oof.assign(lesion_id="L" + oof["image_name"]).to_csv(folder / "oof.csv", index=False)
    part = trained.parts[0]
    frame = part.folds.frame.head(3)
    lesions = "L" + frame["image_name"]
    renamed = frame.assign(image_name=["a", "b", "c"], patient_id="", lesion_id=lesions)
    places = (tmp_path / "none.csv", tmp_path / "arrays")
    table = LesionTable(renamed, tmp_path)
    found = find_seen(bundle, trained.recipe, places, table, part.array, watch=SILENT)
    assert found.audit(table.frame).lesions == tuple(sorted(lesions))


def test_a_patient_of_a_source_is_known_where_its_photograph_is_called_as_one_of_the_folds(
    trained: TinyRun,
) -> None:
    own = str(trained.parts[0].folds.frame["image_name"][0])
    rows = [(own, "q1", ""), ("never trained", "q2", "")]
    frame = pd.DataFrame(rows, columns=["image_name", "patient_id", "lesion_id"])
    source: Any = SimpleNamespace(frame=frame)
    found = _beside(load_bundle(trained.folder), {own}, [source], [], watch=SILENT)
    assert found["patient_id"].tolist() == ["q1"]
