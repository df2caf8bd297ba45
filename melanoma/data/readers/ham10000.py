"""HAM10000 as it was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from melanoma.data.csv_tables import read_table
from melanoma.data.readers.folder_tree import PARTS
from melanoma.data.readers.index import index_images
from melanoma.data.readers.labels import (
    ham10000_labels,
)
from melanoma.data.readers.table import ColumnLabels, LesionTable, make_table
from melanoma.recipe.data_sections import Data, HamData


def read_ham10000(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, HamData)
    meaning = ham10000_labels(classes)
    columns = {"lesion_id": "lesion_id", "age": "age", "sex": "sex", "site": "localization"}
    needed = ["image_id", "dx", *columns.values()]
    table = read_table(folder / "HAM10000_metadata.csv", needed=needed)
    for column in ("sex", "localization"):
        table[column] = table[column].replace("unknown", "")
    images, part_of, problems = _ham10000_images(folder)
    if part_of:
        table["part"] = [part_of.get(name, "train") for name in table["image_id"]]
    found = make_table(
        folder,
        table,
        image_col="image_id",
        sources=[images.get(name, "") for name in table["image_id"]],
        columns=columns,
        labels=ColumnLabels("dx", classes, labels=meaning),
        keep=[c for c in ("dx_type", "part") if c in table],
    ).but(problems=problems, images=images)
    absent = found.frame["source"] == ""
    if not absent.any():
        return found
    count = f"{int(absent.sum()):,} of {len(found):,} rows"
    if data.rows == "all":
        return found.but(
            warnings=[f"{count} have no image; data.rows=with_image leaves them out"], images=images
        )
    left_out = [f"{count} without an image left out (data.rows)"]
    kept = found.frame[~absent].reset_index(drop=True)
    return replace(found, frame=kept, warnings=(*found.warnings, *left_out))


def _ham10000_images(folder: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The index of the images, the part of each of its keys, and what is wrong.

    There are no parts unless both of their folders hold images.
    """
    train, test = (index_images(folder, below=f"HAM10000_images_{part}") for part in PARTS)
    if not (train and test):
        return index_images(folder, below="HAM10000_images*"), {}, []
    both = sorted({Path(path).name for key, path in train.items() if key in test})
    problems = [f"{len(both)} images in both the train and the test folder: {', '.join(both[:5])}"]
    part_of = dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
    return train | test, part_of, problems if both else []
