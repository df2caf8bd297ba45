"""Scoring many files: found, scored in order, journaled so that a killed run goes on.

Nothing here needs torch: what answers may be a Scorer in this process or a service elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from melanoma.data.csv_tables import read_table
from melanoma.data.images import SUFFIXES, Photograph, decode_image
from melanoma.data.readers.folder_tree import unique_names
from melanoma.data.readers.index import index_images
from melanoma.errors import DataError, ImageError
from melanoma.scoring.files.journal import FORMAT, Journal
from melanoma.scoring.files.score_rows import COLUMNS, Row, require_plain_names
from melanoma.storage import digest_of, read_file

if TYPE_CHECKING:
    from melanoma.scoring.scorer import Scorer

FIELDS = COLUMNS[1:]  # what the photograph decides; its name is put in when the table is written
_BATCH = 16


class ImageFile(NamedTuple):
    """An image's name and where it lies.

    The name is the file's stem, the CSV's cell, or, in a folder where two files have one stem, the
    path below that folder.
    """

    name: str
    path: Path


class FileScorer(Protocol):
    """Whatever scores files. `melanoma` are the classes that count as it."""

    name: str
    digest: str
    views: int
    melanoma: Sequence[str]

    def answer(self, photographs: Sequence[bytes]) -> list[Mapping[str, Any] | str]:
        """For each a Prediction's fields, or "code: sentence" where it has no score."""


class LocalScorer:
    """A Scorer in this process, as a FileScorer."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.name = scorer.bundle.name
        self.digest = scorer.bundle.digest
        self.views = scorer.views
        self.melanoma: Sequence[str] = scorer.bundle.melanoma

    def answer(self, photographs: Sequence[bytes]) -> list[Mapping[str, Any] | str]:
        """For each a Prediction's fields, or "code: sentence"; scored as one batch."""
        # Decoding is the processors' work, and every thread more keeps freed memory of its own.
        with ThreadPoolExecutor(min(len(photographs), os.cpu_count() or 1)) as pool:
            decoded = list(pool.map(self._decode, photographs))
        sound = [d for d in decoded if isinstance(d, Photograph)]
        found = iter(self.scorer.score_photographs(sound) if sound else [])
        return [d if isinstance(d, str) else next(found).as_dict() for d in decoded]

    def _decode(self, data: bytes) -> Photograph | str:
        """The square alone, which scoring leaves as it is: whole photographs are far larger."""
        try:
            photograph = decode_image(data)
        except ImageError as error:
            return f"{error.code}: {error}"
        return photograph._replace(pixels=self.scorer.square(photograph.pixels))


def find_images(
    given: Sequence[Path], *, data: Path | None = None, image_col: str | None = None
) -> list[ImageFile]:
    """The images that files, folders (searched whole, in name order) and CSVs mean.

    Raises DataError for what does not exist, holds no image, or means two images by one name.
    """
    found: list[ImageFile] = []
    for path in given:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not files:
                raise DataError(f"{path} holds no image ({', '.join(SUFFIXES)})")
            found += [ImageFile(*pair) for pair in zip(_names(path, files), files, strict=True)]
        elif path.suffix.lower() == ".csv":
            found += _listed(path, data or path.parent, image_col or "image_name")
        elif path.is_file():
            found.append(ImageFile(_utf8(path.stem), path))
        else:
            raise DataError(f"no image, folder or CSV at {path}")
    seen: dict[str, Path] = {}
    for image in found:
        if seen.setdefault(image.name, image.path) != image.path:
            raise DataError(
                f"two images are named {image.name}: {seen[image.name]} and {image.path}"
            )
    require_plain_names([image.name for image in found])
    return list(dict.fromkeys(found))


def _names(folder: Path, files: Sequence[Path]) -> list[str]:
    stems = [_utf8(file.stem) for file in files]
    if len(set(stems)) == len(stems):
        return stems
    return [_utf8(name) for name in unique_names([f.relative_to(folder) for f in files])]


def _utf8(name: str) -> str:
    """A file's name read as UTF-8, whatever the locale; bytes that are not stay surrogates."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def likeliest_classes(by_class: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    """The `count` classes of the highest probability, highest first, ties in the recipe's order.

    Sorted before anything is rounded, so that no two change places in print.
    """
    return sorted(by_class.items(), key=lambda item: -item[1])[:count]


def journal_key(scorer: FileScorer) -> str:
    """What a row depends on beside the photograph's bytes."""
    return digest_of([FORMAT, scorer.digest, scorer.views, COLUMNS])


def score_files(
    scorer: FileScorer,
    files: Sequence[ImageFile],
    *,
    journal: Journal | None = None,
    progress: Callable[..., Iterable[Any]],
) -> list[Row]:
    """A row a file, in order; a file that cannot be scored has `error` and no numbers.

    Rows that `journal` has are taken from there, and others added to it as they come, those with
    an error excepted: they are tried again.
    """
    book = journal or Journal()
    batches = [files[i : i + _BATCH] for i in range(0, len(files), _BATCH)]
    rows = []
    for batch in progress(batches, desc="score", unit=f"{_BATCH} images"):
        rows += _score_batch(scorer, batch, book)
    return rows


def _score_batch(scorer: FileScorer, files: Sequence[ImageFile], journal: Journal) -> list[Row]:
    read = [_read(file) for file in files]
    # By the bytes that are scored and nothing else: copies of a photograph are scored once.
    digests = [hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else "" for data in read]
    todo = {
        digest: data
        for digest, data in zip(digests, read, strict=True)
        if isinstance(data, bytes) and digest not in journal.rows
    }
    faulty: dict[str, Row] = {}
    answers = scorer.answer(list(todo.values())) if todo else []
    for digest, answer in zip(todo, answers, strict=True):
        if isinstance(answer, str):
            faulty[digest] = _faulty_row(answer)
        else:
            journal.add(digest, _row(answer))
    found = [
        _faulty_row(data) if isinstance(data, str) else faulty.get(digest) or journal.rows[digest]
        for digest, data in zip(digests, read, strict=True)
    ]
    return [{"image_name": file.name, **row} for file, row in zip(files, found, strict=True)]


def _read(file: ImageFile) -> bytes | str:
    try:
        return read_file(file.path)
    except OSError as error:
        return f"unreadable_file: {error.strerror}"


def _faulty_row(error: str) -> Row:
    return {**dict.fromkeys(FIELDS), "error": error}


def _row(answer: Mapping[str, Any]) -> Row:
    threshold = answer["threshold"]
    return {
        "melanoma_probability": answer["melanoma_probability"],
        "flagged": answer["flagged"],
        "threshold": threshold["value"] if threshold else None,
        "prediction": answer["prediction"],
        "probability": answer["probability"],
        "by_class": answer["by_class"],
        "by_fold": answer["by_fold"],
        "warnings": "; ".join(answer["warnings"]),
        "error": "",
    }


def _listed(path: Path, folder: Path, column: str) -> list[ImageFile]:
    table = read_table(path, needed=[column])
    index = index_images(folder)
    names = table[column].tolist()
    missing = [name for name in names if name not in index]
    if missing:
        raise DataError(
            f"{len(missing)} images of {path} are not under {folder}: "
            f"{', '.join(missing[:5])} (--data names their folder)"
        )
    return [ImageFile(name, folder / index[name]) for name in names]
