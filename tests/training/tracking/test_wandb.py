"""Weights & Biases is told the recipe and each epoch, and asks for nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from run_lines import run_lines

from melanoma.training.tracking.tracker_catalog import make_trackers


def test_wandb_without_a_key_is_one_warning_and_never_a_question(
    tracked: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("wandb", reason="needs the extra [wandb]")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    run, said = tracked(make_trackers("wandb:skin"), start_seconds=300)
    [warning] = said
    assert "there is no API key" in warning
    assert len(run_lines(run)) == 2


def test_wandb_offline_holds_the_recipe_and_every_epoch(
    tracked: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("wandb", reason="needs the extra [wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run, said = tracked(make_trackers("wandb:skin"), start_seconds=300, call_seconds=300)
    assert said == []
    [file] = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    # W&B's own process writes it, and may still do when the run has been told that it is over.
    end = time.monotonic() + 60
    while b"FINISHED" not in (data := file.read_bytes()) and time.monotonic() < end:
        time.sleep(0.05)
    assert b"optimizer.rate" in data and b"valid_loss" in data and b"FINISHED" in data
    assert str(run.facts.recipe_digest).encode() in data
    assert str(Path.cwd()).encode() not in data, "it tells of this machine"
