"""A sweep on Ray: the trials of the local one, drawn and halved by Ray Tune."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from melanoma.cluster import ray_search
from melanoma.cluster.trials import Sweep

SPACE = "trials: 3\nspace: {optimizer.rate: {low: 1.0e-4, high: 1.0e-2, log: true}}\n"


def test_a_search_on_two_nodes_trains_what_the_space_says_and_resumes(
    tiny_recipe: Callable[..., Path],
    phantom_set: Path,
    two_nodes: Any,
    tmp_path: Path,
    call_door: Callable[..., Any],
) -> None:
    recipe = tiny_recipe(model={"backbone": "resnet18"}, training={"epochs": 1})
    (tmp_path / "space.yaml").write_text(SPACE)
    options = [
        *("--config", recipe, "--data", phantom_set, "--space", tmp_path / "space.yaml"),
        *("--outer", "none", "--on", "ray", "--out", tmp_path / "out", "--device", "cpu"),
    ]
    ended = call_door("sweep", *options)
    assert ended.code == 0, ended.err
    result = json.loads((tmp_path / "out/sweep.json").read_text())
    tried = sorted((tmp_path / "out/all").glob("*/values.json"))
    values = [json.loads(path.read_text()) for path in tried]
    assert len(values) == 3
    assert all(1e-4 <= one["settings"]["optimizer.rate"] <= 1e-2 for one in values)
    whole = [one for one in values if len(one["values"]) == 3]
    best = max(whole, key=lambda one: sum(one["values"]))
    assert result["settings"] == best["settings"]
    assert result["promised"] == pytest.approx(sum(best["values"]) / 3)
    before = {path: path.stat().st_mtime_ns for path in tried}
    again = call_door("sweep", *options)
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in tried} == before
    assert json.loads((tmp_path / "out/sweep.json").read_text()) == result


def test_settings_that_do_not_go_together_are_said_with_their_reason(
    tiny_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = tiny_recipe(training={"epochs": 2})
    sweep = Sweep(recipe, (), None, (), tmp_path, torch.device("cpu"), tmp_path)
    said = ray_search._why_not(sweep, {"schedule.warmup_epochs": 2.5})
    assert said.startswith("refused (") and "warmup_epochs" in said
    assert ray_search._why_not(sweep, {"schedule.warmup_epochs": 0.5}) == "failed"
