"""Scoring many files: found, scored in order, journaled so that a killed run goes on.

Nothing here needs torch: what answers may be a Scorer in this process or a service elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from melanoma.data.class_folders import unique_names
from melanoma.data.images import SUFFIXES, Photograph, decode_image
from melanoma.data.lesions import index_images
from melanoma.data.tables import read_table
from melanoma.errors import DataError, ImageError
from melanoma.storage import digest_of

if TYPE_CHECKING:
    from melanoma.scoring.scorer import Scorer

Row = dict[str, Any]
COLUMNS = (
    "image_name",
    "melanoma_probability",
    "flagged",
    "threshold",
    "prediction",
    "probability",
    "by_class",
    "by_fold",
    "warnings",
    "error",
)
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

    def answer_files(self, files: Sequence[ImageFile]) -> list[Mapping[str, Any] | str]:
        """For each file a Prediction's fields, or "code: sentence" where it has no score."""


class LocalScorer:
    """A Scorer in this process, as a FileScorer."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.name = scorer.bundle.name
        self.digest = scorer.bundle.digest
        self.views = scorer.views
        self.melanoma: Sequence[str] = scorer.bundle.melanoma

    def answer_files(self, files: Sequence[ImageFile]) -> list[Mapping[str, Any] | str]:
        """For each file a Prediction's fields, or "code: sentence"; scored as one batch."""
        # Decoding is the processors' work, and every thread more keeps freed memory of its own.
        with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1)) as pool:
            decoded = list(pool.map(self._decode, files))
        photographs = [d for d in decoded if isinstance(d, Photograph)]
        found = iter(self.scorer.score_photographs(photographs) if photographs else [])
        return [d if isinstance(d, str) else next(found).as_dict() for d in decoded]

    def _decode(self, file: ImageFile) -> Photograph | str:
        """The square alone, which scoring leaves as it is: whole photographs are far larger."""
        try:
            photograph = decode_image(file.path.read_bytes())
        except ImageError as error:
            return f"{error.code}: {error}"
        except OSError as error:
            return f"unreadable_file: {error.strerror}"
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
            found.append(ImageFile(path.stem, path))
        else:
            raise DataError(f"no image, folder or CSV at {path}")
    seen: dict[str, Path] = {}
    for image in found:
        if seen.setdefault(image.name, image.path) != image.path:
            raise DataError(
                f"two images are named {image.name}: {seen[image.name]} and {image.path}"
            )
    return list(dict.fromkeys(found))


def _names(folder: Path, files: Sequence[Path]) -> list[str]:
    stems = [file.stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    return unique_names([file.relative_to(folder) for file in files])


def as_columns(rows: Sequence[Row]) -> list[Row]:
    """The rows as a table has them: by_class as a column a class, prob_NAME, where there are more
    than the two whose probabilities add up to 1."""
    classes: dict[str, float] = next((row["by_class"] for row in rows if row["by_class"]), {})
    wanted = classes if len(classes) > 2 else {}
    return [
        {
            **{key: value for key, value in row.items() if key != "by_class"},
            **{f"prob_{name}": (row["by_class"] or {}).get(name) for name in wanted},
        }
        for row in rows
    ]


def likeliest_classes(by_class: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    """The `count` classes of the highest probability, highest first, ties in the recipe's order.

    Sorted before anything is rounded, so that no two change places in print.
    """
    return sorted(by_class.items(), key=lambda item: -item[1])[:count]


def score_files(
    scorer: FileScorer,
    files: Sequence[ImageFile],
    *,
    journal: Path | None = None,
    progress: Callable[..., Iterable[Any]],
) -> list[Row]:
    """A row a file, in order; a file that cannot be scored has `error` and no numbers.

    Rows are journaled beside `journal` as they come, under the bundle's digest, and the journal
    goes when all are done.
    """
    book = _Journal(journal, scorer) if journal else None
    done = book.rows() if book else {}
    todo = [f for f in files if str(f.path) not in done]
    batches = [todo[i : i + _BATCH] for i in range(0, len(todo), _BATCH)]
    for batch in progress(batches, desc="score", unit=f"{_BATCH} images"):
        for file, answer in zip(batch, scorer.answer_files(batch), strict=True):
            done[str(file.path)] = row = _row(file, answer)
            if book:
                book.add(file, row)
    if book:
        book.close()
    return [done[str(f.path)] for f in files]


def _row(file: ImageFile, answer: Mapping[str, Any] | str) -> Row:
    if isinstance(answer, str):
        return {**dict.fromkeys(COLUMNS), "image_name": file.name, "error": answer}
    threshold = answer["threshold"]
    return {
        "image_name": file.name,
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


class _Journal:
    """OUT.journal: a first line that says what scores, then a line a row."""

    def __init__(self, out: Path, scorer: FileScorer) -> None:
        self.path = out.with_name(out.name + ".journal")
        self.key = digest_of([scorer.digest, scorer.views, COLUMNS])
        self.done = self._read()
        out.parent.mkdir(parents=True, exist_ok=True)
        # Rewritten whole: a killed writer may have left half a line at its end.
        lines = [json.dumps({"key": self.key})]
        lines += [json.dumps([path, row]) for path, row in self.done.items()]
        self.path.write_text("".join(line + "\n" for line in lines))
        self.file = self.path.open("a")

    def rows(self) -> dict[str, Row]:
        return dict(self.done)

    def add(self, file: ImageFile, row: Row) -> None:
        self.file.write(json.dumps([str(file.path), row]) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()
        self.path.unlink()

    def _read(self) -> dict[str, Row]:
        """The whole lines of an earlier journal by the same scorer; errors are tried again."""
        if not self.path.is_file():
            return {}
        head, *lines = self.path.read_text().split("\n")
        if head != json.dumps({"key": self.key}):
            return {}
        pairs = [json.loads(line) for line in lines[:-1]]
        return {path: row for path, row in pairs if not row["error"]}
