"""The data sections of files that hold many photographs; their packages are extras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from melanoma.recipe.data_section import DataSection, two_classes_problem


class Isic2024Data(DataSection):
    """ISIC 2024 as Kaggle has it: train-metadata.csv with train-image.hdf5 (extra [hdf5])."""

    card = "A table and an HDF5 file of images as of the ISIC 2024 challenge (reader isic2024)"
    reader: Literal["isic2024"]
    """ISIC 2024: train-metadata.csv and train-image.hdf5."""

    def problem(self, classes: Sequence[str], *, binary: bool) -> str | None:
        """Its target column knows two classes."""
        return two_classes_problem(self, binary=binary)


class TfrecordData(DataSection):
    """TFRecords with image, image_name, target and patient_id in each record (extra [tfrecord]).

    Those that begin with `train`, or all where none does; those with `test` are the test images.
    """

    card = "TFRecords that hold images and their labels (reader tfrecord)"
    reader: Literal["tfrecord"]
    """TFRecords that hold images and labels."""
