"""Kaggle submissions: image_name,target in the rows and order of sample_submission.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from melanoma.data.csv_tables import read_table
from melanoma.data.images import count_pixels, read_photograph
from melanoma.errors import DataError, ImageError
from melanoma.scoring.files.find import ImageFile
from melanoma.scoring.files.score_rows import FORMULA
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
    formulas = [name for name in wanted if name.startswith(FORMULA)]
    if formulas:
        raise DataError(
            f"{len(formulas)} names of {sample} begin as a spreadsheet's formula does, such as "
            f"{formulas[0]}; rename them"
        )
    return wanted


def require_photographs(files: Sequence[ImageFile], *, limit: int) -> None:
    """Raise DataError when a file is seen to be no photograph of at most `limit` bytes without
    decoding it: a submission needs every score, and none should be waited for in vain."""
    bad = []
    for file in files:
        try:
            count_pixels(read_photograph(file.path), limit=limit)
        except (ImageError, OSError) as error:
            bad.append(f"{file.name}: {getattr(error, 'strerror', None) or error}")
    if bad:
        raise DataError(
            f"{len(bad)} of {len(files):,} images cannot be scored, and a submission needs all "
            f"({'; '.join(bad[:3])}); nothing was scored"
        )


def write_submission(sample: Path, probabilities: Mapping[str, float], out: Path) -> None:
    """Write the ensemble's probabilities, in [0, 1], in the sample's order."""
    names = require_same_images(sample, list(probabilities))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image_name", "target"])
    rows.writerows([name, f"{probabilities[name]:.9g}"] for name in names)
    write_text(out, text.getvalue())
