"""Rows 55 and 56 of shared/faults.md: divergence, devices, memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from refusals import require_refusal

from melanoma.models.losses import LOSSES, LossEntry

Door = Callable[..., Any]
Recipes = Callable[..., Path]


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
