"""Row 45 of shared/faults.md: an interrupted command saves its state and goes on from it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pandas as pd
import pytest
from refusals import require_refusal

from melanoma.data import array_build
from melanoma.training.run.resume_state import load_state

Door = Callable[..., Any]
Recipes = Callable[..., Path]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_state_and_the_same_command_finishes(
    number: signal.Signals, code: int, options: list[str | Path], tmp_path: Path, call_door: Door
) -> None:
    epochs = ["--set", "training.epochs=5"]
    arguments = [*map(str, options), "--fold", "1", "--weights", "run", *epochs]
    read, write = os.pipe()
    with os.fdopen(read) as lines, os.fdopen(write, "w") as log:
        process = forked.start("-m", "melanoma.train", *arguments, log=log, cwd=tmp_path)
        log.close()
        said = ""
        while "fold 1 epoch  1:" not in said:
            line = lines.readline()
            assert line, said
            said += line
        process.send_signal(number)
        said += lines.read()
    ended = subprocess.CompletedProcess([], process.wait(timeout=60), "", said)
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
        patched.setattr(array_build, "read_file_square", stop)
        answer = call_door(*given)
    require_refusal(answer, 130, "interrupted")
    assert call_door(*given).code == 0
    made, whole = Path("arrays/x_train_32.npy"), inputs / "arrays/x_train_32.npy"
    assert made.read_bytes() == whole.read_bytes()
