"""What an external set and a bundle's training have in common; its sources: test_held_out_sources.

The door, and folds that were not trained: test_external_set.
"""

from __future__ import annotations

from pathlib import Path

from tiny_bundle import TinyRun

from melanoma.data.readers.table import LesionTable
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.workflows.overlap import find_overlap
from melanoma.workflows.watch import Watch


def test_its_own_images_are_known_with_its_fold_file_and_without(
    trained: TinyRun, tmp_path: Path
) -> None:
    base, said = trained.folder.parent, list[str]()
    bundle, part = load_bundle(trained.folder), trained.parts[0]
    table = LesionTable(part.folds.frame.head(5), base)
    watch = Watch(say=said.append)
    for folds in (base / "folds.csv", tmp_path / "none.csv"):
        found = find_overlap(
            bundle, trained.recipe, (folds, base / "arrays"), table, part.array, watch=watch
        )
        assert found.images == tuple(sorted(table.frame["image_name"]))
        assert found.patients == tuple(sorted(set(table.frame["patient_id"])))
        assert found.identical is not None and len(found.identical) >= 5
    assert [line for line in said if "oof.csv" in line] == [
        f"note: no fold file at {tmp_path / 'none.csv'}: overlap by oof.csv's names and patients"
    ]
