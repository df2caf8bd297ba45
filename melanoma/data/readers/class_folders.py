"""A folder a class, at the top or in train/ and test/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melanoma.data.readers.folder_tree import find_class_images, read_groups
from melanoma.data.readers.table import FolderLabels, LesionTable, make_table
from melanoma.recipe.data_sections import ClassFolderData, Data


def read_class_folders(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, ClassFolderData)
    tree = find_class_images(folder)
    table = pd.DataFrame(tree.images, columns=["image_name", "folder", "part", "path"])
    group = {"patient": "patient_id", "lesion": "lesion_id"}[data.group_is]
    problems: list[str] = []
    if data.group_pattern is not None:
        table["group"], problems = read_groups(tree.images, data.group_pattern)
    lesion_table = make_table(
        folder,
        table,
        image_col="image_name",
        sources=[str(path) for path in table["path"]],
        columns={group: "group"},
        labels=FolderLabels(classes, data.labels),
        keep=["part"] if table["part"].any() else [],
    )
    return lesion_table.but(problems=[*tree.problems, *problems], warnings=tree.warnings)
