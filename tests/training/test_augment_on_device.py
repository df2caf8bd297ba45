"""training.augment_on: device in a whole fold: it resumes bit for bit, by any number of workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import Interrupted

from melanoma.errors import InterruptedRun

STEPS = [{"transpose": {}}, {"gauss_noise": {"std": 0.1}}, {"shift_scale_rotate": {}}]
TRAINING = {"epochs": 2, "batch_size": 16, "augment_on": "device", "mix": {"mixup": 0.4}}


def test_a_run_interrupted_at_a_step_gives_the_unbroken_run(
    fit: Any, recipe_of: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(augment=STEPS, training=TRAINING)
    whole = fit(recipe, tmp_path / "whole")
    with_workers = recipe_of(augment=STEPS, training={**TRAINING, "workers": 2})
    with pytest.raises(InterruptedRun):
        fit(with_workers, tmp_path / "broken", watchers=Interrupted(3).watchers())
    resumed = fit(recipe, tmp_path / "broken")
    assert resumed.facts.files["model.safetensors"] == whole.facts.files["model.safetensors"]


def test_without_noise_the_run_is_the_processor_s_up_to_rounding(
    fit: Any, recipe_of: Any, tmp_path: Path
) -> None:
    steps = [step for step in STEPS if "gauss_noise" not in step]
    losses = {}
    for where in ("processor", "device"):
        training = {"epochs": 1, "batch_size": 16, "augment_on": where}
        run = fit(recipe_of(augment=steps, training=training), tmp_path / where)
        losses[where] = torch.tensor(run.scores.logits())
    assert torch.allclose(*losses.values(), atol=1e-3)
