"""The end of predict: what cannot be written is refused before the work, what is scored stays."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from predict_stub import BytesScorer, require_true_scores, score_of, write_photographs

from melanoma import explain, predict, storage
from melanoma.errors import DataError, StorageError
from melanoma.scoring.files.score_rows import plain_cell, require_plain_names, save_rows
from melanoma.scoring.files.submission import require_answers, write_submission

Door = Callable[..., Any]


@pytest.fixture
def score(
    call_door: Door, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, BytesScorer]]:
    """Calls predict over a stub; returns the answer and the stub."""

    def call(*arguments: str | Path) -> tuple[Any, BytesScorer]:
        stub = BytesScorer()
        monkeypatch.setattr(predict, "_load_scorer", lambda *_: stub)
        return call_door("predict", *arguments, "--weights", "none"), stub

    return call


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "images", b"one", b"two", b"three")


def require_refused(result: tuple[Any, BytesScorer], code: int, *said: str) -> None:
    """One line, nothing scored, nothing left."""
    answer, stub = result
    assert answer.code == code, answer.err
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("error: ")
    for words in said:
        assert words in answer.err
    assert not stub.asked
    assert not list(Path().rglob("*.journal")) + list(Path().rglob(".*"))


PLACES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a folder": (lambda path: path.mkdir(), "is a folder, not a file"),
    "a pipe": (lambda path: os.mkfifo(path), "is a pipe (FIFO), not a file"),
    "a link": (lambda path: path.symlink_to("real.csv"), "is a link to real.csv; name the file"),
    "a dangling link": (lambda path: path.symlink_to("nothing"), "is a link to nothing"),
    "a socket": (
        lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
        "is a socket, not a file",
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_refused_before_the_work(
    score: Any, images: Path, tmp_path: Path, place: str
) -> None:
    make, words = PLACES[place]
    Path("real.csv").write_text("mine")
    make(Path("out.csv"))
    before = os.lstat("out.csv").st_ino
    require_refused(score(images, "--out", "out.csv"), 6, "out.csv", words)
    assert os.lstat("out.csv").st_ino == before
    assert Path("real.csv").read_text() == "mine"
    assert not Path("nothing").exists()


@pytest.mark.parametrize("place", ["/dev/null", "/dev/full", "/proc/nothing/s.csv", "file/s.csv"])
def test_a_place_without_files_is_refused_before_the_work(
    score: Any, images: Path, place: str
) -> None:
    Path("file").touch()
    require_refused(score(images, "--out", place), 6, place.rpartition("/")[0])
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)


def test_a_name_that_leaves_no_room_for_a_temporary_one_is_refused(
    score: Any, images: Path
) -> None:
    require_refused(score(images, "--out", "s" * 246 + ".csv"), 6, "name too long")


def test_a_file_that_may_not_be_written_is_refused(
    score: Any, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out.csv").write_text("kept")
    real = Path.open

    def locked(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if self.name == "out.csv":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, mode, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", locked)  # root, as in a container, may write anything
        require_refused(score(images, "--out", "out.csv"), 6, "out.csv: Permission denied")
    assert Path("out.csv").read_text() == "kept"


def test_a_file_mounted_in_the_place_of_the_table_is_refused(
    score: Any, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out.csv").write_text("kept")

    def other_mount(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(storage.os, "link", other_mount)
    require_refused(score(images, "--out", "out.csv"), 6, "a file is mounted there")


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to mount")
def test_a_file_that_is_really_mounted_is_refused(score: Any, images: Path) -> None:
    Path("out.csv").touch()
    Path("mounted").write_text("kept")
    if subprocess.run(["mount", "--bind", "mounted", "out.csv"], check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        require_refused(score(images, "--out", "out.csv"), 6, "a file is mounted there")
        assert Path("out.csv").read_text() == "kept"
    finally:
        subprocess.run(["umount", "out.csv"], check=True)


def test_what_is_read_is_not_written_over(score: Any, images: Path) -> None:
    photograph = images / "00.jpg"
    Path("list.csv").write_text("image_name\n00\n")
    Path("sample.csv").write_text("image_name,target\n00,0\n01,0\n02,0\n")
    for arguments in (
        (images, "--out", photograph),
        ("list.csv", "--data", images, "--out", "list.csv"),
        (images, "--submission", "sample.csv", "--out", images / ".." / "sample.csv"),
    ):
        require_refused(score(*arguments), 2, "is read here; name another file to write")
    assert photograph.read_bytes() == b"one"


def test_a_missing_folder_is_made_before_the_work(score: Any, images: Path) -> None:
    answer, _ = score(images, "--out", "new/folder/scores.csv")
    assert answer.code == 0, answer.err
    require_true_scores(Path("new/folder/scores.csv"), images)


ODD = {
    "not UTF-8": b"l\xe4sion.jpg",
    "a line feed": b"a\nb.jpg",
    "a tab": b"a\tb.jpg",
    "an escape code": b"a\x1b[31mb.jpg",
    "a line separator": "a\u2028b.jpg".encode(),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_name_that_no_table_can_hold_is_refused_before_the_work(
    score: Any, images: Path, odd: str
) -> None:
    path = os.fsencode(images) + b"/" + ODD[odd]
    with open(path, "wb") as file:  # noqa: PTH123 - a Path has no name of bytes
        file.write(b"four")
    for given in (images, Path(os.fsdecode(path))):
        for options in (("--out", "out.csv"), ("--json",)):
            result = score(given, *options)
            require_refused(result, 3, "1 images have a name that is not UTF-8", "rename")
            assert "\x1b" not in result[0].err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_is_read_as_utf_8_in_any_locale(tmp_path: Path, images: Path, encoding: str) -> None:
    name = "läsion"
    (images / "00.jpg").rename(images / f"{name}.jpg")
    code = (
        "import sys; from melanoma import predict, terminal; from predict_stub import BytesScorer\n"
        "predict._load_scorer = lambda *_: BytesScorer()\n"
        f"sys.argv = ['predict', {str(images)!r}, '--weights', 'none']; terminal.run(predict.app)"
    )
    environment = {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding,
        "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert name in pd.read_csv(tmp_path / "scores.csv")["image_name"].tolist()
    assert b"sion: prediction" in done.stdout


def test_no_cell_of_the_table_is_a_formula(score: Any, tmp_path: Path) -> None:
    images = tmp_path / "images"
    names = ["=HYPERLINK(1)", "+1", "-1", "@x", "plain", "a=b"]
    images.mkdir()
    for name in names:
        (images / f"{name}.jpg").write_bytes(name.encode())
    answer, _ = score(images, "--out", "scores.csv", "--json")
    assert answer.code == 0, answer.err
    table = pd.read_csv("scores.csv", dtype=str, keep_default_na=False)
    assert not [c for c in table.to_numpy().ravel() if c.startswith(("=", "+", "-", "@"))]
    # A reader takes the sign away and has the names again.
    assert sorted(table["image_name"].str.removeprefix("'")) == sorted(names)
    assert '"image_name": "=HYPERLINK(1)"' in answer.out, "JSON is for machines"


def test_every_text_of_a_table_is_made_plain_and_no_number_is(tmp_path: Path) -> None:
    row = {
        "image_name": "a", "prediction": "=1+1", "probability": -0.5, "by_class": None,
        "warnings": "\tx", "error": "@y", "picture": "-z.png", "by_fold": [-1.0],
    }  # fmt: skip
    save_rows([row], tmp_path / "s.csv")
    read = pd.read_csv(tmp_path / "s.csv").iloc[0]
    assert read["probability"] == -0.5
    assert read["by_fold"] == "[-1.0]"
    for column in ("prediction", "warnings", "error", "picture"):
        assert read[column] == "'" + str(row[column])
    assert plain_cell("a") == "a"


def test_names_that_a_table_would_make_one_are_refused() -> None:
    require_plain_names(["=a", "a", "'b"])
    with pytest.raises(DataError, match="cannot tell"):
        require_plain_names(["=a", "'=a"])


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_table_written_anew_keeps_its_mode(score: Any, images: Path, mode: int) -> None:
    table = Path("scores.csv")
    table.touch()
    table.chmod(mode)
    assert score(images)[0].code == 0
    assert stat.S_IMODE(table.stat().st_mode) == mode


def test_a_new_table_has_the_mode_that_the_umask_leaves(score: Any, images: Path) -> None:
    before = os.umask(0o027)
    try:
        assert score(images)[0].code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("scores.csv").stat().st_mode) == 0o640


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_table_that_cannot_be_written_costs_no_score(
    score: Any, images: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        if isinstance(failure, OSError):
            raise StorageError(f"cannot write scores.csv: {failure.strerror}")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr("melanoma.scoring.files.score_rows.write_text", fail)
        answer, _ = score(images)
    assert answer.code == (6 if isinstance(failure, OSError) else 130)
    assert "note: 3 scores are kept in scores.csv.journal; the same command" in answer.err
    assert not Path("scores.csv").exists()
    answer, again = score(images)
    assert (answer.code, again.asked) == (0, []), answer.err
    require_true_scores(Path("scores.csv"), images)


def test_the_table_stands_before_a_picture_is_drawn(
    score: Any, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(_: Any, __: Any, picture: Path, ___: Any) -> None:
        require_true_scores(Path("scores.csv"), images)
        if picture.name.startswith("02"):
            raise StorageError("the disk is full")
        picture.write_bytes(b"")

    monkeypatch.setattr(explain, "_draw", draw)
    answer, _ = score(images, "--explain")
    assert answer.code == 6
    assert "picture" not in require_true_scores(Path("scores.csv"), images), "none is promised"
    (images / "02.jpg").rename(images / "z.jpg")
    answer, again = score(images, "--explain")
    assert (answer.code, again.asked) == (0, []), answer.err
    pictures = pd.read_csv("scores.csv")["picture"]
    assert pictures.tolist() == ["00_lime.png", "01_lime.png", "z_lime.png"]


# --- submissions


@pytest.fixture
def photographs(real_looking: bytes, tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "photographs", real_looking, real_looking + b" ")


@pytest.fixture
def real_looking(phantom_set: Path) -> bytes:
    """A JPEG: with a submission, headers are looked at first."""
    return next(phantom_set.rglob("*.jpg")).read_bytes()


def write_sample(*names: str) -> Path:
    path = Path("sample.csv")
    path.write_text("image_name,target\n" + "".join(f"{name},0\n" for name in names))
    return path


def test_a_submission_has_the_samples_rows_and_order(score: Any, photographs: Path) -> None:
    answer, _ = score(photographs, "--submission", write_sample("01", "00"))
    assert answer.code == 0, answer.err
    table = pd.read_csv("submission.csv", dtype={"image_name": str})
    assert table["image_name"].tolist() == ["01", "00"]
    expected = [score_of((photographs / f"{name}.jpg").read_bytes()) for name in ("01", "00")]
    assert table["target"].tolist() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("fault", [b"", b"no photograph", "a pipe", "another sample"])
def test_what_can_give_no_submission_is_refused_before_the_work(
    score: Any, photographs: Path, fault: bytes | str
) -> None:
    names = ["00", "01", "99"]
    if fault == "a pipe":
        os.mkfifo(photographs / "99.jpg")
    elif isinstance(fault, bytes):
        (photographs / "99.jpg").write_bytes(fault)
    require_refused(score(photographs, "--submission", write_sample(*names)), 3, "99")


def test_an_image_that_fails_in_a_submission_costs_no_other_score(
    score: Any, photographs: Path, real_looking: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only decoding shows it: its header is sound.
    cut = real_looking[: len(real_looking) // 2]
    (photographs / "02.jpg").write_bytes(cut)
    real = BytesScorer._one
    monkeypatch.setattr(
        BytesScorer, "_one", lambda self, data: real(self, b"bad" if data == cut else data)
    )
    sample = write_sample("00", "01", "02")
    answer, _ = score(photographs, "--submission", sample)
    assert answer.code == 3
    assert "1 image has no score (02: corrupt_image" in answer.err
    assert "note: 2 scores are kept in submission.csv.journal; the same command" in answer.err
    assert not Path("submission.csv").exists()
    (photographs / "02.jpg").write_bytes(real_looking + b"  ")
    answer, again = score(photographs, "--submission", sample)
    assert (answer.code, again.asked) == (0, [real_looking + b"  "]), answer.err


def test_a_name_in_a_submission_is_quoted_and_never_a_formula(tmp_path: Path) -> None:
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    sample.write_text('image_name,target\n"a,b",0\nc,0\n')
    write_submission(sample, {"c": 0.25, "a,b": 0.5}, out)
    assert pd.read_csv(out)["image_name"].tolist() == ["a,b", "c"]
    sample.write_text("image_name,target\n=1+1,0\n")
    with pytest.raises(DataError, match="begin as a spreadsheet's formula does, such as =1"):
        write_submission(sample, {"=1+1": 0.25}, out)


@pytest.mark.parametrize("header", ["isic_id,target", "image,p", "target,image_name"])
def test_a_sample_s_own_columns_are_kept(header: str, tmp_path: Path) -> None:
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    cells = ("b,0.3", "a,0.3") if not header.startswith("target") else ("0.3,b", "0.3,a")
    sample.write_text("\n".join([header, *cells]) + "\n")
    write_submission(sample, {"a": 0.25, "b": 0.5}, out)
    assert out.read_text() == sample.read_text().replace("0.3", "0.5", 1).replace("0.3", "0.25")


def test_a_sample_may_name_the_files_and_keeps_its_names(tmp_path: Path) -> None:
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    sample.write_text("image_id,target\nb.png,0\na.jpg,0\n")
    write_submission(sample, {"a": 0.25, "b": 0.5}, out)
    assert out.read_text() == "image_id,target\nb.png,0.5\na.jpg,0.25\n"
    sample.write_text("image_id,target\na.png,0\na.jpg,0\n")
    with pytest.raises(DataError, match="1 repeated"):
        write_submission(sample, {"a": 0.25}, out)
    sample.write_text("image_id,target\nb,0\na,0\na,0\n")
    with pytest.raises(DataError, match=r"1 repeated \(such as a\)"):
        write_submission(sample, {"a": 0.25, "b": 0.5}, out)


def test_a_sample_s_one_column_that_is_named_as_a_class_takes_that_class(tmp_path: Path) -> None:
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    by_class = {"a": {"nevus": 0.9, "melanoma": 0.1}}
    for column, filled in {"nevus": 0.9, "melanoma": 0.1, "target": 0.1}.items():
        sample.write_text(f"image,{column}\na,0\n")
        write_submission(sample, {"a": 0.1}, out, by_class=by_class)
        assert out.read_text() == f"image,{column}\na,{filled}\n"
    sample.write_text("image,nevus\na,0\n")
    require_answers(sample, melanoma=[], classes=["nevus", "eczema"])


def test_a_sample_of_several_columns_takes_the_classes(tmp_path: Path) -> None:
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    sample.write_text("image,NV,MEL\na,0,0\nb,0,0\n")
    by_class = {"a": {"MEL": 0.1, "NV": 0.9}, "b": {"MEL": 0.7, "NV": 0.3}}
    write_submission(sample, {"a": 0.1, "b": 0.7}, out, by_class=by_class)
    assert out.read_text() == "image,NV,MEL\na,0.9,0.1\nb,0.3,0.7\n"
    sample.write_text("image,NV,BCC\na,0,0\nb,0,0\n")
    with pytest.raises(DataError, match=r"BCC are no classes of the bundle \(MEL, NV\)"):
        write_submission(sample, {"a": 0.1, "b": 0.7}, out, by_class=by_class)


def test_a_sample_without_a_column_to_fill_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("image_name\na\n")
    with pytest.raises(DataError, match="no column for a score"):
        write_submission(tmp_path / "sample.csv", {"a": 0.1}, tmp_path / "out.csv")


# --- what is no file, as an image


def test_no_image_that_is_no_file_is_waited_for(score: Any, images: Path, tmp_path: Path) -> None:
    os.mkfifo(images / "03.jpg")
    (images / "04.jpg").symlink_to("/dev/zero")
    (images / "05.jpg").mkdir()
    answer, _ = score(images, "--out", "out.csv", "--allow-errors")
    assert answer.code == 0, answer.err
    errors = pd.read_csv("out.csv", keep_default_na=False)["error"].tolist()
    assert errors[:3] == [""] * 3
    assert errors[3:] == [
        "unreadable_file: is a pipe (FIFO), not a file",
        "unreadable_file: is a device, not a file",
        "unreadable_file: is a folder, not a file",
    ]
    os.mkfifo("list.csv")
    for given in (images / "03.jpg", "/dev/zero", "list.csv"):
        require_refused(score(given), 3, str(given))
