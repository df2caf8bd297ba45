"""The leak audit, from planted files to exit codes: every kind is caught, whatever it is called."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.training.run.run_folder import load_run

Door = Callable[..., Any]
Recipes = Callable[..., Path]
Change = Callable[[Image.Image], Image.Image]


def cropped(photograph: Image.Image, *, down: float, across: float) -> Image.Image:
    """A twentieth of each side cut off, the rest brought back to the size."""
    width, height = photograph.size
    left, top = across * 0.05 * width, down * 0.05 * height
    box = (left, top, left + 0.95 * width, top + 0.95 * height)
    return photograph.resize(photograph.size, Image.Resampling.BICUBIC, box=box)


# What is done to a photograph, and the quality it is saved with; 0 saves the file's own bytes.
PLANTED: dict[str, tuple[Change, int]] = {
    "identical": (lambda p: p, 0),
    "re-saved, 95": (lambda p: p, 95),
    "re-saved, 30": (lambda p: p, 30),
    "rotated 90": (lambda p: p.transpose(Image.Transpose.ROTATE_270), 90),
    "rotated 180": (lambda p: p.transpose(Image.Transpose.ROTATE_180), 90),
    "rotated 270": (lambda p: p.transpose(Image.Transpose.ROTATE_90), 40),
    "mirrored": (lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90),
    "mirrored and rotated 180": (lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM), 30),
    "cropped, center": (lambda p: cropped(p, down=0.5, across=0.5), 90),
    "cropped, corner": (lambda p: cropped(p, down=0.0, across=1.0), 50),
}


class Set:
    """A folder in Kaggle's layout that photographs can be planted in, with a fold for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photographs = folder / "jpeg" / "train"
        self.frame = pd.read_csv(folder / "train.csv")
        # Patients whole, so that nothing leaks before it is planted.
        patients = self.frame["patient_id"].astype("category").cat.codes
        self.frame["fold"] = patients.to_numpy().astype(int) % 3

    def plant(self, row: int, name: str, change: Change, quality: int) -> None:
        """A copy under another name, of another patient, in another fold."""
        source = self.photographs / f"{self.frame['image_name'][row]}.jpg"
        data = source.read_bytes()
        if quality:
            buffer = io.BytesIO()
            change(Image.open(source).convert("RGB")).save(buffer, "JPEG", quality=quality)
            data = buffer.getvalue()
        (self.photographs / f"{name}.jpg").write_bytes(data)
        line = {**self.frame.iloc[row], "image_name": name, "patient_id": f"patient of {name}"}
        line["fold"] = (int(line["fold"]) + 1) % 3
        self.frame = pd.concat([self.frame, pd.DataFrame([line])], ignore_index=True)

    def save(self) -> Path:
        """The fold file, beside which train.csv has the same rows."""
        self.frame.drop(columns="fold").to_csv(self.folder / "train.csv", index=False)
        columns = ["image_name", "patient_id", "target", "fold"]
        self.frame[columns].to_csv(self.folder / "folds.csv", index=False)
        return self.folder / "folds.csv"


@pytest.fixture
def planted(phantom_set: Path, tmp_path: Path) -> Set:
    """The 60 phantoms, to plant in."""
    shutil.copytree(phantom_set, tmp_path / "data")
    return Set(tmp_path / "data")


@pytest.fixture
def options(tiny_recipe: Recipes, tmp_path: Path) -> list[str | Path]:
    return ["--config", tiny_recipe(), "--data", tmp_path / "data", "--arrays", tmp_path / "arrays"]


def plant_all(place: Set) -> set[frozenset[str]]:
    """One copy of each kind, of photographs of their own; the pairs that must be found."""
    names = place.frame["image_name"].tolist()
    for row, (kind, (change, quality)) in enumerate(PLANTED.items()):
        place.plant(2 * row, f"copy_{row}", change, quality)
        assert kind
    return {frozenset((names[2 * row], f"copy_{row}")) for row in range(len(PLANTED))}


def test_every_planted_copy_across_folds_is_caught_and_nothing_else(
    planted: Set, options: list[str | Path], call_door: Door
) -> None:
    pairs = plant_all(planted)
    folds = planted.save()
    answer = call_door("audit", *options, "--folds", folds, "--json")
    assert answer.code == 3
    found = json.loads(answer.out)
    assert {frozenset((p["first"], p["second"])) for p in found["leaking_pairs"]} == pairs
    assert (found["identical"], found["near_duplicates"]) == (1, len(PLANTED) - 1)
    assert (found["patients"], found["lesions"]) == (0, None)
    said = {p["second"]: p["relation"] for p in found["leaking_pairs"]}
    for row, kind in enumerate(PLANTED):
        assert kind.split(",")[0] in said[f"copy_{row}"]
    assert answer.err.splitlines()[-1].startswith("error: 2 kinds of leak, listed above; rebuild")
    assert found["findings"][0].startswith("1 pairs of identical images in more than one fold (")
    near = f"{len(PLANTED) - 1} pairs of near-duplicate images in more than one fold"
    assert found["findings"][1].startswith(near)
    assert near not in answer.err, "said twice"


def test_a_person_reads_the_leaks_what_was_looked_at_and_sees_them(
    planted: Set, options: list[str | Path], call_door: Door, tmp_path: Path
) -> None:
    plant_all(planted)
    folds = planted.save()
    answer = call_door("audit", *options, "--folds", folds, "--pictures", tmp_path / "pictures")
    assert answer.code == 3
    lines = answer.out.splitlines()
    assert sum(line.startswith("LEAK: ") for line in lines) == 2
    assert sum("copy_" in line and line.startswith("  ") for line in lines) == len(PLANTED) - 1
    assert lines[-1].startswith("looked at 70 images of ")
    assert "3 folds of" in lines[-1]
    assert lines[-1].endswith(" s")
    with Image.open(tmp_path / "pictures" / "duplicates.png") as sheet:
        assert sheet.width > 6 * 180
        assert sheet.height > 4 * 180
    answer = call_door("audit", *options, "--folds", folds, "--allow-leak")
    assert answer.code == 0
    assert answer.out.startswith("LEAK: ")
    assert "looking for duplicates" not in answer.err, "the pairs were not kept"


def test_training_refuses_a_near_duplicate_and_stamps_it_when_told_to_go_on(
    planted: Set, options: list[str | Path], call_door: Door
) -> None:
    planted.plant(4, "other", *PLANTED["rotated 270"])
    folds = planted.save()
    command = ["train", *options, "--folds", folds, "--fold", "0", "--weights", "run"]
    command += ["--device", "cpu", "--set", "training.epochs=1"]
    answer = call_door(*command)
    assert answer.code == 3
    assert "1 pairs of near-duplicate images in more than one fold" in answer.err.splitlines()[-1]
    assert "other: rotated 270" in answer.err
    assert "--allow-leak" in answer.err
    assert not Path("run").exists()
    answer = call_door(*command, "--allow-leak")
    assert answer.code == 0, answer.err
    facts = load_run(Path("run/fold_0")).facts
    assert facts.audit.near_duplicates == 1
    assert facts.audit.allowed is True
    assert facts.leaks == facts.audit.findings


def test_split_joins_what_it_finds_and_the_audit_then_finds_nothing(
    planted: Set, options: list[str | Path], call_door: Door, tmp_path: Path
) -> None:
    pairs = plant_all(planted)
    planted.save()
    out = tmp_path / "made.csv"
    assert call_door("prepare", *options).code == 0
    answer = call_door("split", *options, "--out", out)
    assert answer.code == 0
    near = len(PLANTED) - 1
    assert f"joined: 1 pairs of identical images, {near} pairs of near-duplicates" in answer.out
    assert "no patient or photograph in more than one fold; lesions: not known" in answer.out
    made = pd.read_csv(out).set_index("image_name")
    for one, other in map(tuple, pairs):
        assert made["group"][one] == made["group"][other]
        assert made["fold"][one] == made["fold"][other]
    answer = call_door("audit", *options, "--folds", out)
    assert answer.code == 0
    assert "no patient or photograph in more than one fold; lesions: not known" in answer.out
    assert f"near-duplicates: {near} pairs" in answer.out
    leaving = call_door("split", *options, "--out", out, "--set", "folds.group_by=none")
    assert "LEAK: " in leaving.out


def test_patients_and_lesions_in_two_folds_are_caught(
    planted: Set, options: list[str | Path], call_door: Door
) -> None:
    planted.frame["lesion_id"] = [f"l{row}" for row in range(len(planted.frame))]
    fold = planted.frame["fold"].to_numpy()
    row, elsewhere = (int(np.flatnonzero(fold == number)[0]) for number in (0, 1))
    patient = planted.frame["patient_id"][row]
    planted.frame.loc[row, "fold"] = 2
    # The lesion is in the data's table only: the fold file has no such column.
    planted.frame.loc[[row, elsewhere], "lesion_id"] = "shared"
    folds = planted.save()
    answer = call_door("audit", *options, "--folds", folds, "--json")
    assert answer.code == 3
    found = json.loads(answer.out)
    assert found["shared_patients"] == [patient]
    assert found["shared_lesions"] == ["shared"]
    assert found["leaking_pairs"] == []
    command = ["train", *options, "--folds", folds, "--fold", "0", "--dry-run"]
    call_door("prepare", *options)
    line = call_door(*command).err.splitlines()[-1]
    assert "1 patients in more than one fold" in line
    assert "1 lesions in more than one fold (shared)" in line


def test_without_a_fold_file_it_says_what_must_be_joined(
    planted: Set, options: list[str | Path], call_door: Door, tmp_path: Path
) -> None:
    plant_all(planted)
    planted.save().unlink()
    answer = call_door("audit", *options[:4])
    assert answer.code == 0
    assert f"near-duplicates: {len(PLANTED) - 1} pairs (" in answer.out
    assert "LEAK" not in answer.out
    groups = planted.frame["patient_id"].nunique() - len(PLANTED)
    assert f"a split would keep {groups} groups whole" in answer.out
    # Without --arrays nothing is kept.
    assert not (tmp_path / "arrays").exists()


def test_a_second_set_that_holds_the_first_ones_photographs_is_caught(
    planted: Set, options: list[str | Path], call_door: Door, tmp_path: Path, tiny_recipe: Recipes
) -> None:
    make_phantoms(tmp_path / "second", images=30, patients=8, size=48, seed=99)
    second = Set(tmp_path / "second")
    renamed = {name: f"second_{name}" for name in second.frame["image_name"]}
    for old, new in renamed.items():
        (second.photographs / f"{old}.jpg").rename(second.photographs / f"{new}.jpg")
    second.frame["image_name"] = second.frame["image_name"].map(renamed)
    second.frame["patient_id"] = "second_" + second.frame["patient_id"]
    second.save()
    planted.save()
    asked = ["--external", options[1], "--external-data", second.folder]
    answer = call_door("audit", *options, *asked)
    assert answer.code == 0, answer.err
    assert "no patient or photograph in the training and the external set" in answer.out
    assert "looked at 60 images of" in answer.out
    for row, (change, quality) in enumerate(PLANTED.values()):
        name = f"{planted.frame['image_name'][row]}.jpg"
        shutil.copy(planted.photographs / name, second.photographs / "source.jpg")
        second.frame.loc[0, "image_name"] = "source"
        second.plant(0, f"copy_{row}", change, quality)
    (second.photographs / "source.jpg").unlink()
    second.frame = second.frame.drop(index=0)
    second.frame.loc[1, "patient_id"] = planted.frame["patient_id"][0]
    second.save()
    sheet = tmp_path / "sheet.png"
    answer = call_door("audit", *options, *asked, "--json", "--pictures", sheet)
    assert answer.code == 3
    found = json.loads(answer.out)
    expected = {(planted.frame["image_name"][r], f"copy_{r}") for r in range(len(PLANTED))}
    assert {(pair["first"], pair["second"]) for pair in found["leaking_pairs"]} == expected
    assert found["shared_patients"] == [planted.frame["patient_id"][0]]
    assert sheet.is_file()
    assert call_door("audit", *options, *asked, "--allow-leak").code == 0


def test_a_table_without_images_is_audited_for_patients(
    planted: Set, options: list[str | Path], call_door: Door
) -> None:
    planted.frame.loc[0, "fold"] = (planted.frame["fold"][0] + 1) % 3
    folds = planted.save()
    shutil.rmtree(planted.photographs)
    answer = call_door("audit", *options, "--folds", folds)
    assert answer.code == 3
    assert "photographs: not compared (no images)" in answer.out
    assert "1 patients in more than one fold" in answer.out


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        (["--folds", "absent.csv"], 3, "no fold file at absent.csv"),
        (["--external", "tiny.yaml"], 2, "--external and --external-data belong together"),
        (["--external-data", "data"], 2, "--external and --external-data belong together"),
        (["--set", "data.reader=kaggle"], 2, "reader"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    extra: list[str], code: int, said: str, planted: Set, options: list[Any], call_door: Door
) -> None:
    planted.save()
    answer = call_door("audit", *options, *extra)
    assert answer.code == code
    assert said in answer.err.splitlines()[-1]


@pytest.mark.parametrize("source", ["siim2020/jpeg/train", "ham10000/HAM10000_images"])
def test_copies_of_real_photographs_are_caught_and_strangers_are_not(
    source: str, real_data: Path, tmp_path: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    files = sorted((real_data / source).glob("*.jpg"))[::8][:140]
    folder = tmp_path / "data" / "jpeg" / "train"
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)
    names = [file.stem for file in files]
    frame = pd.DataFrame({"image_name": names, "patient_id": names, "target": [0, 1] * 70})
    frame.to_csv(tmp_path / "data" / "train.csv", index=False)
    place = Set(tmp_path / "data")
    kinds = list(PLANTED.values())
    for row in range(60):
        place.plant(2 * row, f"copy_{2 * row}", *kinds[row % len(kinds)])
    folds = place.save()
    config = tiny_recipe(image={"size": 64})
    asked = ["--config", config, "--data", tmp_path / "data", "--folds", folds, "--json"]
    answer = call_door("audit", *asked)
    assert answer.code == 3
    pairs = {(p["first"], p["second"]) for p in json.loads(answer.out)["pairs"]}
    assert {(names[row], f"copy_{row}") for row in range(0, 120, 2)} <= pairs
    strangers = {pair for pair in pairs if not pair[1].startswith("copy_")}
    # HAM10000 has lesions that were photographed twice.
    assert len(strangers) <= (3 if "ham" in source else 0)
    assert len(pairs) <= 60 + 3


def test_a_copy_in_the_test_part_is_caught_as_one_between_folds_is(
    planted: Set, options: list[str | Path], call_door: Door
) -> None:
    pairs = plant_all(planted)
    folds = planted.save()
    frame = pd.read_csv(folds, dtype=str)
    # Every copy, and what it is one of, stands after rows that are not in the folds' frame.
    frame.loc[frame["image_name"].str.startswith("copy_"), "fold"] = "test"
    frame.iloc[::-1].to_csv(folds, index=False)
    answer = call_door("audit", *options, "--folds", folds, "--json")
    assert answer.code == 3
    found = json.loads(answer.out)
    assert {frozenset((p["first"], p["second"])) for p in found["leaking_pairs"]} == pairs
    assert all("in more than one part" in finding for finding in found["findings"])
