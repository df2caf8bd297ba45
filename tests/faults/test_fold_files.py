"""Rows 49 to 51 of shared/faults.md: fold files that do not fit, leak, or hold one class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from refusals import require_refusal

from melanoma.data.readers.labels import HAM10000_CLASSES
from melanoma.training.run.run_folder import load_run

Door = Callable[..., Any]
Recipes = Callable[..., Path]


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
    require_refusal(answer, 3, "10 folds need 10 images of each class; 'melanoma' has 9")
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


def test_a_supplied_test_part_among_the_folds_is_not_trained_on(
    call_door: Door, tiny_recipe: Recipes, tmp_path: Path
) -> None:
    folder, codes = tmp_path / "ham", list(HAM10000_CLASSES)
    rows = [f"l{n},i{n},{codes[n % 7]},histo,40,male,back" for n in range(35)]
    for number in range(35):
        part = "test" if number >= 28 else "train"
        path = folder / f"HAM10000_images_{part}" / f"i{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colors = np.random.default_rng(number).integers(60, 200, (5, 5, 3)).astype(np.uint8)
        Image.fromarray(colors).resize((40, 40)).save(path)
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    (folder / "HAM10000_metadata.csv").write_text("\n".join([header, *rows]) + "\n")
    common = ["--config", "ham10000_resnet34", "--data", folder, "--arrays", tmp_path / "arrays"]
    common += ["--set", "image.size=32", "--set", "folds.k=2", "--set", "model.pretrained=none"]
    mixed = call_door("split", *common, "--set", "folds.holdout=none", "--out", "mixed.csv")
    assert mixed.code == 0, mixed.err
    assert call_door("split", *common, "--out", "apart.csv").code == 0
    apart = pd.read_csv("apart.csv", dtype=str)
    assert set(apart["image_name"][apart["fold"] == "test"]) == {f"i{n}" for n in range(28, 35)}
    assert call_door("prepare", *common).code == 0
    command = ["train", *common, "--fold", "0", "--dry-run", "--folds"]
    require_refusal(call_door(*command, "mixed.csv"), 3, "has a test part of its own", "--out FILE")
    assert call_door(*command, "apart.csv").code == 0


def test_a_single_split_has_one_fold(call_door: Door, options: list[str | Path]) -> None:
    single = ["--set", "folds.k=1", "--folds", "single.csv"]
    assert call_door("split", *options[:6], *single).code == 0
    command = ["train", *options[:6], *single, "--dry-run", "--fold"]
    answer = call_door(*command, "all")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("fold 0: 48 images")
    require_refusal(call_door(*command, "1"), 2, "--fold 1: the folds are 0, or all")


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
    said = f"{count} patients in more than one fold"
    assert call_door(*command).err.count(said) == 1
    answer = call_door(*command, "--allow-leak")
    assert answer.code == 0
    assert f"LEAK: {said}" in answer.err
    assert answer.err.count(said) == 1
    frame.to_csv("sound.csv", index=False)
    assert call_door(*command, "--folds", "sound.csv").code == 0


@pytest.mark.usefixtures("set_by_hand")
def test_the_leak_stands_in_the_facts_of_the_run(
    call_door: Door, options: list[str | Path]
) -> None:
    call_door("split", *options[:6], "--set", "folds.group_by=none", "--out", "leaking.csv")
    command = ["train", *options, "--folds", "leaking.csv", "--fold", "0", "--weights", "run"]
    answer = call_door(*command, "--allow-leak", "--set", "training.epochs=1")
    assert answer.code == 0, answer.err
    leaks = load_run(Path("run/fold_0")).facts.leaks
    assert len(leaks) == 1
    assert "patients in more than one fold" in leaks[0]


def test_a_part_with_one_class_is_refused_before_the_first_epoch(
    call_door: Door, options: list[str | Path]
) -> None:
    frame = pd.read_csv(options[7])
    positive = frame["group"][(frame["fold"] == 1) & (frame["target"] == 1)]
    frame.loc[frame["group"].isin(positive), "fold"] = 0
    frame.to_csv("single.csv", index=False)
    answer = call_door("train", *options, "--folds", "single.csv", "--fold", "all")
    require_refusal(answer, 3, "fold 1: the validation part holds only target 0")
    assert "epoch" not in answer.err
    assert not Path("weights").exists()
