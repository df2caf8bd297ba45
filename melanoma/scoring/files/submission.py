"""Submissions: the columns, rows and order of sample_submission.csv, filled with probabilities.

The sample's own column of names is kept (image_name, isic_id, image ...). One column beside it is
the melanoma probability, unless it is named as a class; several are classes of the bundle, as ISIC
2018 and 2019 ask for. A column `melanoma` holds all classes that count as it and have no column.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from melanoma.data.csv_tables import read_table
from melanoma.data.images import MAX_BYTES, MAX_FILE_BYTES, count_pixels
from melanoma.data.readers.index import plain_name, without_ending
from melanoma.errors import DataError, ImageError, RecipeError
from melanoma.scoring.files.find import ImageFile
from melanoma.scoring.files.score_rows import FORMULA
from melanoma.storage import write_text

_NAMES, _MELANOMA = "image_name", "melanoma"


class Sample(NamedTuple):
    """A sample submission: its header, which column holds the names, and the names."""

    header: list[str]
    id_col: str
    names: list[str]

    @property
    def targets(self) -> list[str]:
        """The columns to fill."""
        return [column for column in self.header if column != self.id_col]


def read_sample(path: Path) -> Sample:
    """The sample at `path`. Raises DataError where it has no column to fill."""
    table = read_table(path, needed=[])
    header = [str(column) for column in table]
    if len(header) < 2:
        raise DataError(f"{path} has no column for a score (columns found: {', '.join(header)})")
    id_col = _NAMES if _NAMES in header else header[0]
    return Sample(header, id_col, table[id_col].tolist())


def require_same_images(sample: Path, names: Sequence[str]) -> list[str]:
    """The images that the sample's rows mean, in their order: a cell is an image's name, or its
    name with an ending (ISIC_1.jpg).

    Raises DataError with both counts when the sample and the images differ.
    """
    ours = set(names)
    sample_names = [_meant(cell, ours) for cell in read_sample(sample).names]
    theirs = set(sample_names)
    absent = [name for name in sample_names if name not in ours]
    extra = [name for name in names if name not in theirs]
    twice = len(sample_names) - len(theirs)
    if absent or extra or twice:
        repeats = (name for name, rows in Counter(sample_names).items() if rows > 1)
        example = next(chain(absent, extra, repeats))
        raise DataError(
            f"{sample} and the images differ in {len(absent) + len(extra) + twice} rows: "
            f"{len(absent)} without an image, {len(extra)} images not in it, {twice} repeated "
            f"(such as {example})"
        )
    formulas = [name for name in sample_names if name.startswith(FORMULA)]
    if formulas:
        raise DataError(
            f"{len(formulas)} names of {sample} begin as a spreadsheet's formula does, such as "
            f"{formulas[0]}; rename them"
        )
    return sample_names


def _meant(cell: str, names: Set[str]) -> str:
    bare = without_ending(plain_name(cell))
    return bare if cell not in names and bare in names else cell


def require_photographs(files: Sequence[ImageFile], *, limit: int) -> None:
    """Raise DataError when a file is seen to be no photograph of at most `limit` bytes without
    decoding it: a submission needs every score, and none should be waited for in vain."""
    bad = []
    for file in files:
        try:
            if file.square is None:  # an array's row was looked at when it was opened
                count_pixels(file.read(), limit=limit)
        except (ImageError, OSError) as error:
            bad.append(f"{file.name}: {getattr(error, 'strerror', None) or error}")
    if bad:
        raise DataError(
            f"{len(bad)} of {len(files):,} images cannot be scored, and a submission needs all "
            f"({'; '.join(bad[:3])}); nothing was scored"
        )


def require_fillable(sample: Path, files: Sequence[ImageFile], *, remote: bool) -> None:
    """Raise DataError where no submission can come of these images, before one is scored."""
    require_same_images(sample, [file.name for file in files])
    require_photographs(files, limit=MAX_BYTES if remote else MAX_FILE_BYTES)


def require_answers(sample: Path, *, melanoma: Sequence[str], classes: Sequence[str]) -> None:
    """Raise where the bundle has no such numbers, before one is scored: RecipeError where the
    sample asks for a melanoma probability and no class is one, DataError where one of several
    columns is none of `classes` (empty: not known)."""
    targets = read_sample(sample).targets
    if not melanoma and len(targets) == 1 and targets[0] not in classes:
        raise RecipeError("--submission: the bundle's recipe names no melanoma class")
    if classes and len(targets) > 1:
        _require_classes(sample, targets, classes)


def _require_classes(sample: Path, targets: Sequence[str], classes: Sequence[str]) -> None:
    foreign = [column for column in targets if column not in classes]
    if foreign:
        raise DataError(
            f"{sample}: {', '.join(foreign)} are no classes of the bundle ({', '.join(classes)}); "
            "a sample with one column beside the names takes the melanoma probability"
        )


def write_submission(
    sample: Path,
    probabilities: Mapping[str, float],
    out: Path,
    *,
    by_class: Mapping[str, Mapping[str, float]] | None = None,
    melanoma: Sequence[str] = (),
) -> None:
    """Write the ensemble's probabilities of melanoma, in [0, 1], in the sample's order, or those of
    the classes that its columns name. `melanoma` names the classes that count as melanoma.

    Raises DataError where a column of several is no class.
    """
    names = require_same_images(sample, list(probabilities))
    header, id_col, written = sample_table = read_sample(sample)
    targets, classes = sample_table.targets, list(next(iter((by_class or {}).values()), {}))
    of_classes = len(targets) > 1 or targets[0] in classes
    if of_classes:
        _require_classes(sample, targets, classes)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(header)
    for name, cell in zip(names, written, strict=True):
        one = dict.fromkeys(targets, probabilities[name])
        scores = _of_columns((by_class or {})[name], targets, melanoma) if of_classes else one
        rows.writerow([cell if c == id_col else f"{scores[c]:.9g}" for c in header])
    write_text(out, text.getvalue())


def _of_columns(
    shares: Mapping[str, float], targets: Sequence[str], melanoma: Sequence[str]
) -> dict[str, float]:
    """A probability a column; in that of a class `melanoma` also its other classes that have none:
    they are melanomas, too."""
    scores = {name: shares[name] for name in targets}
    if _MELANOMA in scores and _MELANOMA in melanoma:
        scores[_MELANOMA] += sum(shares[name] for name in melanoma if name not in targets)
    return scores
