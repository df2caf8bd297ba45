"""The data section of a recipe: one record a reader, listed in READERS.

melanoma.data.readers.reader_catalog has the function that reads for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from melanoma.recipe.any_of import AnyOf
from melanoma.recipe.archive_sections import IsicData
from melanoma.recipe.container_sections import Isic2024Data, TfrecordData
from melanoma.recipe.data_section import (
    RESERVED,
    DataSection,
    labels_problem,
    two_classes_problem,
)
from melanoma.recipe.plain_text import as_text
from melanoma.recipe.sections import ClassName
from melanoma.recipe.source_section import Source


class SiimData(DataSection):
    """Kaggle's layout: train.csv with jpeg/train/NAME.jpg, or x_train_S.npy in csv order."""

    card = "A table and images in the layout of the SIIM-ISIC 2020 challenge (reader siim)"
    reader: Literal["siim"]
    """Kaggle's SIIM-ISIC layout."""
    array_channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels of an adopted array; ours are always RGB."""

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """Its target column knows two classes."""
        return two_classes_problem(self, binary=binary)


class CsvFolderData(DataSection):
    """Any table (one CSV) beside any folder of images.

    `keep_cols` are further columns that go into the fold file as they are, so that the report can
    be broken down by them.
    """

    card = "A table of its own beside a folder of images (reader csv_folder)"
    later = (("images", ""), ("target_cols", []), ("join", {}))
    reader: Literal["csv_folder"]
    """Any table beside any folder of images."""
    table: str | None = None
    """File name of the CSV; the only one in the folder when absent."""
    images: str = ""
    """Folder of the images below the data folder; the whole of it when absent."""
    image_col: str = "image_name"
    """Column of the image names, with or without folder and ending."""
    target_col: str | None = "target"
    """Column of the labels; null in a source that has none."""
    target_cols: tuple[str, ...] = ()
    """Columns of labels, one a class, with exactly one 1 a row; in place of `target_col`."""
    join: Annotated[dict[str, str], Field(default_factory=dict)]
    """Further CSVs in the folder: file -> column by which they are joined, such as lesion_id."""
    group_col: str | tuple[str, ...] | None = None
    """Column, or columns, of what must stay in one fold, beside those called patient or lesion."""
    group_is: Literal["patient", "lesion"] = "patient"
    """Whether `group_col` names patients or lesions, where its header does not say so."""
    positive: tuple[str, ...] | None = None
    """Values of `target_col` that are melanoma, where they are not 0 and 1."""
    labels: dict[str, ClassName] | None = None
    """What each value of `target_col` means: value -> class."""
    age_col: str | None = None
    """Column of ages in years."""
    sex_col: str | None = None
    """Column of sexes."""
    site_col: str | None = None
    """Column of body sites."""
    keep_cols: tuple[str, ...] = ()
    """Further columns for the fold file, to break the report down by."""

    @field_validator("keep_cols")
    @classmethod
    def _names_are_free(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        taken = sorted(set(names) & set(RESERVED))
        if taken:
            raise ValueError(
                f"{', '.join(taken)}: names that the fold file has for its own columns"
            )
        if len(set(names)) < len(names):
            raise ValueError("a column is named twice")
        return names

    @field_validator("target_col", mode="before")
    @classmethod
    def _one_column_is_named(cls, column: Any) -> Any:
        if isinstance(column, list | tuple):
            raise ValueError("one column is named here; labels in a column a class are target_cols")
        return column

    @field_validator("positive", mode="before")
    @classmethod
    def _one_value_is_a_list(cls, positive: Any) -> Any:
        text = as_text(positive)
        return [text] if isinstance(text, str) else text

    @field_validator("labels", mode="before")
    @classmethod
    def _cells_are_text(cls, labels: Any) -> Any:
        return as_text(labels)

    @property
    def group_cols(self) -> tuple[str, ...]:
        """The columns of `group_col`, however many."""
        return (self.group_col,) if isinstance(self.group_col, str) else self.group_col or ()

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """A cell must mean one of the classes, said in one way."""
        if self.positive is not None and self.labels is not None:
            return "data.positive and data.labels say the same thing twice; keep data.labels"
        if self.positive is not None and not binary:
            return f"data.positive: it fits two classes; for {len(classes)} use data.labels"
        return labels_problem(self.labels, classes) or self._target_cols_problem(classes)

    def _target_cols_problem(self, classes: Sequence[str]) -> str | None:
        """Each column must mean a class."""
        if len(set(self.target_cols)) < len(self.target_cols):
            return "data.target_cols: a column is named twice"
        if not self.target_cols:
            return None
        if self.positive is not None:
            foreign = [name for name in self.positive if name not in self.target_cols]
            return f"data.positive: {foreign[0]} is none of data.target_cols" if foreign else None
        meant = self.labels or {}
        foreign = [c for c in self.target_cols if meant.get(c, c) not in classes]
        if foreign:
            return (
                f"data.target_cols: {foreign[0]} is none of the classes ({', '.join(classes)}); "
                "data.labels says what a column means, data.positive which columns are melanoma"
            )
        return None


class HamData(DataSection):
    """HAM10000 as published: HAM10000_metadata.csv, images in folders HAM10000_images*.

    The classes are its seven diagnoses, or benign and melanoma (melanoma against the rest), or any
    others that `labels` gives each dx code. Where HAM10000_images_train and HAM10000_images_test
    are both there, they are its parts.
    """

    card = "HAM10000 as published (reader ham10000)"
    later = (("labels", None),)
    reader: Literal["ham10000"]
    """HAM10000 as published."""
    labels: dict[str, ClassName] | None = None
    """What each dx code means: code -> class; of its own classes, only what differs."""
    rows: Literal["all", "with_image"] = "all"
    """All: a row without its image is a fault. With_image: such rows are left out, and counted."""

    @field_validator("labels", mode="before")
    @classmethod
    def _cells_are_text(cls, labels: Any) -> Any:
        return as_text(labels)

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """A code must mean one of the classes."""
        return labels_problem(self.labels, classes)


class ClassFolderData(DataSection):
    """A folder a class, at the top or in train/ and test/."""

    card = "A folder of images a class (reader class_folders)"
    reader: Literal["class_folders"]
    """A folder a class."""
    labels: dict[str, ClassName] | None = None
    """What each folder means, where its name is not the class: folder -> class."""
    group_pattern: str | None = None
    """Regular expression whose one group is the patient or lesion in a file name."""
    group_is: Literal["patient", "lesion"] = "patient"
    """Whether the group is a patient or a lesion."""

    @field_validator("group_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = 1 if pattern is None else re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from error
        if groups != 1:
            raise ValueError(r"one group in brackets, such as ^(\d+)_, was expected")
        return pattern

    @field_validator("labels", mode="before")
    @classmethod
    def _cells_are_text(cls, labels: Any) -> Any:
        return as_text(labels)

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """A folder must mean one of the classes."""
        return labels_problem(self.labels, classes)


class NpyArrayData(DataSection):
    """Arrays alone: x_train_S.npy (or x_train.npy) with y_train.npy, and x_test_S.npy beside them.

    Rows have no names, and no patients unless `groups_file` says them: near-duplicates are then
    all that folds keep together.
    """

    card = "Arrays of squares without names (reader npy_arrays)"
    reader: Literal["npy_arrays"]
    """Arrays of squares and labels alone."""
    array_channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels of the array; ours are always RGB."""
    labels_file: str = "y_train.npy"
    """The labels: a class number or text a row, or one-hot."""
    labels: dict[str, ClassName] | None = None
    """What each label means, where it is not a class's number or name: label -> class."""
    groups_file: str | None = None
    """Patients or lesions, a text or number a row; none: every image by itself."""

    @field_validator("labels", mode="before")
    @classmethod
    def _cells_are_text(cls, labels: Any) -> Any:
        return as_text(labels)

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """A label must mean one of the classes."""
        return labels_problem(self.labels, classes)


class PhantomData(DataSection):
    """Procedural images in SIIM's layout, drawn into the data folder when it is empty."""

    card = "Procedural drawings (reader phantoms), which are no photographs of anyone"
    phantoms = True
    reader: Literal["phantoms"]
    """Procedural drawings, for the demo and for tests."""
    images: Annotated[int, Field(ge=20)] = 440
    """How many are drawn."""
    patients: Annotated[int, Field(ge=5)] = 72
    """Of how many patients."""
    size: Annotated[int, Field(ge=32, le=512)] = 96
    """Side of a drawing, pixels."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the drawings."""

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """The drawings are of two classes."""
        return two_classes_problem(self, binary=binary)


# Adding a reader is one section here and its function in melanoma.data.readers.catalog.
READERS: dict[str, type[DataSection]] = {
    "siim": SiimData,
    "csv_folder": CsvFolderData,
    "ham10000": HamData,
    "class_folders": ClassFolderData,
    "phantoms": PhantomData,
    "npy_arrays": NpyArrayData,
    "isic": IsicData,
    "isic2024": Isic2024Data,
    "tfrecord": TfrecordData,
}


Data = Annotated[DataSection, AnyOf(lambda: READERS.values(), by="reader")]

# A section has sources, and a source has a section: known only here.
Source.model_rebuild(_types_namespace={"Data": Data})
for _section in READERS.values():
    _section.model_rebuild()
