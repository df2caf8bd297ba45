"""Every refusal that this library makes, and the exit code that a command ends with.

MelanomaError            1   a bug, or something that no child names
|-- RecipeError          2   a recipe or a command line that cannot be meant
|-- DataError            3   a table, image, array or fold file that cannot be used
|   |-- AbsentError      3   a table or folder of images that is not there
|   |-- FoldError        3   a fold file that leaks, or a fold that cannot be trained
|   `-- ImageError       3   bytes that are not an acceptable photograph (with a code for the API)
|-- DivergedError        4   training that no longer gives finite numbers
|-- WeightsError         5   weights, checkpoints or bundles that are absent, broken or another's
|-- ServiceError         5   a scoring service that is not there, or does not answer as one
|-- ScoreError           1   a model that gave a number which is no number
|-- ExplanationError     1   an explanation that was ended before it was whole
|-- StorageError         6   a file or folder that cannot be written, a folder in use
|   `-- DiskError          6   a disk that is full, over its quota, or read-only
`-- InterruptedRun  130/143  SIGINT or SIGTERM, with the state saved
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

# Control and surrogate characters and separators of lines, and (in Cf) what turns text around.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
_TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class MelanomaError(Exception):
    """A failure with a sentence for a person and an exit code for a machine."""

    exit_code = 1


class RecipeError(MelanomaError):
    """The recipe or the command line asks for something that does not exist."""

    exit_code = 2


class DataError(MelanomaError):
    """The table, the images or the array cannot be used as they are."""

    exit_code = 3


class AbsentError(DataError):
    """The table, or the folder, of a data set is not there."""


class FoldError(DataError):
    """The fold file leaks, or the fold in question cannot be trained or scored."""


class ImageError(DataError):
    """The bytes are not a photograph that is accepted; `code` names the reason for the API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DivergedError(MelanomaError):
    """Training gave non-finite numbers and could not recover."""

    exit_code = 4


class WeightsError(MelanomaError):
    """Weights, a checkpoint or a bundle are absent, broken, or belong to another run."""

    exit_code = 5


class ServiceError(MelanomaError):
    """A scoring service cannot be reached, stays busy, or does not answer as one."""

    # Beside absent weights: what should score is not to be had.
    exit_code = 5


class ScoreError(MelanomaError):
    """The model answered with a number that is not finite."""


class ExplanationError(MelanomaError):
    """An explanation was ended early: its deadline passed, or whoever asked has gone."""


class StorageError(MelanomaError):
    """A file or folder cannot be written, or another process holds the folder."""

    exit_code = 6


class DiskError(StorageError):
    """The disk is full, over its quota, or read-only; the message has path, free and needed."""


class InterruptedRun(MelanomaError):  # noqa: N818 - an interruption is no error
    """SIGINT (130) or SIGTERM (143) arrived; what was done is saved."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def plain_line(text: str, *, longest: int = 2_000) -> str:
    """The text as one line that a terminal prints and never obeys: what others said, or named."""
    printable = "".join(
        " " if c.isspace() else c
        for c in text
        if c.isspace() or (unicodedata.category(c) not in _UNPRINTABLE and c not in _TURNING)
    )
    line = " ".join(printable.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean NAME? (known: ...)` for a misspelled name, `known: ...` where none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"known: {', '.join(names)}"
    return f"did you mean {close[0]}? ({listed})" if close else listed
