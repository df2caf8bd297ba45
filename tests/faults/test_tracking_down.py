"""Row 60 of shared/faults.md at the door: the tracker's server is down, training is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.usefixtures("set_by_hand")
def test_training_ends_well_with_one_warning_and_every_epoch(
    call_door: Callable[..., Any],
    tiny_recipe: Callable[..., Path],
    phantom_set: Path,
    tmp_path: Path,
) -> None:
    options = ["--config", tiny_recipe(), "--data", phantom_set, "--device", "cpu"]
    answer = call_door("train", *options, "--fold", "0", "--track", "mlflow:http://127.0.0.1:9")
    assert answer.code == 0, answer.err
    warnings = [line for line in answer.err.splitlines() if "MLflow" in line or "mlflow" in line]
    assert len(warnings) == 1 and "training goes on" in warnings[0]
    lines = (tmp_path / "weights/tiny/fold_0/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_a_tracker_that_cannot_be_meant_is_refused_before_any_work(
    call_door: Callable[..., Any],
    tiny_recipe: Callable[..., Path],
    phantom_set: Path,
    tmp_path: Path,
) -> None:
    options = ["--config", tiny_recipe(), "--data", phantom_set, "--device", "cpu"]
    answer = call_door("train", *options, "--fold", "0", "--track", "clearml")
    assert answer.code == 2
    assert "--track clearml: none, or mlflow[:URI], tensorboard[:DIR]" in answer.err
    assert not (tmp_path / "arrays").exists()
