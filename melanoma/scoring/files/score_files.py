"""Scoring many files: in order, journaled so that a killed run goes on.

Files are read and decoded by threads while those before them are scored, a bounded number ahead,
and one batch's networks run while another's logits become answers: nothing waits for the other, and
memory does not grow with the number of files.
Nothing here needs torch: what answers may be a Scorer in this process or a service elsewhere.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from melanoma.data.images import MAX_FILE_BYTES, Photograph, decode_image
from melanoma.devices import count_cores
from melanoma.errors import ImageError, MelanomaError
from melanoma.freed_memory import give_freed_memory_back, keep_freed_memory
from melanoma.scoring.files.journal import FORMAT, Journal
from melanoma.scoring.files.score_rows import COLUMNS, Answer, Row, answered_row, faulty_row
from melanoma.storage import digest_of

if TYPE_CHECKING:
    from melanoma.scoring.prediction import Prediction
    from melanoma.scoring.scorer import Scorer

_BATCH = 16
_AHEAD = 32  # files that are read, decoded and not scored yet


class ReadableFile(Protocol):
    """A file that is scored: an ImageFile, or one that lies elsewhere."""

    @property
    def name(self) -> str:
        """The image's name."""

    def read(self) -> bytes:
        """The file's bytes. Raises OSError, ImageError."""


class FileScorer(Protocol):
    """Whatever scores files. `classes` are the bundle's (none where a service does not say),
    `melanoma` those that count as it; `threshold` is what was asked for in the place of the
    bundle's own, and so is `prevalence`; `engine` what runs the networks and how exactly;
    `batches_at_once` how many calls of `answer` may run, each in a thread;
    `elsewhere` what the bundle reached on other sets: name, source, images, auroc, sensitivity and
    specificity."""

    name: str
    digest: str
    views: int
    melanoma: Sequence[str]
    classes: Sequence[str]
    threshold: float | None
    prevalence: float | None
    engine: str
    batches_at_once: int
    elsewhere: Sequence[Mapping[str, Any]]

    def prepare(self, data: bytes) -> Any:
        """What `answer` takes of a photograph; several at a time, each in a thread."""

    def answer(self, photographs: Sequence[Any]) -> Sequence[Answer]:
        """For each a Prediction's fields, or "code: sentence" where it has no score; or the error
        that is to end the run once the others are kept."""


class LocalScorer:
    """A Scorer in this process, as a FileScorer.

    Raises RecipeError for a `prevalence` that the bundle cannot be moved to.
    """

    batches_at_once = 2

    def __init__(self, scorer: Scorer, *, prevalence: float | None = None) -> None:
        if prevalence is not None:
            from melanoma.scoring.other_prevalence import require_prevalence

            require_prevalence(prevalence, scorer.bundle)
        # Torch makes its activations anew for each batch.
        on_torch = scorer.members.backend == "torch" and scorer.device.type == "cpu"
        (keep_freed_memory if on_torch else give_freed_memory_back)()
        self.scorer = scorer
        self.name = scorer.bundle.name
        self.digest = scorer.bundle.digest
        self.views = scorer.views
        self.melanoma: Sequence[str] = scorer.bundle.melanoma
        self.classes: Sequence[str] = scorer.bundle.classes
        self.threshold = scorer.threshold
        self.prevalence = prevalence
        self.engine = f"{scorer.members.backend} {scorer.members.precision}"
        self.size: int | None = scorer.bundle.size
        results = scorer.bundle.report.external_results
        self.elsewhere: Sequence[Mapping[str, Any]] = [one.model_dump() for one in results]

    def answer(self, photographs: Sequence[Photograph | str]) -> list[Mapping[str, Any] | str]:
        """For each a Prediction's fields, or "code: sentence"; scored as one batch."""
        sound = [d for d in photographs if isinstance(d, Photograph)]
        predictions = iter(self.scorer.score_photographs(sound) if sound else [])
        return [d if isinstance(d, str) else self._as_asked(next(predictions)) for d in photographs]

    def _as_asked(self, prediction: Prediction) -> dict[str, Any]:
        if self.prevalence is not None:
            prediction = self.scorer.at_prevalence(prediction, self.prevalence)
            if self.threshold is not None:
                prediction = self.scorer.flag_from(prediction, self.threshold)
        return prediction.as_dict()

    def prepare(self, data: bytes) -> Photograph | str:
        """The square alone, which scoring leaves as it is: whole photographs are far larger."""
        try:
            photograph = decode_image(data, limit=MAX_FILE_BYTES)
        except ImageError as error:
            return f"{error.code}: {error}"
        return photograph._replace(pixels=self.scorer.square(photograph.pixels))


def likeliest_classes(by_class: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    """The `count` classes of the highest probability, highest first, ties in the recipe's order.

    Sorted before anything is rounded, so that no two change places in print.
    """
    return sorted(by_class.items(), key=lambda item: -item[1])[:count]


def journal_key(scorer: FileScorer) -> str:
    """What a row depends on beside the photograph's bytes."""
    asked = [scorer.views, scorer.threshold, scorer.prevalence, scorer.engine]
    return digest_of([FORMAT, scorer.digest, *asked, COLUMNS])


def score_files(
    scorer: FileScorer,
    files: Sequence[ReadableFile],
    *,
    journal: Journal | None = None,
    progress: Callable[..., Iterable[Any]],
) -> list[Row]:
    """A row a file, in order; a file that cannot be scored has `error` and no numbers.

    Rows that `journal` has are taken from there, and others added to it as they come, those with
    an error excepted: they are tried again.
    """
    book = journal or Journal()
    opened = _open_ahead(scorer, files, book)
    rows: list[Row] = []
    with closing(opened), _Batches(scorer, book) as batches:
        for _ in progress(range(0, len(files), _BATCH), desc="score", unit=f"{_BATCH} images"):
            while batches.has_room and (batch := list(itertools.islice(opened, _BATCH))):
                batches.start(batch)
            rows += batches.finish()
    return rows


class _Opened(NamedTuple):
    """A file, the sha256 of its bytes and what the scorer takes of it; or the error in reading."""

    name: str
    digest: str
    prepared: Any
    error: str = ""


def _open_ahead(
    scorer: FileScorer, files: Sequence[ReadableFile], journal: Journal
) -> Generator[_Opened]:
    """The files in order, opened by threads, _AHEAD more of them than have been taken."""
    waiting: deque[Future[_Opened]] = deque()
    # Decoding is the processors' work, and every thread more keeps freed memory of its own.
    pool = ThreadPoolExecutor(min(_BATCH, count_cores()), thread_name_prefix="decoding")
    try:
        for file in files:
            waiting.append(pool.submit(_open, scorer, file, journal))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _open(scorer: FileScorer, file: ReadableFile, journal: Journal) -> _Opened:
    data = _read(file)
    if isinstance(data, str):
        return _Opened(file.name, "", None, data)
    # By the bytes that are scored and nothing else: copies of a photograph are scored once.
    digest = hashlib.sha256(data).hexdigest()
    return _Opened(file.name, digest, None if digest in journal.rows else scorer.prepare(data))


_Started = tuple[Sequence[_Opened], Sequence[str], Future[Sequence[Answer]]]


class _Batches:
    """Batches that are being scored, at most `scorer.batches_at_once`; no photograph twice."""

    def __init__(self, scorer: FileScorer, journal: Journal) -> None:
        self._scorer, self._journal = scorer, journal
        self._pool = ThreadPoolExecutor(scorer.batches_at_once, thread_name_prefix="scoring")
        self._started: deque[_Started] = deque()
        self._asked: set[str] = set()  # in this run, by the bytes
        self._faulty: dict[str, Row] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def has_room(self) -> bool:
        """Whether another may be started."""
        return len(self._started) < self._scorer.batches_at_once

    def start(self, files: Sequence[_Opened]) -> None:
        """Score what no row and no batch before it has."""
        todo = {
            file.digest: file.prepared
            for file in files
            if not file.error
            and file.digest not in self._asked
            and file.digest not in self._journal.rows
        }
        self._asked.update(todo)
        answers = self._pool.submit(self._answer, list(todo.values()))
        self._started.append((files, list(todo), answers))

    def finish(self) -> list[Row]:
        """The rows of the batch that was started first; they are in the journal."""
        files, digests, answers = self._started.popleft()
        failed = None
        for digest, answer in zip(digests, answers.result(), strict=True):
            if isinstance(answer, MelanomaError):
                failed = failed or answer
            elif isinstance(answer, str):
                self._faulty[digest] = faulty_row(answer)
            else:
                self._journal.add(digest, answered_row(answer))
        if failed:
            raise failed
        return [{"image_name": file.name, **self._row_of(file)} for file in files]

    def _answer(self, photographs: Sequence[Any]) -> Sequence[Answer]:
        return self._scorer.answer(photographs) if photographs else []

    def _row_of(self, file: _Opened) -> Row:
        if file.error:
            return faulty_row(file.error)
        return self._faulty.get(file.digest) or self._journal.rows[file.digest]


def _read(file: ReadableFile) -> bytes | str:
    try:
        return file.read()
    except OSError as error:
        return f"unreadable_file: {error.strerror}"
    except ImageError as error:
        return f"{error.code}: {error}"
