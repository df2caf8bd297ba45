"""What every door does with a command line or recipe that cannot be meant (row 57)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import require_refusal

from melanoma import prepare

Door = Callable[..., Any]
Recipes = Callable[..., Path]

MODULES = Path(prepare.__file__).parent.glob("*.py")
SLOW_TO_IMPORT = {
    *("torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "skimage", "matplotlib"),
    *("albumentations", "cv2", "PIL", "fastapi", "uvicorn", "mlflow", "api"),
}
DOORS = sorted(path.stem for path in MODULES if "t.run(app)" in path.read_text())


def test_the_doors_are_found() -> None:
    assert {"prepare", "check", "split", "train", "evaluate"} <= set(DOORS)


# Each door as `python -m` runs it, and what is imported by then.
HELP = """
import json, runpy, sys
for door in sys.argv[1:]:
    sys.argv = [door, "--help"]
    try:
        runpy.run_module(f"melanoma.{door}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print(json.dumps([door, end.code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_help_answers_without_importing_what_is_slow() -> None:
    """A second is the promise; a list of what is imported holds on a busy machine too."""
    command = [sys.executable, "-c", HELP, *DOORS]
    plain = {**os.environ, "NO_COLOR": "1"}
    ended = subprocess.run(
        command, env=plain, capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stderr == ""
    found = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('["')]
    assert [(door, code) for door, code, _ in found] == [(door, 0) for door in DOORS]
    for door, _, imported in found:
        assert f"python -m melanoma.{door}" in ended.stdout
        assert "typer" in imported
        assert SLOW_TO_IMPORT & set(imported) == set(), door


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

    monkeypatch.setattr("melanoma.workflows.train.load_folds", broken)
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
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert all(line.startswith("warning: one group holds 8 of 60 images") for line in said), said


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
        ("loss.name=bcee", "loss.name: unknown 'bcee'; "),
        ("data.reader=kaggle", "unknown 'kaggle'; known: siim, csv_folder"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_before_any_work(
    setting: str, said: str, call_door: Door, tiny_recipe: Recipes, phantom_set: Path
) -> None:
    given = ["--config", tiny_recipe(), "--data", phantom_set, "--fold", "0", "--set", setting]
    require_refusal(call_door("train", *given), 2, said)
    assert sorted(path.name for path in Path().iterdir()) == ["tiny.yaml"]


def test_a_dry_run_says_the_plan_and_trains_nothing(
    call_door: Door, options: list[str | Path]
) -> None:
    answer = call_door("train", *options, "--fold", "all", "--dry-run")
    assert answer.code == 0
    assert "fold 2: 40 images (6 positive) for training, 20 held out" in answer.out
    assert "nothing was trained" in answer.out
    assert not Path("weights").exists()
    bare = ["--config", options[1], "--data", options[3], "--fold", "0", "--dry-run"]
    require_refusal(call_door("train", *bare), 2, "there is no array yet", "prepare")
