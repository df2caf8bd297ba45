"""predict that was killed: it goes on, and no photograph ever has another one's score."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from predict_stub import BytesScorer, require_true_scores, score_of, write_photographs

from melanoma import predict
from melanoma.errors import StorageError
from melanoma.scoring.files.journal import open_journal

Door = Callable[..., Any]
MANY = [f"photograph {number}".encode() for number in range(40)]
HEALTHY = 32  # two batches of sixteen come through, the third does not


@pytest.fixture
def score(
    call_door: Door, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, BytesScorer]]:
    """Calls predict over a stub; returns the answer and the stub."""

    def call(*arguments: str | Path, stub: BytesScorer | None = None) -> tuple[Any, BytesScorer]:
        used = stub or BytesScorer()
        monkeypatch.setattr(predict, "_load_scorer", lambda *_: used)
        return call_door("predict", *arguments, "--weights", "none"), used

    return call


def break_off(score: Callable[..., Any], *arguments: str | Path) -> Path:
    """Run predict until it fails after two batches; returns the journal that it leaves."""
    answer, _ = score(*arguments, "--out", "scores.csv", stub=BytesScorer(healthy=HEALTHY))
    assert answer.code == 5, answer.err
    assert not Path("scores.csv").exists()
    assert f"note: {HEALTHY} scores are kept in scores.csv.journal; the same" in answer.err
    return Path("scores.csv.journal")


def test_a_run_that_broke_off_goes_on_and_scores_nothing_twice(score: Any, tmp_path: Path) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    journal = break_off(score, images)
    answer, stub = score(images, "--out", "scores.csv")
    assert answer.code == 0, answer.err
    assert stub.asked == MANY[HEALTHY:]
    require_true_scores(Path("scores.csv"), images)
    assert not journal.exists()
    assert sorted(path.name for path in Path().iterdir()) == ["images", "scores.csv"]


def test_another_patients_photographs_under_the_same_names_have_their_own_scores(
    score: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photographs(tmp_path / "anna" / "images", *MANY)
    bert = write_photographs(tmp_path / "bert" / "images", *(b"bert, " + data for data in MANY))
    out = tmp_path / "scores.csv"
    monkeypatch.chdir(tmp_path / "anna")
    assert score("images", "--out", out, stub=BytesScorer(healthy=HEALTHY))[0].code == 5
    monkeypatch.chdir(tmp_path / "bert")
    answer, stub = score("images", "--out", out)
    assert answer.code == 0, answer.err
    assert len(stub.asked) == len(MANY)
    require_true_scores(out, bert)


def test_a_photograph_replaced_meanwhile_is_scored_again(score: Any, tmp_path: Path) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    break_off(score, images)
    (images / "03.jpg").write_bytes(b"the right photograph")
    (images / "05.jpg").write_bytes(MANY[6])
    answer, stub = score(images, "--out", "scores.csv")
    assert answer.code == 0, answer.err
    assert stub.asked == [b"the right photograph", *MANY[HEALTHY:]]
    require_true_scores(Path("scores.csv"), images)


def test_a_photograph_that_moved_keeps_its_score_under_its_new_name(
    score: Any, tmp_path: Path
) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    break_off(score, images)
    for file in sorted(images.iterdir()):
        file.rename(file.with_name(f"z{file.name}"))
    answer, stub = score(images, "--out", "scores.csv")
    assert answer.code == 0, answer.err
    assert stub.asked == MANY[HEALTHY:]
    require_true_scores(Path("scores.csv"), images)


def test_copies_of_a_photograph_have_one_score_and_both_names(score: Any, tmp_path: Path) -> None:
    images = write_photographs(tmp_path / "images", b"one", b"two", b"one", b"bad", b"bad")
    answer, stub = score(images, "--out", "scores.csv", "--allow-errors")
    assert answer.code == 0, answer.err
    assert stub.asked == [b"one", b"two", b"bad"]
    table = pd.read_csv("scores.csv", dtype={"image_name": str})
    assert table["image_name"].tolist() == ["00", "01", "02", "03", "04"]
    scores = [score_of(data) for data in (b"one", b"two", b"one")]
    assert table["melanoma_probability"].tolist()[:3] == scores
    assert table["error"].tolist()[3:] == ["corrupt_image: no photograph"] * 2


def test_other_weights_begin_again(score: Any, tmp_path: Path) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    break_off(score, images)
    answer, stub = score(images, "--out", "scores.csv", stub=BytesScorer(digest="e" * 64))
    assert answer.code == 0
    assert len(stub.asked) == len(MANY)
    assert "scores.csv.journal is of other weights or options; it is begun again" in answer.err


Lines = list[bytes]


def _without_fields(line: bytes) -> bytes:
    digest, _, seal = json.loads(line)
    return json.dumps([digest, {"error": ""}, seal]).encode() + b"\n"


DAMAGES: dict[str, Callable[[Lines], Lines]] = {
    "half a line in the middle": lambda lines: [*lines[:3], lines[3][:20] + b"\n", *lines[4:]],
    "bytes that are no text": lambda lines: [*lines[:2], b"\0\1\xff\2\n", *lines[2:]],
    "an empty list": lambda lines: [*lines[:2], b"[]\n", *lines[2:]],
    "null": lambda lines: [*lines[:2], b"null\n", *lines[2:]],
    "a number for a row": lambda lines: [*lines[:2], b'["x", 1]\n', *lines[2:]],
    "three of another shape": lambda lines: [*lines[:2], b"[[], [], []]\n", *lines[2:]],
    "a row without fields": lambda lines: [lines[0], _without_fields(lines[1]), *lines[2:]],
    "another digit": lambda lines: [lines[0], lines[1].replace(b"0.", b"1.", 1), *lines[2:]],
    "an empty line": lambda lines: [*lines[:2], b"\n", *lines[2:]],
    "no header": lambda lines: lines[1:],
    "half a header": lambda lines: [lines[0][:9]],
    "nothing at all": lambda _: [],
    "binary": lambda _: [b"\xff\xfe\0" * 100],
    "the journal of an earlier version": lambda _: [b'{"key": "0"}\n', b'["00.jpg", {}]\n'],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_named_and_begun_again(
    score: Any, tmp_path: Path, damage: str
) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    journal = break_off(score, images)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + HEALTHY
    journal.write_bytes(b"".join(DAMAGES[damage](lines)))
    answer, stub = score(images, "--out", "scores.csv")
    assert answer.code == 0, answer.err
    assert "scores.csv.journal is damaged" in answer.err
    assert "it is begun again" in answer.err
    assert stub.asked == MANY
    require_true_scores(Path("scores.csv"), images)


def test_half_a_line_at_the_end_costs_that_line_alone(score: Any, tmp_path: Path) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    journal = break_off(score, images)
    journal.write_bytes(journal.read_bytes()[:-7])
    answer, stub = score(images, "--out", "scores.csv")
    assert (answer.code, "begun again" in answer.err) == (0, False)
    assert stub.asked == MANY[HEALTHY - 1 :]
    require_true_scores(Path("scores.csv"), images)


def test_two_at_once_with_one_table_are_refused_and_the_first_is_whole(
    score: Any, tmp_path: Path
) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    first = BytesScorer()
    refusals: list[StorageError] = []

    def second() -> None:
        try:
            with open_journal(Path("scores.csv"), "k", say=lambda _: None):
                pass
        except StorageError as error:
            refusals.append(error)

    def try_the_second() -> None:
        other = threading.Thread(target=second)
        other.start()
        other.join()

    first.before = try_the_second
    answer, _ = score(images, "--out", "scores.csv", stub=first)
    assert answer.code == 0, answer.err
    assert len(refusals) == 3, "once a batch"
    assert "scores.csv is being written by another process" in str(refusals[0])
    assert refusals[0].exit_code == 6
    require_true_scores(Path("scores.csv"), images)


def test_a_killed_runs_lock_locks_nobody_out(score: Any, tmp_path: Path) -> None:
    images = write_photographs(tmp_path / "images", b"one")
    Path(".scores.csv.lock").touch()
    assert score(images, "--out", "scores.csv")[0].code == 0
    assert not Path(".scores.csv.lock").exists()


def test_the_journal_is_as_private_as_its_table(score: Any, tmp_path: Path) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    Path("scores.csv").touch(mode=0o600)
    answer, _ = score(images, "--out", "scores.csv", stub=BytesScorer(healthy=HEALTHY))
    assert answer.code == 5
    assert stat.S_IMODE(Path("scores.csv.journal").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a link"])
def test_what_is_no_journal_is_left_as_it_is(score: Any, tmp_path: Path, kind: str) -> None:
    images = write_photographs(tmp_path / "images", b"one")
    journal, other = Path("scores.csv.journal"), tmp_path / "other"
    other.write_text("mine")
    {"a folder": journal.mkdir, "a pipe": lambda: os.mkfifo(journal)}.get(
        kind, lambda: journal.symlink_to(other)
    )()
    answer, stub = score(images, "--out", "scores.csv")
    assert answer.code == 6
    assert answer.err == "error: scores.csv.journal is in the way: it is no file; remove it\n"
    assert other.read_text() == "mine"
    assert not stub.asked
    shutil.rmtree(journal) if journal.is_dir() else journal.unlink()


def test_a_disk_that_fills_up_keeps_what_was_scored(
    score: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_photographs(tmp_path / "images", *MANY)
    real = Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if mode == "ab" and stub.asked and len(stub.asked) > HEALTHY:
            raise OSError(28, "No space left on device", str(self))
        return real(self, mode, *rest, **options)

    stub = BytesScorer()
    monkeypatch.setattr(Path, "open", full)
    answer, _ = score(images, "--out", "scores.csv", stub=stub)
    assert answer.code == 6
    assert "cannot write scores.csv.journal: No space left on device" in answer.err
    assert f"note: {HEALTHY} scores are kept in scores.csv.journal" in answer.err
    monkeypatch.setattr(Path, "open", real)
    answer, again = score(images, "--out", "scores.csv")
    assert (answer.code, again.asked) == (0, MANY[HEALTHY:])
    require_true_scores(Path("scores.csv"), images)


def test_scores_that_went_with_their_folder_are_not_said_to_be_kept(tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "gone" / "scores.csv"
    with (
        pytest.raises(StorageError, match=r"scores\.csv\.journal: No such file"),
        open_journal(out, "k", say=said.append) as journal,
    ):
        journal.add("a", {})
        shutil.rmtree(out.parent)
        journal.add("b", {})
    assert said == []
