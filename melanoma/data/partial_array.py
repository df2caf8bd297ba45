"""An array in the making, which a kill at any moment leaves to go on from, or done.

NAME.npy.part holds the pixels and NAME.part.json which rows are done. When all are, the record is
written to NAME.json.part, the pixels take their name, and the record takes its own last: an array
with a record is whole, and one that lacks it is known as ours by NAME.json.part.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from melanoma.data.arrays import ImageArray, array_file, differing_rows, read_record, row_digest
from melanoma.data.file_states import FileState, compare_files
from melanoma.data.images import DECODER_VERSION, FileFacts, FileSquare
from melanoma.data.npy_file import NpyFile
from melanoma.errors import DataError
from melanoma.recipe.sections import Image
from melanoma.storage import digest_of, read_text, write_json, writing

_SAVE_EVERY = 2048
_SAVED = {"file_facts", "files", "warnings"}


class PartialArray:
    """The rows that are done, and a place for the others. Its user holds the folder."""

    def __init__(self, folder: Path, names: list[str], image: Image, *, part: str) -> None:
        self.final = array_file(folder, size=image.size, part=part)
        self.path = self.final.with_suffix(".npy.part")
        self.progress_file = self.final.with_suffix(".part.json")
        self.names, self.image = names, image
        self.key = digest_of([names, image.size, image.fit, DECODER_VERSION])
        self.digests = [""] * len(names)
        self.facts = [FileFacts(0, 0, 0)] * len(names)
        self.files = [FileState(0, 0, 0, "")] * len(names)
        self.warnings: list[tuple[str, ...]] = [()] * len(names)  # the decoder's
        self.pixels = NpyFile(self.path, len(names), (image.size, image.size, 3), "u1")
        self._take_up_earlier()
        self.since_save = 0
        self.pixels.open(goes_on=any(self.digests))

    def __enter__(self) -> PartialArray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.pixels.close(failed=kind is not None)

    def _take_up_earlier(self) -> None:
        """Take the rows that an earlier process says it wrote, where the pixels agree."""
        try:
            saved = json.loads(read_text(self.progress_file))
            # Before these were kept, a cut build saved none: its images are read once more.
            if saved["key"] != self.key or not saved.keys() >= _SAVED:
                return
            digests, facts = saved["digests"], [FileFacts(*row) for row in saved["file_facts"]]
            files = [FileState(*row) for row in saved["files"]]
            warnings = [tuple(map(str, row)) for row in saved["warnings"]]
            with self.path.open("rb") as file:
                for row, digest in enumerate(digests):
                    file.seek(self.pixels.offset(row)) if digest else None
                    if digest and row_digest(file.read(self.pixels.row_bytes)) == digest:
                        self.digests[row], self.facts[row] = digest, facts[row]
                        self.files[row], self.warnings[row] = files[row], warnings[row]
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return  # nothing to go on from

    def forget_changed(self, paths: Sequence[Path]) -> None:
        """Count as not done the rows whose files (one path a row) are no longer what was read."""
        done = [row for row, digest in enumerate(self.digests) if digest]
        changes = compare_files([(paths[row], self.files[row]) for row in done])
        for place in (*changes.other, *changes.absent):
            self.digests[done[place]], self.warnings[done[place]] = "", ()

    def put(self, row: int, file_square: FileSquare) -> None:
        """Write one row."""
        self.pixels.write(row, file_square.square.tobytes())
        self.digests[row] = row_digest(file_square.square)
        self.facts[row], self.files[row] = file_square.facts, file_square.state
        self.warnings[row] = file_square.warnings
        self.since_save += 1
        if self.since_save >= _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Put on disk what is done, and record it."""
        self.pixels.sync()
        done = {"key": self.key, "digests": self.digests, "file_facts": self.facts}
        write_json(self.progress_file, {**done, "files": self.files, "warnings": self.warnings})
        self.since_save = 0

    def finish(self) -> ImageArray:
        """The array without the rows that were skipped, as it is once it is committed."""
        rows = [row for row, digest in enumerate(self.digests) if digest]
        if not rows:
            raise DataError("no image could be read")
        skipped = tuple(n for n, digest in zip(self.names, self.digests, strict=True) if not digest)
        array = ImageArray(
            self.final,
            self.image.size,
            tuple(self.names[r] for r in rows),
            tuple(self.digests[r] for r in rows),
            skipped,
            file_facts=tuple(self.facts[r] for r in rows),
            decoder=DECODER_VERSION,
            files=tuple(self.files[r] for r in rows),
        )
        if skipped:
            self._close_gaps(rows)
        return array

    def _close_gaps(self, rows: list[int]) -> None:
        """Move the rows up within the file: a second copy would need its size on disk again."""
        first = next((new for new, old in enumerate(rows) if new != old), len(rows))
        # A kill while they move: only the rows that stay where they are count as done.
        self.digests[first:] = [""] * (len(self.names) - first)
        self.save()
        for new in range(first, len(rows)):
            self.pixels.write(new, self.pixels.read(rows[new]))
        self.pixels.shorten(len(rows))

    def commit(self, record: dict[str, Any]) -> None:
        """Give the pixels their name, and then the record its own."""
        self.pixels.sync()
        staged = self.final.with_suffix(".json.part")
        write_json(staged, record)
        with writing(self.final):
            self.path.replace(self.final)
            self.progress_file.unlink(missing_ok=True)
            staged.replace(self.final.with_suffix(".json"))


def is_unfinished(folder: Path, image: Image, *, part: str) -> bool:
    """Whether a process ended (or is) between the array's last row and its record."""
    return array_file(folder, size=image.size, part=part).with_suffix(".json.part").is_file()


def take_up_unfinished(folder: Path, image: Image, *, part: str) -> None:
    """Give our own array the record that a killed process had ready. The user holds the folder.

    Without it our array would look like Kaggle's, of which nobody knows how it was squared. Where
    the pixels are not those of the record, the record is dropped.
    """
    final = array_file(folder, size=image.size, part=part)
    staged = final.with_suffix(".json.part")
    if not staged.is_file():
        return
    try:
        ours = not differing_rows(read_record(staged, image.size))
    except DataError:
        ours = False
    if ours:
        staged.replace(final.with_suffix(".json"))
        final.with_suffix(".part.json").unlink(missing_ok=True)
    else:
        staged.unlink()
