"""python -m melanoma.lr_range: what it says, what it writes, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from melanoma.lr_range import _say_sweep
from melanoma.recipe.overrides import load_recipe
from melanoma.training.learning_rate_range import RateSweep

Door = Callable[..., Any]


@pytest.fixture
def options(phantom_set: Path, tiny_recipe: Callable[..., Path], tmp_path: Path) -> list[Any]:
    recipe = tiny_recipe(optimizer={"rate": 0.01}, training={"batch_size": 8}, augment=[])
    named = {"--config": recipe, "--data": phantom_set, "--arrays": tmp_path / "arrays"}
    return [part for pair in named.items() for part in pair] + ["--device", "cpu"]


def test_it_draws_and_answers_and_leaves_no_weights(
    call_door: Door, options: list[Any], tmp_path: Path
) -> None:
    answer = call_door("lr_range", *options, "--steps", "20", "--low", "1e-6", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["rates"] == sorted(set(found["rates"]))
    assert found["rates"][0] == pytest.approx(1e-6)
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) <= 20
    assert found["suggestion"] == found["minimum_tenth"]
    picture = tmp_path / "lr_range.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {picture.name}" in answer.err
    assert not (tmp_path / "weights").exists()


def test_without_a_fall_it_says_so_and_suggests_nothing(
    call_door: Door, options: list[Any]
) -> None:
    arguments = ["--steps", "20", "--low", "1e-12", "--high", "1e-11"]
    answer = call_door("lr_range", *options, *arguments)
    assert answer.code == 0, answer.err
    assert "no rate suggested" in answer.out
    assert "optimizer.rate=" not in answer.out


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ((), "--set optimizer.rate=1.0e-03 (the recipe has 1.0e-02)"),
        (({"epochs": 2},), "--set optimizer.rate=1.0e-03 (the recipe has 1.0e-02)"),
        (
            ({"epochs": 1, "optimizer": {"rate": 0.05}}, {"epochs": 1}),
            "--set stages.0.optimizer.rate=1.0e-03 (the recipe has 5.0e-02)",
        ),
    ],
)
def test_what_it_suggests_is_what_decides_the_rate(
    stages: Any, said: str, tiny_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate that the first stage states stands before the optimizer's."""
    curve = np.linspace(1e-4, 1e-1, 20)
    found = RateSweep(curve, curve, curve, {}, False, 2e-3, 1e-3)
    path = tiny_recipe(optimizer={"rate": 0.01}, stages=list(stages))
    _say_sweep(found, load_recipe(path))
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "curve.jpg"], "ends in .png"),
        (["--fold", "9"], "the folds are 0, 1, 2"),
        (["--low", "1", "--high", "0.1"], "0 < low < high"),
        (["--steps", "5"], "at least 20"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    call_door: Door, options: list[Any], arguments: list[str], said: str, tmp_path: Path
) -> None:
    answer = call_door("lr_range", *options, *arguments)
    assert answer.code == 2
    [line] = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert said in line
    assert not (tmp_path / "lr_range.png").exists()
