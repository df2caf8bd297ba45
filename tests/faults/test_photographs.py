"""Rows 52 and 53 of shared/faults.md: photographs that are missing, damaged or double."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from image_bytes import palette_png_without_palette
from refusals import require_refusal

Door = Callable[..., Any]
Recipes = Callable[..., Path]


@pytest.mark.parametrize("missing", [1, 2, 60])
def test_missing_images_are_counted_by_check_and_prepare(
    missing: int, own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    names = pd.read_csv(own_set / "train.csv")["image_name"].tolist()
    for name in names[:missing]:
        (own_set / f"jpeg/train/{name}.jpg").unlink()
    given = ["--config", tiny_recipe(), "--data", own_set]
    # Where no image is left, that is each name's reason.
    reason = " (no image below jpeg/train)" if missing == 60 else ""
    said = f"{missing} of 60 images missing: " + ", ".join(
        f"{n}{reason}" for n in names[:missing][:5]
    )
    require_refusal(call_door("check", *given), 3, said)
    require_refusal(call_door("prepare", *given), 3, said, "--skip-bad")
    # More than one in a hundred is not skipped either.
    require_refusal(call_door("prepare", *given, "--skip-bad"), 3, said)
    assert not Path("arrays/x_train_32.npy").exists()


def test_one_bad_image_in_a_hundred_can_be_left_out_all_the_way_to_training(
    own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    frame = pd.read_csv(own_set / "train.csv")
    more = frame.assign(image_name="again_" + frame["image_name"])
    for name in frame["image_name"]:
        shutil.copy(own_set / f"jpeg/train/{name}.jpg", own_set / f"jpeg/train/again_{name}.jpg")
    pd.concat([frame, more]).to_csv(own_set / "train.csv", index=False)
    bad = frame["image_name"][frame["target"] == 0].iloc[0]
    (own_set / f"jpeg/train/{bad}.jpg").write_bytes(b"\xff\xd8 no photograph")
    given = ["--config", tiny_recipe(), "--data", own_set]
    require_refusal(
        call_door("prepare", *given), 3, f"1 of 120 images unreadable: {bad} (", "--skip-bad"
    )
    answer = call_door("prepare", *given, "--skip-bad")
    assert answer.code == 0, answer.err
    assert f"1 images left out: {bad}" in answer.err
    assert "119 x 32 x 32 x 3" in answer.out
    assert call_door("split", *given).code == 0
    assert bad not in set(pd.read_csv("folds/tiny.csv")["image_name"])
    assert call_door("train", *given, "--fold", "all", "--dry-run").code == 0


def cut_end(data: bytes) -> bytes:
    return data[:-50]


def no_palette(data: bytes) -> bytes:
    """What makes Pillow raise an AssertionError, from which nobody guards himself."""
    return palette_png_without_palette()


@pytest.mark.parametrize("damage", [cut_end, no_palette])
def test_a_damaged_image_is_named_with_its_fault_by_check_and_prepare(
    damage: Callable[[bytes], bytes], own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    names = pd.read_csv(own_set / "train.csv")["image_name"].tolist()
    path = own_set / f"jpeg/train/{names[7]}.jpg"
    path.write_bytes(damage(path.read_bytes()))
    given = ["--config", tiny_recipe(), "--data", own_set]
    for door in ("check", "prepare", "train"):
        fold = ["--fold", "0"] if door == "train" else []
        require_refusal(
            call_door(door, *given, *fold),
            3,
            f"1 of 60 images unreadable: {names[7]} (the image is damaged",
        )


def test_a_sound_folder_has_nothing_to_mend(
    phantom_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    answer = call_door("check", "--config", tiny_recipe(), "--data", phantom_set)
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "60 rows: 9 melanomas, 51 others, 20 patients, 0 pairs of identical images",
        "warning: one group holds 8 of 60 images (patient_id 'PP_0000010' stands in 8 of them); "
        "all of them stay in one fold: where that is no patient or lesion, blank it in the table",
        "nothing to mend",
    ]
    assert not Path("arrays").exists()


@pytest.mark.parametrize("kind", ["duplicates", "unlabeled"])
def test_check_counts_duplicates_and_images_without_a_label_as_faults(
    kind: str, own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    frame = pd.read_csv(own_set / "train.csv")
    first, second = frame["image_name"][frame["target"] == 0].iloc[:2]
    if kind == "duplicates":
        shutil.copy(own_set / f"jpeg/train/{first}.jpg", own_set / f"jpeg/train/{second}.jpg")
        said = f"1 pairs of identical images: {first} = {second}"
    else:
        frame[frame["image_name"] != first].to_csv(own_set / "train.csv", index=False)
        said = f"1 images without a row in the table: jpeg/train/{first}.jpg"
    given = ["--config", tiny_recipe(), "--data", own_set]
    require_refusal(call_door("check", *given), 3, said, f"--warn-only {kind}")
    answer = call_door("check", *given, "--warn-only", kind)
    assert answer.code == 0
    assert f"warning: {said}" in answer.out
    other = {"duplicates": "unlabeled", "unlabeled": "duplicates"}[kind]
    require_refusal(call_door("check", *given, "--warn-only", other), 3, said)
    require_refusal(call_door("check", *given, "--warn-only", "all"), 2, "duplicates or unlabeled")


def test_check_tells_identical_images_with_two_labels(
    own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    frame = pd.read_csv(own_set / "train.csv")
    one, other = (frame["image_name"][frame["target"] == n].iloc[0] for n in (0, 1))
    shutil.copy(own_set / f"jpeg/train/{one}.jpg", own_set / f"jpeg/train/{other}.jpg")
    answer = call_door("check", "--config", tiny_recipe(), "--data", own_set)
    require_refusal(answer, 3, "1 pairs of identical images, 1 of them with different labels")
