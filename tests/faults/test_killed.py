"""SIGKILL before every change of prepare, evaluate, ship: no half-made state is taken for good."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.killed_states import killed_before_changes
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.errors import StorageError, WeightsError
from melanoma.evaluation.render import report_files
from melanoma.evaluation.report import build as report_module
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle import seal
from melanoma.scoring.bundle import shipped_copy as shipping
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.new_folder import new_folder
from melanoma.scoring.bundle.shipped_copy import ship_bundle
from melanoma.scoring.bundle.staging import finish_sealing
from melanoma.storage import copy_file
from melanoma.workflows import prepare
from melanoma.workflows.evaluate import evaluate_folds
from melanoma.workflows.prepare import prepare_array


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """A forked process has none of torch's other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# prepare


@pytest.fixture
def own_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """20 images, one of which is missing, and that is within the share that may be left out. Its
    tables are read once: what is under test comes after it."""
    folder = tmp_path / "set"
    make_phantoms(folder, images=20, patients=8, size=32, seed=3)
    sorted((folder / "jpeg/train").iterdir())[4].unlink()
    monkeypatch.setattr(prepare, "_SKIP_SHARE", 0.05)
    for name in ("read_lesions", "read_test_lesions"):
        monkeypatch.setattr(prepare, name, cache(getattr(prepare, name)))
    return folder


@pytest.fixture
def recipe(tiny_recipe: Callable[..., Path]) -> Recipe:
    return load_recipe(tiny_recipe())


def test_a_killed_prepare_is_finished_by_the_next_as_if_it_had_never_been(
    own_set: Path, recipe: Recipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def work(folder: Path) -> Any:
        return prepare_array(recipe, own_set, folder, skip_bad=True)

    work(tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    assert set(expected) == {f"x_{p}_32.{e}" for p in ("train", "test") for e in ("npy", "json")}
    capfd.readouterr()
    killed = killed_before_changes(
        tmp_path / "killed", tmp_path / "states", lambda: work(tmp_path / "killed")
    )
    assert len(killed) > 20
    for folder in killed:
        work(folder)
        assert contents(folder) == expected, f"killed before change {folder.name}"
        shutil.rmtree(folder)
    assert "adopting" not in capfd.readouterr().err


def test_what_looks_like_an_array_of_ours_and_is_not_is_adopted(
    phantom_set: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """Kaggle's array, put where a killed prepare had left its own record."""
    array = prepare_array(recipe, phantom_set, tmp_path)
    record = array.path.with_suffix(".json")
    text = record.read_text()
    record.rename(record.with_suffix(".json.part"))
    pixels = bytearray(array.path.read_bytes())
    pixels[200:300] = bytes(100)
    array.path.write_bytes(pixels)
    prepare_array(recipe, phantom_set, tmp_path)
    assert json.loads(record.read_text())["fit"] is None
    assert json.loads(text)["fit"] == "squash"
    assert not record.with_suffix(".json.part").exists()


def test_a_new_array_with_an_old_record_gets_its_own(
    phantom_set: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """Killed between the two while an earlier array was replaced."""
    array = prepare_array(recipe, phantom_set, tmp_path)
    record = array.path.with_suffix(".json")
    new = record.read_text()
    old = json.loads(new)
    old["row_digests"][3] = "0" * 32
    record.write_text(json.dumps(old))
    record.with_suffix(".json.part").write_text(new)
    assert prepare_array(recipe, phantom_set, tmp_path) == array
    assert record.read_text() == new


# evaluate


@pytest.fixture(scope="module")
def reports(folder_run: Any) -> Callable[[int], Any]:
    """The folds' report with that seed, made once: what is under test comes after it."""
    made: dict[int, Any] = {}

    def report(seed: int, *arguments: Any, **options: Any) -> Any:
        if seed not in made:
            made[seed] = build(*arguments, **{**options, "seed": seed})
        return made[seed]

    build = report_module.build_report
    return report


@pytest.fixture
def evaluated(
    folder_run: Any, reports: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, int], Any]:
    """evaluate_folds into a copy of the run, without its figures; the weights' score is known."""
    golden = load_bundle(folder_run.weights).golden
    monkeypatch.setattr(seal, "golden_score", lambda _: golden)

    def build(*arguments: Any, seed: int, **options: Any) -> Any:
        return reports(seed, *arguments, **options)

    monkeypatch.setattr("melanoma.workflows.evaluate.build_report", build)
    monkeypatch.setattr(report_files, "save_figures", lambda *_: [])

    def run(folder: Path, seed: int) -> Any:
        return evaluate_folds(folder_run.recipe, folder, folder_run.folds, seed=seed)

    return run


def links(source: Path, target: Path, *, folds_only: bool = False) -> Path:
    """A copy whose files are links: everything is written beside and renamed, never in place."""
    if folds_only:
        for fold in source.glob("fold_*"):
            shutil.copytree(fold, target / fold.name, copy_function=os.link)
    else:
        shutil.copytree(source, target, copy_function=os.link)
    return target


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob(".*") if p.name != ".lock"]


@pytest.mark.parametrize("again", [False, True])
def test_a_killed_evaluate_leaves_the_old_bundle_or_the_new(
    again: bool, folder_run: Any, evaluated: Callable[..., Any], tmp_path: Path
) -> None:
    sealed = links(folder_run.weights, tmp_path / "sealed", folds_only=True)
    old = None
    if again:
        evaluated(sealed, 1)
        old = load_bundle(sealed).digest
    evaluated(links(sealed, tmp_path / "new"), 2)
    new = load_bundle(tmp_path / "new").digest
    assert new != old
    seen = []
    work = links(sealed, tmp_path / "killed")
    killed = killed_before_changes(work, tmp_path / "states", lambda: evaluated(work, 2), every=3)
    assert len(killed) > 10
    for number, folder in enumerate(killed):
        try:
            bundle = load_bundle(folder)
        except WeightsError as error:
            assert not again, f"change {number}: {error}"
            assert "no bundle in" in str(error)
            seen.append(None)
        else:
            assert bundle.golden is not None
            seen.append(bundle.digest)
        if number % 7 == 0 or folder == killed[-1]:
            evaluated(folder, 2)
            assert load_bundle(folder).digest == new
            assert leftovers(folder) == []
            for name in ("report.html", "MODEL_CARD.md", "oof.csv", "golden.json", "recipe.yaml"):
                assert (folder / name).read_bytes() == (tmp_path / "new" / name).read_bytes()
        shutil.rmtree(folder)
    # First the old one, then, from one change on, the new one.
    assert set(seen) == {old, new}
    assert seen == sorted(seen, key=lambda digest: digest == new)


def test_what_is_sealed_and_not_moved_is_refused_where_it_cannot_be_moved(
    evaluated: Callable[..., Any],
    folder_run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a disk that is read-only; never a mixture of both."""
    folder = links(folder_run.weights, tmp_path / "run", folds_only=True)
    evaluated(folder, 1)
    with monkeypatch.context() as patched:
        patched.setattr("melanoma.scoring.bundle.staging._move_sealed", lambda _: None)
        patched.setattr("melanoma.scoring.bundle.staging.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(WeightsError, match="sha256 mismatch"):
            evaluated(folder, 2)
    finish_sealing(folder)
    assert load_bundle(folder).golden is not None


# ship


def test_a_killed_ship_leaves_no_copy_or_a_whole_one(
    folder_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(folder_run.weights)
    monkeypatch.setattr(shipping, "FILES", ("recipe.yaml", "report.json"))
    monkeypatch.setattr(shipping, "_halve", copy_file)
    monkeypatch.setattr(seal, "golden_score", lambda _: bundle.golden)
    monkeypatch.setattr(shipping, "score_golden", lambda _: ("", np.zeros(1)))
    ship_bundle(bundle, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    work = tmp_path / "killed"
    work.mkdir()
    killed = killed_before_changes(
        work, tmp_path / "states", lambda: ship_bundle(bundle, work / "out"), every=3
    )
    assert len(killed) > 5
    for number, place in enumerate(killed):
        if (place / "out").exists():
            assert load_bundle(place / "out").golden is not None
            assert contents(place / "out") == expected
        elif number % 4 == 0:
            ship_bundle(bundle, place / "out")
            assert contents(place) == {f"out/{name}": data for name, data in expected.items()}
        shutil.rmtree(place)


def test_a_folder_that_holds_something_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(StorageError, match="exists"), new_folder(tmp_path / "out"):
        raise AssertionError("opened")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", [".", "link", "dangling"])
def test_a_folder_that_cannot_be_replaced_is_refused_before_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It was said after all the work, as a disk's error."""
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty" if name == "." else tmp_path)
    with pytest.raises(StorageError, match=r"such as .*copy"), new_folder(Path(name)):
        raise AssertionError("opened")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "empty", "link"]


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out") as stage:
        (stage / "half").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_two_copies_into_one_folder_are_one_too_many(tmp_path: Path) -> None:
    with (
        new_folder(tmp_path / "out") as stage,
        pytest.raises(StorageError, match="being written by another process"),
        new_folder(tmp_path / "out"),
    ):
        raise AssertionError("opened")
    assert stage.name == ".out.new"
