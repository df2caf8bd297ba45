"""Kaggle submissions: image_name,target in the rows and order of sample_submission.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from melanoma.data.csv_tables import read_table
from melanoma.errors import DataError
from melanoma.storage import write_text


def require_same_images(sample: Path, names: Sequence[str]) -> list[str]:
    """The sample's image names in their order.

    Raises DataError with both counts when the sample and the images differ.
    """
    wanted = read_table(sample, needed=["image_name", "target"])["image_name"].tolist()
    absent = [name for name in wanted if name not in set(names)]
    extra = [name for name in names if name not in set(wanted)]
    twice = len(wanted) - len(set(wanted))
    if absent or extra or twice:
        example = next(iter([*absent, *extra]), wanted[0])
        raise DataError(
            f"{sample} and the images differ in {len(absent) + len(extra) + twice} rows: "
            f"{len(absent)} without an image, {len(extra)} images not in it, {twice} repeated "
            f"(such as {example})"
        )
    return wanted


def write_submission(sample: Path, probabilities: Mapping[str, float], out: Path) -> None:
    """Write the ensemble's probabilities, in [0, 1], in the sample's order."""
    names = require_same_images(sample, list(probabilities))
    lines = [f"{name},{probabilities[name]:.9g}" for name in names]
    write_text(out, "\n".join(["image_name,target", *lines]) + "\n")
