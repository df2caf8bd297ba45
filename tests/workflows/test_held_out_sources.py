"""A source that is held out: each image scored by the network that never saw it, and reported."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from melanoma.data.arrays import load_array
from melanoma.data.name_digests import training_name_digest
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.evaluation.report.build import Report
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.training.teacher import TEACHER, Members, read_teacher
from melanoma.training.weights_origin import DIGITS, read_seen, write_seen
from melanoma.workflows.audit import audit_two_sets, look_at
from melanoma.workflows.distill import write_soft_targets
from melanoma.workflows.evaluate import evaluate_folds
from melanoma.workflows.external import evaluate_external
from melanoma.workflows.overlap import find_seen
from melanoma.workflows.train import select_folds, train_fold
from melanoma.workflows.watch import Watch


def draw_table(folder: Path, *, count: int, seed: int) -> Path:
    """`count` phantoms, two a patient, every third patient with melanomas."""
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(seed), ["image_name,patient_id,target"]
    for n in range(count):
        melanoma = n // 2 % 3 == 0
        picture = Image.fromarray(draw_phantom(melanoma=melanoma, rng=rng, size=40))
        picture.save(folder / f"{folder.name}{n}.png")
        rows.append(f"{folder.name}{n},{folder.name}{n // 2},{int(melanoma)}")
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    return folder


def recipe_of(**source: Any) -> Recipe:
    table = {"reader": "csv_folder", "group_col": "patient_id"}
    listed = [{"name": "year", "data": table, "held_out": True, **source}]
    return make_recipe(
        {
            "name": "several",
            "data": {**table, "sources": listed},
            "image": {"size": 32},
            "folds": {"name": "several", "k": 2},
            "model": {"backbone": "resnet18"},
            "loss": {"positive_weight": 4},  # a prior shift, which scores are free of
            "training": {"epochs": 1, "batch_size": 8},
            "evaluation": {"views": 2, "resamples": 100},
        }
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """own/ and year/ of phantoms, and weights/ of two folds that trained on both."""
    home = tmp_path_factory.mktemp("held_out")
    own = draw_table(home / "own", count=24, seed=0)
    draw_table(home / "year", count=24, seed=1)
    places = {"arrays": home / "arrays", "folds": home / "folds.csv"}
    for part in select_folds(recipe_of(), data=own, **places):
        train_fold(recipe_of(), part, home / "weights", device="cpu")
    return home


def evaluate(home: Path, said: list[str] | None = None, **options: Any) -> Report:
    return evaluate_folds(
        recipe_of(),
        home / "weights",
        home / "folds.csv",
        data=home / "own",
        arrays=home / "arrays",
        watch=Watch(say=(said if said is not None else []).append),
        **options,
    )


def rows_of(home: Path) -> pd.DataFrame:
    return pd.read_csv(home / "weights" / "sources" / "year.csv").set_index("image_name")


def seen_by(home: Path, fold: int, names: Sequence[str]) -> list[bool]:
    seen = read_seen(home / "weights" / f"fold_{fold}")
    return [name in seen for name in names]


def test_every_image_is_scored_once_by_the_fold_that_never_saw_it_or_its_patient(
    home: Path,
) -> None:
    report, rows = evaluate(home), rows_of(home)
    assert len(rows) == 24
    assert (rows.groupby("patient_id")[["fold", "group"]].nunique() == 1).all(axis=None)
    assert rows["group"].nunique() == 12
    for fold in (0, 1):
        own = rows.index[rows["fold"] == fold]
        assert len(own) >= 10
        assert not any(seen_by(home, fold, own))
        assert all(seen_by(home, 1 - fold, own))
    bundle = load_bundle(home / "weights")
    scorer = Scorer(bundle, device=torch.device("cpu"))
    array = load_array(home / "arrays" / "sources" / "year", recipe_of().image)
    assert array is not None
    squares = array.rows(np.array([array.row_of[name] for name in rows.index]))
    by_member = scorer.member_probabilities(squares)[:, :, 1]
    numbers = np.searchsorted(scorer.members.folds, rows["fold"].to_numpy())
    expected = by_member[np.arange(24), numbers]
    assert rows["prob"].to_numpy() == pytest.approx(expected, abs=1e-4)
    (line,) = report.content.sources
    assert line.held_out is not None
    assert (line.held_out.images, line.held_out.positives, line.held_out.patients) == (24, 8, 12)
    flagged = rows["prob"] >= line.held_out.threshold
    assert line.held_out.sensitivity.value == pytest.approx(flagged[rows["melanoma"] == 1].mean())
    assert line.held_out.threshold == report.thresholds[0].value
    sealed = load_bundle(home / "weights").report.sources
    assert sealed == report.content.sources


def remember(home: Path, fold: int, more: dict[str, str]) -> None:
    """Record of the fold's starting weights that they had seen these images."""
    folder = home / "weights" / f"fold_{fold}"
    write_seen(folder, read_seen(folder), more)
    record = (folder / "run.json").read_text()
    digest = hashlib.sha256((folder / "training_images.csv").read_bytes()).hexdigest()
    old = json.loads(record)["files"]["training_images.csv"]
    (folder / "run.json").write_text(record.replace(old, digest))


def test_what_a_fold_or_its_start_saw_after_all_is_named_and_not_scored(
    home: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "home"
    shutil.copytree(home, copied)
    evaluate(copied)
    before = rows_of(copied)
    array = load_array(copied / "arrays" / "sources" / "year", recipe_of().image)
    assert array is not None
    own = before.index[before["fold"] == 0]
    pixels = array.row_digests[array.row_of[own[2]]]
    # By its name, as a shipped bundle names it, and by its pixels under another name.
    known = {own[0]: "", training_name_digest(own[1]): "", "another": pixels[:DIGITS]}
    remember(copied, 0, known)
    said: list[str] = []
    evaluate(copied, said)
    assert set(before.index) - set(rows_of(copied).index) == set(own[:3])
    (told,) = [line for line in said if "3 images of source year are not scored" in line]
    assert all(name in told for name in own[:3])
    # Weights that saw them all leave nothing to report.
    for fold in (0, 1):
        remember(copied, fold, dict.fromkeys(before.index, ""))
    assert evaluate(copied).content.sources[0].held_out is None
    assert not (copied / "weights" / "sources" / "year.csv").exists()


def test_a_source_that_is_another_than_trained_is_not_scored(home: Path, tmp_path: Path) -> None:
    copied, said = tmp_path / "home", list[str]()
    shutil.copytree(home, copied)
    table = copied / "arrays" / "sources" / "year" / "rows.csv"
    table.write_text(table.read_text().replace("melanoma", "benign", 1))
    assert evaluate(copied, said).content.sources[0].held_out is None
    assert any("sources are not scored" in one and "another than trained" in one for one in said)


def test_without_the_arrays_or_a_fold_it_is_said_and_an_older_table_goes(
    home: Path, tmp_path: Path
) -> None:
    copied, said = tmp_path / "home", list[str]()
    shutil.copytree(home, copied)
    evaluate(copied)
    shutil.rmtree(copied / "arrays" / "sources")
    report = evaluate(copied, said)
    assert report.content.sources[0].held_out is None
    assert any("sources are not scored" in line for line in said)
    assert not (copied / "weights" / "sources" / "year.csv").exists()
    shutil.rmtree(copied / "weights" / "fold_1")
    evaluate(copied, said, allow_missing=True)
    assert any("year: scored once all folds are trained" in line for line in said)


def score_elsewhere(home: Path, folder: Path, said: list[str]) -> LeakAudit:
    """The overlap that the report states of the run in `home` on the table in `folder`."""
    values = {"name": "elsewhere", "data": recipe_of().data.model_copy(update={"sources": ()})}
    recipe = recipe_of().model_copy(update=values)
    report, _ = evaluate_external(
        home / "weights",
        recipe,
        folder,
        arrays=folder / "arrays",
        training=(home / "folds.csv", home / "arrays"),
        device="cpu",
        watch=Watch(say=said.append),
    )
    assert report.content.external is not None
    return report.content.external.overlap


def test_photographs_and_patients_of_a_source_are_found_in_an_external_set(
    home: Path, tmp_path: Path
) -> None:
    copied, said = tmp_path / "home", list[str]()
    shutil.copytree(home, copied)
    evaluate(copied)
    there = draw_table(tmp_path / "there", count=24, seed=2)
    shutil.copy(home / "year" / "year3.png", there / "there5.png")
    table = there / "train.csv"
    table.write_text(table.read_text().replace("there7,there3,", "there7,year6,"))
    found = score_elsewhere(copied, there, said)
    assert (found.identical, found.patients) == (1, 1)
    # A source that is not at hand has names alone: what it shares was not looked for.
    shutil.rmtree(copied / "arrays" / "sources")
    found = score_elsewhere(copied, there, said)
    assert (found.identical, found.near_duplicates, found.patients) == (None, None, None)
    assert any("sources/year is not there" in line for line in said)


def test_that_no_patient_is_shared_is_known_only_where_every_table_names_patients(
    home: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "home"
    shutil.copytree(home, copied)
    evaluate(copied)
    bundle = load_bundle(copied / "weights")
    alone = recipe_of().data.model_copy(update={"sources": ()})
    second = recipe_of().model_copy(update={"data": alone})
    there = draw_table(tmp_path / "there", count=24, seed=3)
    theirs = look_at(second, there, there / "arrays", tmp_path)

    def patients(frame: pd.DataFrame) -> tuple[str, ...] | None:
        places = (copied / "folds.csv", copied / "arrays")
        table, array = replace(theirs.table, frame=frame), theirs.array
        assert array is not None
        seen = find_seen(bundle, recipe_of(), places, table, array, watch=Watch())
        return seen.audit(frame).patients

    frame = theirs.table.frame
    assert patients(frame) == ()
    # As of a shipped copy, whose own images have names alone.
    for path in (copied / "folds.csv", copied / "weights" / "oof.csv"):
        path.unlink()
    listed = pd.DataFrame({"image_name": [f"own{n}" for n in range(24)], "fold": 0})
    listed.to_csv(copied / "weights" / "training_images.csv", index=False)
    assert patients(frame) is None
    assert patients(frame.assign(patient_id="year6")) == ("year6",)


def test_a_student_s_own_teacher_is_said_to_have_seen_what_that_member_saw(
    home: Path, tmp_path: Path
) -> None:
    evaluate(home)
    places = {"arrays": home / "arrays", "folds": home / "folds.csv"}
    parts, bundle = (
        select_folds(recipe_of(), data=home / "own", **places),
        load_bundle(home / "weights"),
    )
    rows = rows_of(home)
    told, kinds = {}, tuple[Members, ...](("own", "all"))
    for members in kinds:
        soft = tmp_path / members
        write_soft_targets([bundle], parts[:1], soft, members=members, backend="torch")
        told[members] = read_teacher(soft)
    for fold in (0, 1):
        others = set(rows.index[rows["fold"] != fold])
        assert set(told["own"].seen_for(fold)) == others
        assert set(told["all"].seen_for(fold)) == set(rows.index)
    # An earlier version's record names them for all folds together.
    record = json.loads((tmp_path / "own" / TEACHER).read_text())
    (tmp_path / "own" / TEACHER).write_text(json.dumps({**record, "seen": ["year0"]}))
    assert read_teacher(tmp_path / "own").seen_for(1) == ("year0",)
    write_soft_targets([bundle], parts, tmp_path / "own", members="own", backend="torch")
    assert set(read_teacher(tmp_path / "own").seen_for(1)) == set(rows.index[rows["fold"] != 1])


def test_an_audit_of_two_sets_looks_among_the_sources_too(home: Path, tmp_path: Path) -> None:
    there = draw_table(tmp_path / "there", count=24, seed=2)
    shutil.copy(home / "year" / "year3.png", there / "there5.png")
    alone = recipe_of().data.model_copy(update={"sources": ()})
    second = recipe_of().model_copy(update={"data": alone})
    ours = look_at(recipe_of(), home / "own", home / "arrays", tmp_path)
    theirs = look_at(second, there, there / "arrays", tmp_path)
    (found,) = audit_two_sets(recipe_of(), ours, theirs).audit.identical or ()
    assert (found.first, found.second) == ("year3", "there5")
    assert audit_two_sets(second, ours, theirs).audit.identical == ()
    # Patients of one of the two alone are compared.
    nobody = replace(ours.table, frame=ours.table.frame.assign(patient_id=""))
    assert audit_two_sets(recipe_of(), ours, theirs).audit.patients == ()
    assert audit_two_sets(recipe_of(), ours._replace(table=nobody), theirs).audit.patients is None
