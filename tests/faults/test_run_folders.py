"""Row 42 of shared/faults.md: the folder of another run, or of one that is not finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from refusals import require_refusal

from melanoma.training.run.resume_state import load_state
from melanoma.training.run.run_folder import load_run

Door = Callable[..., Any]
Recipes = Callable[..., Path]


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
        "model.backbone: tiny_norm -> resnet50",
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


@pytest.mark.parametrize("text", ["{", "", "- a list", "model: {backbone: nobody}"])
def test_a_damaged_recipe_of_a_run_is_told_in_one_line(
    interrupted: Path, call_door: Door, options: list[str | Path], text: str
) -> None:
    (interrupted / "recipe.yaml").write_text(text)
    answer = call_door("train", *options, "--fold", "0", "--weights", "run")
    require_refusal(answer, 5, "recipe.yaml")


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
    assert load_run(interrupted).facts.finished


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
    # What a kill after the last record leaves is no use to anybody, and large.
    (interrupted / "state-1.pt").touch()
    answer = call_door(*command)
    assert answer.code == 0
    assert "finished already; nothing to do" in answer.err
    assert "wrote" not in answer.err
    assert "; read run/fold_0 in " in answer.err
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
