"""HAM10000 as it was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from melanoma.data.csv_tables import read_table
from melanoma.data.readers.folder_tree import PARTS
from melanoma.data.readers.index import ImageIndex, index_images
from melanoma.data.readers.labels import ham10000_labels
from melanoma.data.readers.table import ColumnLabels, LesionTable, make_table
from melanoma.recipe.data_sections import Data, HamData

REFERENCE = "reference_standard"  # how a diagnosis was established: the table's dx_type


def read_ham10000(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, HamData)
    meaning = ham10000_labels(classes, data.labels)
    columns = {"lesion_id": "lesion_id", "age": "age", "sex": "sex", "site": "localization"}
    needed = ["image_id", "dx", *columns.values()]
    columns["patient_id"] = "patient_id"  # in tables that others have joined it to
    table = read_table(folder / "HAM10000_metadata.csv", needed=needed)
    if "dx_type" in table:
        table[REFERENCE] = table["dx_type"].replace({"histo": "histology"})
    index = index_images(folder, below="HAM10000_images*")
    sources = index.find_each(table["image_id"])
    part_of, problems = _parts(index)
    if part_of:
        table["part"] = [part_of.get(source, "train") for source in sources]
    lesion_table = make_table(
        folder,
        table,
        image_col="image_id",
        sources=sources,
        columns=columns,
        labels=ColumnLabels("dx", classes, labels=meaning),
        keep=[c for c in (REFERENCE, "part") if c in table],
    ).but(problems=problems)
    lesion_table = lesion_table.beside(index)
    absent = lesion_table.frame["source"] == ""
    if not absent.any():
        return lesion_table
    count = f"{int(absent.sum()):,} of {len(lesion_table):,} rows"
    if data.rows == "all":
        return lesion_table.but(
            warnings=[f"{count} have no image; data.rows=with_image leaves them out"]
        )
    left_out = [f"{count} without an image left out (data.rows)"]
    with_image = lesion_table.frame[~absent].reset_index(drop=True)
    return replace(lesion_table, frame=with_image, warnings=(*lesion_table.warnings, *left_out))


def _parts(index: ImageIndex) -> tuple[dict[str, str], list[str]]:
    """The part of each image, and what is wrong.

    There are no parts unless both of their folders hold images.
    """
    folders = {f"HAM10000_images_{part}": part for part in PARTS}
    part_of: dict[str, str] = {}
    names: dict[str, set[str]] = {part: set() for part in PARTS}
    for path in index.images:
        *above, name = Path(path).parts
        part = next((folders[folder] for folder in above if folder in folders), None)
        if part:
            part_of[path] = part
            names[part].add(name)
    train, test = names.values()
    if not (train and test):
        return {}, []
    both = sorted(train & test)
    if not both:
        return part_of, []
    shown = ", ".join(both[:5])
    return part_of, [f"{len(both)} images in both the train and the test folder: {shown}"]
