"""Faults at the doors: one line that begins with error:, the right exit code, nothing half done.

Numbers are the rows of shared/faults.md. A door is called in this process where that is enough
(`call_door`), and in one of its own where signals, start-up or the process's end are the matter.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from image_bytes import palette_png_without_palette

from melanoma import prepare, split, train
from melanoma.data import array_build
from melanoma.models.backbones import BACKBONES
from melanoma.models.losses import LOSSES, LossEntry
from melanoma.recipe.overrides import load_recipe
from melanoma.training.run.folder import hold, load_run
from melanoma.training.run.resume_state import load_state

Door = Callable[..., Any]
Recipes = Callable[..., Path]
MODULES = Path(prepare.__file__).parent.glob("*.py")
SLOW_TO_IMPORT = {
    *("torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "skimage", "matplotlib"),
    *("albumentations", "cv2", "PIL", "fastapi", "uvicorn", "mlflow"),
}
DOORS = sorted(path.stem for path in MODULES if "t.run(app)" in path.read_text())


@pytest.fixture(scope="module")
def inputs(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the phantoms' array of 32 px and a sound fold file of three folds."""
    folder = tmp_path_factory.mktemp("inputs")
    recipe_file = folder / "recipe.yaml"
    recipe_file.write_text(
        "data: {reader: siim}\nimage: {size: 32}\nfolds: {name: tiny, k: 3}\nname: tiny\n"
    )
    recipe = load_recipe(recipe_file)
    prepare.prepare_array(recipe, phantom_set, folder / "arrays")
    split.split_folds(recipe, phantom_set, folder / "arrays", folder / "folds.csv")
    return folder


@pytest.fixture
def options(phantom_set: Path, inputs: Path, tiny_recipe: Recipes) -> list[str | Path]:
    """The options that every training command of a test has in common."""
    named = {
        "--config": tiny_recipe(),
        "--data": phantom_set,
        "--arrays": inputs / "arrays",
        "--folds": inputs / "folds.csv",
        "--device": "cpu",
    }
    return [part for pair in named.items() for part in pair]


@pytest.fixture
def own_set(phantom_set: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms that a test may damage."""
    folder = tmp_path / "own"
    shutil.copytree(phantom_set, folder)
    return folder


def require_refusal(answer: Any, code: int, *said: str) -> str:
    """The one line of the refusal, which must be the last of stderr and hold what is `said`."""
    code_found = answer.returncode if hasattr(answer, "returncode") else answer.code
    err = answer.stderr if hasattr(answer, "stderr") else answer.err
    lines = err.splitlines()
    assert code_found == code, err
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], err
    assert "Traceback" not in err
    for words in said:
        assert words in lines[-1]
    return str(lines[-1])


def interrupt_after(epoch: int, number: signal.Signals) -> Callable[[dict[str, Any]], None]:
    """In _say_epoch's place: raises the signal once that epoch is done."""

    def say(record: dict[str, Any]) -> None:
        if record["epoch"] == epoch:
            signal.raise_signal(number)

    return say


@pytest.fixture
def interrupted(
    call_door: Door, options: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A run folder whose fold 0 was interrupted after its first epoch of two."""
    with monkeypatch.context() as patched:
        patched.setattr(train, "_say_epoch", interrupt_after(1, signal.SIGINT))
        answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 130, "interrupted in epoch 2; the state is saved")
    folder = Path("run").resolve() / "fold_0"
    yield folder


# Every door.


def test_the_doors_are_found() -> None:
    assert {"prepare", "check", "split", "train", "evaluate"} <= set(DOORS)


@pytest.mark.parametrize("door", DOORS)
def test_help_answers_without_importing_what_is_slow(door: str, run_door: Door) -> None:
    """A second is the promise; a count of what is imported holds on a busy machine too."""
    answer = run_door(door, "--help", NO_COLOR="1", PYTHONPROFILEIMPORTTIME="1")
    assert answer.returncode == 0
    assert f"python -m melanoma.{door}" in answer.stdout
    lines = answer.stderr.splitlines()
    assert all(line.startswith("import time:") for line in lines)
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}
    assert "typer" in imported
    assert imported & SLOW_TO_IMPORT == set()


@pytest.mark.parametrize("door", DOORS)
def test_a_command_line_that_cannot_be_meant_is_one_line(door: str, call_door: Door) -> None:
    require_refusal(call_door(door, "--no-such-option"), 2, "--no-such-option", "--help")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--fold"),
        (["--fold", "0", "--seed", "-1"], "--seed"),
        (["--fold", "0", "--seed", "x"], "--seed"),
        (["--fold"], "--fold"),
        (["--fold", "0", "--resume", "maybe"], "--resume maybe: auto or never"),
        (["--fold", "0", "--device", "tpu"], "--device tpu: auto, cpu or cuda"),
        (["--fold", "0", "--set", "training.epochs"], "expected a.b=value"),
    ],
)
def test_usage_errors_of_train_have_code_2(
    arguments: list[str], said: str, call_door: Door, tiny_recipe: Recipes
) -> None:
    require_refusal(call_door("train", "--config", tiny_recipe(), *arguments), 2, said)


@pytest.mark.parametrize("door", ["prepare", "check", "split", "train", "evaluate"])
def test_an_absent_recipe_is_refused_with_those_there_are(
    door: str, call_door: Door, tiny_recipe: Recipes
) -> None:
    path = tiny_recipe().with_name("other.yaml")
    fold = ["--fold", "0"] if door == "train" else []
    require_refusal(call_door(door, "--config", path, *fold), 2, "other.yaml", "tiny.yaml")


def test_a_bug_is_called_a_bug_and_shows_where(
    call_door: Door, options: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("melanoma.data.folds.load_folds", broken)
    answer = call_door("train", *options, "--fold", "0", "--dry-run")
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1] == (
        "error: this is a bug in melanoma: ZeroDivisionError: of all things"
    )


def test_a_reader_that_leaves_early_is_no_error(options: list[str | Path], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "melanoma.split", *map(str, options[:6]), "--out", "f.csv"]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


# Row 42: another run's folder.


def test_another_recipe_or_another_split_in_the_folder_is_refused_by_its_differences(
    interrupted: Path, call_door: Door, options: list[str | Path], inputs: Path, tmp_path: Path
) -> None:
    again = [*options, "--fold", "0", "--weights", "run"]
    line = require_refusal(
        call_door(
            "train", *again, "--set", "optimizer.rate=0.01", "--set", "model.backbone=resnet50"
        ),
        5,
        str(interrupted.relative_to(tmp_path)),
        "model.backbone: resnet18 -> resnet50",
        "optimizer.rate: 0.001 -> 0.01",
        "--force-resume",
    )
    assert line.count(" -> ") == 2
    frame = pd.read_csv(inputs / "folds.csv")
    frame["fold"] = (frame["fold"] + 1) % 3
    frame.to_csv("turned.csv", index=False)
    again[again.index("--folds") + 1] = "turned.csv"
    require_refusal(call_door("train", *again), 5, "folds_digest: ")
    assert load_state(interrupted, warn=print) is not None


def test_a_difference_can_be_insisted_upon(
    interrupted: Path, call_door: Door, options: list[str | Path]
) -> None:
    answer = call_door(
        "train",
        *options,
        *("--fold", "0", "--weights", "run", "--set", "optimizer.rate=0.01", "--force-resume"),
    )
    assert answer.code == 0, answer.err
    assert "resuming at epoch 2" in answer.err
    assert "rate 1.00e-02" in answer.err
    assert load_run(interrupted).facts["finished"]


def test_a_finished_fold_is_left_as_it_is(
    interrupted: Path, call_door: Door, options: list[str | Path]
) -> None:
    """Design 10 and rows 41 and 42, on one run."""
    command = ["train", *options, "--fold", "0", "--weights", "run"]
    assert call_door(*command).code == 0
    files = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in interrupted.iterdir()}
    names = {path.name for path in files}
    assert {"model.safetensors", "oof.csv", "run.json"} <= names
    assert not any(name.startswith("state") for name in names)
    answer = call_door(*command)
    assert answer.code == 0
    assert "finished already; nothing to do" in answer.err
    kept = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in interrupted.iterdir()}
    lock = interrupted / ".lock"
    assert {p: v for p, v in kept.items() if p != lock} == {
        p: v for p, v in files.items() if p != lock
    }
    require_refusal(call_door(*command, "--set", "seed=8"), 5, "holds another run (seed: 0 -> 8)")
    model = interrupted / "model.safetensors"
    damaged = bytearray(model.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    model.write_bytes(damaged)
    require_refusal(call_door(*command), 5, "model.safetensors: sha256 mismatch")
    evaluate = ["evaluate", *options[:2], "--folds", options[7], "--weights", "run"]
    require_refusal(call_door(*evaluate, "--allow-missing"), 5, "sha256 mismatch")


def test_evaluate_refuses_what_is_not_trained(
    interrupted: Path, call_door: Door, options: list[str | Path]
) -> None:
    command = ["evaluate", *options]
    require_refusal(call_door(*command, "--weights", "nowhere"), 5, "nowhere/fold_0 is not trained")
    require_refusal(call_door(*command, "--weights", "run"), 5, "run/fold_0 is not finished")
    require_refusal(
        call_door(*command, "--weights", "run", "--allow-missing"), 5, "no finished fold in run"
    )


# Row 44: disks.


@pytest.mark.parametrize("place", ["/dev/full/x", "a file/x", "/proc/nothing"])
def test_a_place_that_cannot_be_written_is_named_before_training(
    place: str, call_door: Door, options: list[str | Path]
) -> None:
    Path("a file").write_text("")
    answer = call_door("train", *options, "--fold", "0", "--weights", place)
    require_refusal(answer, 6, f"cannot write {place}/fold_0: ", " bytes free, ", " needed)")
    assert "epoch" not in answer.err


def test_prepare_and_split_name_a_place_that_cannot_be_written(
    call_door: Door, options: list[str | Path], phantom_set: Path
) -> None:
    Path("a file").write_text("")
    given = ["--config", options[1], "--data", phantom_set]
    require_refusal(call_door("prepare", *given, "--arrays", "a file/x"), 6, "a file/x")
    require_refusal(call_door("split", *given, "--out", "a file/x.csv"), 6, "a file/x.csv")
    require_refusal(call_door("split", *given, "--out", "/dev/full/x.csv"), 6, "/dev/full/x.csv")


def test_too_little_room_is_found_before_training(
    call_door: Door, options: list[str | Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("melanoma.storage.shutil.disk_usage", lambda _: usage)
    answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 6, "run/fold_0: 1,000,000 bytes free, ", " needed; make room")
    assert "epoch" not in answer.err


def test_a_disk_that_fills_up_leaves_the_previous_state_whole(
    interrupted: Path,
    call_door: Door,
    options: list[str | Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit on a file's size stands in for a full disk; it strikes in the middle of a file."""
    command = ["train", *options, "--fold", "0", "--weights", "run"]
    before = {path: path.read_bytes() for path in interrupted.glob("state*")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patched:
        patched.setattr(train, "_say_epoch", interrupt_after(2, signal.SIGTERM))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
            answer = call_door(*command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    require_refusal(answer, 6, f"cannot write {Path('run/fold_0/')}", "bytes free")
    assert {path: path.read_bytes() for path in interrupted.glob("state*")} == before
    assert not list(interrupted.glob(".*.tmp"))
    answer = call_door(*command)
    assert answer.code == 0, answer.err
    assert "resuming at epoch 2" in answer.err


def test_a_folder_in_use_is_refused(call_door: Door, options: list[str | Path]) -> None:
    with hold(Path("run/fold_0"), needed=0):
        answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 6, "run/fold_0 is in use by another process", "--weights DIR")


# Row 45: signals.


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_state_and_the_same_command_finishes(
    number: signal.Signals, code: int, options: list[str | Path], tmp_path: Path, call_door: Door
) -> None:
    epochs = ["--set", "training.epochs=5"]
    arguments = [*map(str, options), "--fold", "1", "--weights", "run", *epochs]
    process = subprocess.Popen(
        [sys.executable, "-m", "melanoma.train", *arguments],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    while "fold 1 epoch  1:" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    ended = subprocess.CompletedProcess([], process.returncode, "", said + rest)
    require_refusal(ended, code, "fold 1 interrupted in epoch ", "the same command resumes")
    folder = tmp_path / "run/fold_1"
    state = load_state(folder, warn=pytest.fail)
    assert state is not None
    done = state["counters"]["epoch"]
    assert 1 <= done < 5
    assert not (folder / "model.safetensors").exists()
    answer = call_door("train", *arguments)
    assert answer.code == 0, answer.err
    assert f"resuming at epoch {done + 1}" in answer.err
    history = pd.read_json(folder / "metrics.jsonl", lines=True)
    assert history["epoch"].tolist() == list(range(1, 6))


def test_the_state_holds_every_step_up_to_the_interruption(interrupted: Path) -> None:
    state = load_state(interrupted, warn=pytest.fail)
    assert state is not None
    counters = state["counters"]
    assert (counters["epoch"], counters["batch"]) == (1, 1)


def test_a_resumed_run_ends_in_the_bytes_of_an_unbroken_one(
    interrupted: Path, call_door: Door, options: list[str | Path]
) -> None:
    for weights in ("run", "unbroken"):
        assert call_door("train", *options, "--fold", "0", "--weights", weights).code == 0
    for name in ("model.safetensors", "oof.csv"):
        unbroken = Path("unbroken/fold_0") / name
        assert (interrupted / name).read_bytes() == unbroken.read_bytes()


def test_an_interrupted_prepare_says_so_and_goes_on(
    call_door: Door,
    options: list[str | Path],
    phantom_set: Path,
    inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["prepare", "--config", options[1], "--data", phantom_set, "--arrays", "arrays"]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(array_build, "read_measured", stop)
        answer = call_door(*given)
    require_refusal(answer, 130, "interrupted")
    assert call_door(*given).code == 0
    made, whole = Path("arrays/x_train_32.npy"), inputs / "arrays/x_train_32.npy"
    assert made.read_bytes() == whole.read_bytes()


# Rows 46 to 48: the table.


HEADER = "image_name,patient_id,target\n"
TABLES = {
    "absent": (None, "no table at "),
    "empty": ("", "is empty; columns needed: image_name, patient_id, target"),
    "no rows": (HEADER, "has a header and no rows"),
    "no column": ("image_name,patient,target\na,b,1\n", "patient_id (did you mean patient?)"),
    "byte-order mark": ("\ufeff" + HEADER + "a,b,1\n", "byte-order mark"),
    "semicolons": (HEADER.replace(",", ";") + "a;b;1\n", "not separated by commas"),
    "targets": (HEADER + "a,p,x\nb,p,2\nc,p,\nd,p,NaN\ne,p,1\nf,p,0\n", "4 rows whose target"),
    "conflict": (HEADER + "a,p,0\nb,p,1\na,p,1\n", "1 images stand twice with different"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_faulty_table_is_refused_alike_by_every_door_that_reads_it(
    fault: str, call_door: Door, tiny_recipe: Recipes
) -> None:
    content, said = TABLES[fault]
    folder = Path("faulty")
    folder.mkdir()
    if content is not None:
        (folder / "train.csv").write_text(content)
    given = ["--config", tiny_recipe(), "--data", folder]
    for door in ("check", "prepare", "split", "train"):
        fold = ["--fold", "all"] if door == "train" else []
        line = require_refusal(call_door(door, *given, *fold), 3, said)
        assert str(folder) in line
        if fault == "targets":
            assert "row 1 (line 2): 'x', row 2 (line 3): '2', row 3 (line 4): ''" in line
    assert not list(Path().glob("folds/*"))
    assert not Path("arrays/x_train_32.npy").exists()


def test_a_row_that_stands_twice_is_dropped_with_a_warning(
    own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    csv = own_set / "train.csv"
    csv.write_text(csv.read_text() + csv.read_text().splitlines()[4] + "\n")
    given = ["--config", tiny_recipe(), "--data", own_set]
    for door in ("prepare", "split"):
        answer = call_door(door, *given)
        assert answer.code == 0, answer.err
        assert "warning: 1 repeated rows dropped" in answer.err
    assert np.load("arrays/x_train_32.npy").shape[0] == 60
    assert len(pd.read_csv("folds/tiny.csv")) == 60


# Row 49: folds.


@pytest.mark.parametrize("fold", ["99", "3", "x", "-1", "1.5", "", "²", "0,1"])
def test_an_unknown_fold_is_refused_with_those_there_are(
    fold: str, call_door: Door, options: list[str | Path], tiny_recipe: Recipes
) -> None:
    require_refusal(
        call_door("train", *options, "--fold", fold), 2, f"--fold {fold}", "0, 1, 2, or all"
    )
    # The same before anything is prepared: nobody waits for an hour to hear of a typo.
    unprepared = ["--config", options[1], "--data", options[3], "--fold", fold]
    require_refusal(call_door("train", *unprepared), 2, "0, 1, 2, or all")
    assert not Path("arrays").exists()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda f: f.rename(columns={"fold": "kfold"}), 3, "lacks fold (did you mean kfold?)"),
        (lambda f: f.assign(fold="x"), 3, "60 rows whose fold is not a whole number"),
        (lambda f: f.assign(fold=f["fold"] * 1.5), 3, "whose fold is not a whole number"),
        (lambda f: f.iloc[:-2], 3, "0 only in the fold file, 2 only in the array"),
        (lambda f: f.assign(image_name="z" + f["image_name"]), 3, "60 only in the fold file"),
        (lambda f: f.iloc[:0], 3, "has a header and no rows"),
        (lambda f: pd.concat([f, f.iloc[:1]]), 3, "images in it twice: row 61 (line 62)"),
    ],
    ids=["no fold", "text", "fractions", "short", "other names", "empty", "twice"],
)
def test_a_fold_file_that_does_not_fit_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    code: int,
    said: str,
    call_door: Door,
    options: list[str | Path],
) -> None:
    change(pd.read_csv(options[7])).to_csv("changed.csv", index=False)
    answer = call_door("train", *options, "--folds", "changed.csv", "--fold", "0")
    require_refusal(answer, code, said)
    assert "epoch" not in answer.err


def test_split_refuses_more_folds_than_there_are_melanomas(
    call_door: Door, options: list[str | Path]
) -> None:
    answer = call_door("split", *options[:4], "--set", "folds.k=10", "--out", "f.csv")
    require_refusal(answer, 3, "10 folds need 10 images of each class; one has 9")
    assert not Path("f.csv").exists()


def test_a_recipe_with_a_test_part_refuses_a_fold_file_without_one(
    call_door: Door, options: list[str | Path]
) -> None:
    command = ["train", *options, "--fold", "0", "--dry-run"]
    held = [*command, "--set", "folds.holdout=0.2"]
    require_refusal(call_door(*held), 3, "folds.csv has no test part; rebuild it", "holdout=none")
    answer = call_door("split", *options[:6], "--set", "folds.holdout=0.2", "--out", "held.csv")
    assert answer.code == 0, answer.err
    frame = pd.read_csv("held.csv", dtype=str)
    assert f"and a test part of {(frame['fold'] == 'test').sum()}" in answer.out
    assert call_door(*held, "--folds", "held.csv").code == 0


def test_a_single_split_has_one_fold(call_door: Door, options: list[str | Path]) -> None:
    single = ["--set", "folds.k=1", "--folds", "single.csv"]
    assert call_door("split", *options[:6], *single).code == 0
    command = ["train", *options[:6], *single, "--dry-run", "--fold"]
    answer = call_door(*command, "all")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("fold 0: 48 images")
    require_refusal(call_door(*command, "1"), 2, "--fold 1: the folds are 0, or all")


# Rows 50 and 51: leaks and single classes.


def test_a_leaking_fold_file_is_refused_unless_it_is_insisted_upon(
    call_door: Door, options: list[str | Path]
) -> None:
    frame = pd.read_csv(options[7]).drop(columns="group")
    leaking = ["--set", "folds.group_by=none", "--out", "leaking.csv"]
    answer = call_door("split", *options[:6], *leaking)
    assert answer.code == 0
    assert "LEAK: " in answer.out
    command = ["train", *options, "--folds", "leaking.csv", "--fold", "0", "--dry-run"]
    line = require_refusal(call_door(*command), 3, "patients in more than one fold", "--allow-leak")
    count = int(line.split("the fold file leaks: ")[1].split()[0])
    spread = pd.read_csv("leaking.csv").groupby("patient_id")["fold"].nunique()
    assert count == (spread > 1).sum() > 5
    answer = call_door(*command, "--allow-leak")
    assert answer.code == 0
    assert f"LEAK: {count} patients in more than one fold" in answer.err
    frame.to_csv("sound.csv", index=False)
    assert call_door(*command, "--folds", "sound.csv").code == 0


def test_the_leak_stands_in_the_facts_of_the_run(
    call_door: Door, options: list[str | Path]
) -> None:
    call_door("split", *options[:6], "--set", "folds.group_by=none", "--out", "leaking.csv")
    command = ["train", *options, "--folds", "leaking.csv", "--fold", "0", "--weights", "run"]
    answer = call_door(*command, "--allow-leak", "--set", "training.epochs=1")
    assert answer.code == 0, answer.err
    leaks = load_run(Path("run/fold_0")).facts["leaks"]
    assert len(leaks) == 1
    assert "patients in more than one fold" in leaks[0]


def test_a_part_with_one_class_is_refused_before_the_first_epoch(
    call_door: Door, options: list[str | Path]
) -> None:
    frame = pd.read_csv(options[7])
    frame.loc[frame["fold"] == 1, ["label", "target"]] = "benign", 0
    frame.to_csv("single.csv", index=False)
    answer = call_door("train", *options, "--folds", "single.csv", "--fold", "all")
    require_refusal(answer, 3, "fold 1: the validation part holds only target 0")
    assert "epoch" not in answer.err
    assert not Path("weights").exists()


# Rows 52 and 53: images.


@pytest.mark.parametrize("missing", [1, 2, 60])
def test_missing_images_are_counted_by_check_and_prepare(
    missing: int, own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    names = pd.read_csv(own_set / "train.csv")["image_name"].tolist()
    for name in names[:missing]:
        (own_set / f"jpeg/train/{name}.jpg").unlink()
    given = ["--config", tiny_recipe(), "--data", own_set]
    said = f"{missing} of 60 images missing: {', '.join(names[: min(missing, 5)])}"
    require_refusal(call_door("check", *given), 3, said)
    require_refusal(call_door("prepare", *given), 3, said, "--skip-bad")
    # More than one in a hundred is not skipped either.
    require_refusal(call_door("prepare", *given, "--skip-bad"), 3, said)
    assert not Path("arrays/x_train_32.npy").exists()


def test_one_bad_image_in_a_hundred_can_be_left_out_all_the_way_to_training(
    own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    frame = pd.read_csv(own_set / "train.csv")
    more = frame.assign(image_name="again_" + frame["image_name"])
    for name in frame["image_name"]:
        shutil.copy(own_set / f"jpeg/train/{name}.jpg", own_set / f"jpeg/train/again_{name}.jpg")
    pd.concat([frame, more]).to_csv(own_set / "train.csv", index=False)
    bad = frame["image_name"][frame["target"] == 0].iloc[0]
    (own_set / f"jpeg/train/{bad}.jpg").write_bytes(b"\xff\xd8 no photograph")
    given = ["--config", tiny_recipe(), "--data", own_set]
    require_refusal(
        call_door("prepare", *given), 3, f"1 of 120 images unreadable: {bad} (", "--skip-bad"
    )
    answer = call_door("prepare", *given, "--skip-bad")
    assert answer.code == 0, answer.err
    assert f"1 images left out: {bad}" in answer.err
    assert "119 x 32 x 32 x 3" in answer.out
    assert call_door("split", *given).code == 0
    assert bad not in set(pd.read_csv("folds/tiny.csv")["image_name"])
    assert call_door("train", *given, "--fold", "all", "--dry-run").code == 0


def cut_end(data: bytes) -> bytes:
    return data[:-50]


def no_palette(data: bytes) -> bytes:
    """What makes Pillow raise an AssertionError, from which nobody guards himself."""
    return palette_png_without_palette()


@pytest.mark.parametrize("damage", [cut_end, no_palette])
def test_a_damaged_image_is_named_with_its_fault_by_check_and_prepare(
    damage: Callable[[bytes], bytes], own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    names = pd.read_csv(own_set / "train.csv")["image_name"].tolist()
    path = own_set / f"jpeg/train/{names[7]}.jpg"
    path.write_bytes(damage(path.read_bytes()))
    given = ["--config", tiny_recipe(), "--data", own_set]
    for door in ("check", "prepare", "train"):
        fold = ["--fold", "0"] if door == "train" else []
        require_refusal(
            call_door(door, *given, *fold),
            3,
            f"1 of 60 images unreadable: {names[7]} (the image is damaged or cut off)",
        )


def test_a_sound_folder_has_nothing_to_mend(
    phantom_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    answer = call_door("check", "--config", tiny_recipe(), "--data", phantom_set)
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "60 rows: 9 melanomas, 51 others, 20 patients, 0 pairs of identical images",
        "nothing to mend",
    ]
    assert not Path("arrays").exists()


@pytest.mark.parametrize("kind", ["duplicates", "unlabeled"])
def test_check_counts_duplicates_and_images_without_a_label_as_faults(
    kind: str, own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    frame = pd.read_csv(own_set / "train.csv")
    first, second = frame["image_name"][frame["target"] == 0].iloc[:2]
    if kind == "duplicates":
        shutil.copy(own_set / f"jpeg/train/{first}.jpg", own_set / f"jpeg/train/{second}.jpg")
        said = f"1 pairs of identical images: {first} = {second}"
    else:
        frame[frame["image_name"] != first].to_csv(own_set / "train.csv", index=False)
        said = f"1 images without a row in the table: jpeg/train/{first}.jpg"
    given = ["--config", tiny_recipe(), "--data", own_set]
    require_refusal(call_door("check", *given), 3, said, f"--warn-only {kind}")
    answer = call_door("check", *given, "--warn-only", kind)
    assert answer.code == 0
    assert f"warning: {said}" in answer.out
    other = {"duplicates": "unlabeled", "unlabeled": "duplicates"}[kind]
    require_refusal(call_door("check", *given, "--warn-only", other), 3, said)
    require_refusal(call_door("check", *given, "--warn-only", "all"), 2, "duplicates or unlabeled")


def test_check_tells_identical_images_with_two_labels(
    own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    frame = pd.read_csv(own_set / "train.csv")
    one, other = (frame["image_name"][frame["target"] == n].iloc[0] for n in (0, 1))
    shutil.copy(own_set / f"jpeg/train/{one}.jpg", own_set / f"jpeg/train/{other}.jpg")
    answer = call_door("check", "--config", tiny_recipe(), "--data", own_set)
    require_refusal(answer, 3, "1 pairs of identical images, 1 of them with different labels")


# Row 55: divergence.


@pytest.mark.parametrize(
    ("batch_size", "said"),
    [(2, "10 steps in a row gave non-finite"), (16, "20 held-out images have logits")],
)
def test_a_rate_that_blows_up_ends_with_code_4_and_names_images(
    batch_size: int, said: str, call_door: Door, options: list[str | Path], phantom_set: Path
) -> None:
    hot = ["--set", "optimizer.rate=1e30", "--set", f"training.batch_size={batch_size}"]
    command = ["train", *options, "--fold", "0", "--weights", "run", *hot]
    line = require_refusal(call_door(*command), 4, said, "in epoch 1", "lower optimizer.rate")
    named = line.split("(images: ")[1].split(", ...)")[0].split(", ")
    known = set(pd.read_csv(phantom_set / "train.csv")["image_name"])
    assert set(named) <= known
    assert named
    assert not Path("run/fold_0/model.safetensors").exists()


def test_divergence_goes_back_once_and_leaves_the_good_state_on_disk(
    interrupted: Path,
    call_door: Door,
    options: list[str | Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nan_loss(logits: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return logits.sum() * float("nan")

    command = ["train", *options, "--fold", "0", "--weights", "run"]
    before = {path: path.read_bytes() for path in interrupted.glob("state*")}
    with monkeypatch.context() as patched:
        patched.setitem(LOSSES, "bce", LossEntry(nan_loss))
        patched.setattr("melanoma.training.epoch.BAD_STEPS", 2)
        answer = call_door(*command)
    require_refusal(answer, 4, "in epoch 2", "PH_0")
    assert answer.err.count("back to epoch 2 at half the rate") == 1
    assert {path: path.read_bytes() for path in interrupted.glob("state*")} == before
    assert call_door(*command).code == 0


# Row 56: devices.


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_asking_for_a_gpu_that_is_absent_names_the_way_out(
    call_door: Door, options: list[str | Path]
) -> None:
    answer = call_door("train", *options, "--device", "cuda", "--fold", "0")
    require_refusal(answer, 2, "no CUDA device on this machine; use --device cpu")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_memory_that_runs_out_suggests_a_smaller_batch(
    error: BaseException,
    call_door: Door,
    options: list[str | Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("melanoma.training.loop.train_epoch", full)
    answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 1, "training.batch_size")


# Row 57: recipes.


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("trainin.epochs=3", "trainin: unknown key; did you mean training?"),
        ("training.epoch=3", "training.epoch: unknown key; did you mean epochs?"),
        ("training.epochs=many", "training.epochs: Input should be a valid integer"),
        ("optimizer.rate=-0.1", "optimizer.rate: Input should be greater than 0 (got -0.1)"),
        ("augment=[{flip_horizontal: {prob: 1}}]", "augment.0.flip_horizontal.prob: unknown arg"),
        ("augment=[{flip_horizontl: {}}]", "augment.0.flip_horizontl: unknown step; did you mean"),
        ("augment=[{one_of: {of: [clahe]}}]", "a step is name: {arguments}, found 'clahe'"),
        ("model.backbone=resnet81", "model.backbone: unknown backbone 'resnet81'; did you mean"),
        ("loss.name=bcee", "loss.name: unknown 'bcee'; known: bce, focal"),
        ("data.reader=kaggle", "'siim', 'csv_folder', 'ham10000', 'class_folders'"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_before_any_work(
    setting: str, said: str, call_door: Door, tiny_recipe: Recipes, phantom_set: Path
) -> None:
    given = ["--config", tiny_recipe(), "--data", phantom_set, "--fold", "0", "--set", setting]
    require_refusal(call_door("train", *given), 2, said)
    assert sorted(path.name for path in Path().iterdir()) == ["tiny.yaml"]


def test_a_dry_run_says_the_plan_and_writes_nothing(
    call_door: Door, options: list[str | Path]
) -> None:
    answer = call_door("train", *options, "--fold", "all", "--dry-run")
    assert answer.code == 0
    assert "fold 2: 40 images (6 positive) for training, 20 held out" in answer.out
    assert "nothing was written" in answer.out
    assert not Path("weights").exists()
    bare = ["--config", options[1], "--data", options[3], "--fold", "0", "--dry-run"]
    require_refusal(call_door("train", *bare), 2, "there is no array yet", "prepare")


# Row 61: weights that cannot be fetched.


def test_offline_and_without_a_file_says_what_to_put_where(
    run_door: Door, options: list[str | Path], tmp_path: Path
) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nobody listens
    environment = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "all_proxy"), closed)
    answer = run_door(
        "train", *options, "--fold", "0", "--pretrained", "imagenet", no_proxy="", **environment
    )
    published = BACKBONES["resnet18"].pretrained
    require_refusal(
        answer,
        5,
        published.url,
        published.sha256,
        f"weights/imagenet/{published.file_name} is absent",
        "--set model.pretrained=none",
    )
    assert not list(tmp_path.glob("weights/tiny/fold_0/run.json"))
