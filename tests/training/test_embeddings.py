"""A frozen backbone sees each image once; what is trained on that is the whole classifier."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from interrupted import Interrupted
from safetensors.torch import load_file, save_file

from melanoma.data.arrays import ImageArray
from melanoma.data.batches import load_batches
from melanoma.data.folds import make_folds
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.transforms import to_tensor
from melanoma.errors import DataError, InterruptedRun, StorageError
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import Folds, Head
from melanoma.training import embeddings, loop
from melanoma.training.embeddings import embedding_id, embeddings_file, make_embeddings
from melanoma.training.run.run_folder import FoldRun
from melanoma.training.watchers import Watchers

Fit = Callable[..., FoldRun]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A backbone's weights in a file: without one, each fold would begin with others."""
    torch.manual_seed(11)
    path = tmp_path / "tiny.safetensors"
    save_file(make_classifier("tiny", outputs=1).backbone.state_dict(), path)
    return path


@pytest.fixture
def frozen(recipe_of: Any, weights: Path) -> Callable[..., Recipe]:
    """A recipe of the kind, its backbone read from `weights`."""

    def make(**changes: Any) -> Recipe:
        model = {
            "freeze_backbone": True,
            "dropout": 0.2,
            "head": {"hidden": [12], "dropout": 0.5},
            "pretrained": str(weights),
        }
        return recipe_of(
            **{
                "augment": [],
                "training": {"epochs": 3, "batch_size": 8},
                "optimizer": {"rate": 0.02},
                "selection": {"keep": "best"},
                **changes,
                "model": {**model, **changes.get("model", {})},
            }
        )

    return make


@pytest.fixture
def classifier(weights: Path) -> Classifier:
    found = make_classifier("tiny", outputs=1, head=Head(hidden=(12,)))
    found.backbone.load_state_dict(load_file(weights))
    return found


def _same(ours: FoldRun, theirs: FoldRun) -> bool:
    mine, others = (load_file(run.folder / "model.safetensors") for run in (ours, theirs))
    return all(torch.equal(mine[key], others[key]) for key in mine | others) and (
        ours.scores.logits().astype("f4").tolist() == theirs.scores.logits().astype("f4").tolist()
    )


def _count(classifier: Classifier) -> list[int]:
    """Sizes of the batches that the backbone is run on from now on."""
    seen: list[int] = []
    classifier.backbone.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    return seen


# The file


def test_an_embedding_is_what_the_backbone_makes_of_that_row(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    found = make_embeddings(classifier.train(), frozen(), place.array, tmp_path / "cache")
    rows = np.array([63, 0, 5, 5], dtype=np.int64)
    pixels = to_tensor(place.array.rows(rows), normalize="imagenet")
    with torch.inference_mode():
        expected = classifier.embed(pixels).numpy()
    assert found.rows(rows).dtype == np.float32
    assert np.allclose(found.rows(rows), expected, atol=1e-6)
    whole = np.load(found.path)
    assert whole.shape == (64, 16)
    assert len(np.unique(whole, axis=0)) == 64


def test_embeddings_are_made_once_and_read_again(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    seen = _count(classifier)
    first = make_embeddings(classifier, frozen(), place.array, tmp_path)
    assert seen == [32, 32]
    # Neither the head nor how it is trained belongs to the id.
    other = frozen(optimizer={"rate": 0.5}, model={"head": None}, seed=9)
    assert make_embeddings(classifier, other, place.array, tmp_path) == first
    assert seen == [32, 32]


@pytest.mark.parametrize(
    "changes", [{"image": {"normalize": "half"}}, {"image": {"fit": "center"}}, "weights", "buffer"]
)
def test_another_id_is_another_file(
    changes: Any, place: Any, frozen: Any, tmp_path: Path, recipe_of: Any
) -> None:
    classifier = make_classifier("resnet18", outputs=1)
    before = embedding_id(classifier, frozen(), place.array)
    with torch.no_grad():
        if changes == "weights":
            next(classifier.backbone.parameters()).view(-1)[7] += 1e-6
        if changes == "buffer":
            classifier.backbone.bn1.running_var[3] *= 1.001
    recipe = frozen(**changes) if isinstance(changes, dict) else frozen()
    after = embedding_id(classifier, recipe, place.array)
    assert embeddings_file(tmp_path, after) != embeddings_file(tmp_path, before)
    assert embedding_id(classifier, frozen(), place.array) == (
        before if isinstance(changes, dict) else after
    )


def test_embeddings_of_another_id_are_refused_in_one_line(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    ours = make_embeddings(classifier, frozen(), place.array, tmp_path)
    half = frozen(image={"normalize": "half"})
    theirs = embeddings_file(tmp_path, embedding_id(classifier, half, place.array))
    for suffix in (".npy", ".json"):
        shutil.copy(ours.path.with_suffix(suffix), theirs.with_suffix(suffix))
    with pytest.raises(DataError) as refusal:
        make_embeddings(classifier, half, place.array, tmp_path)
    assert "another id (normalize: imagenet -> half)" in str(refusal.value)
    assert f"rm {theirs} {theirs.with_suffix('.json')}" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 3


@pytest.mark.parametrize("damage", ["bit", "cut", "header", "record", "field"])
def test_a_damaged_file_is_refused_and_never_trained_on(
    damage: str, place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    path = make_embeddings(classifier, frozen(), place.array, tmp_path).path
    whole, record = path.read_bytes(), path.with_suffix(".json")
    if damage == "bit":
        path.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    elif damage == "cut":
        path.write_bytes(whole[:-4])
    elif damage == "header":
        path.write_bytes(b"\0" * 20 + whole[20:])
    elif damage == "record":
        record.write_text(record.read_text()[:-9])
    else:
        record.write_text(json.dumps({"id": embedding_id(classifier, frozen(), place.array)}))
    with pytest.raises(DataError, match=r"is damaged.* to embed again"):
        make_embeddings(classifier, frozen(), place.array, tmp_path)


class _StoppedError(Exception):
    pass


def test_a_broken_embedding_goes_on_where_it_was_and_ends_alike(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    def stop() -> None:
        raise _StoppedError

    whole = make_embeddings(classifier, frozen(), place.array, tmp_path / "whole")
    seen = _count(classifier)
    with pytest.raises(_StoppedError):
        make_embeddings(classifier, frozen(), place.array, tmp_path / "broken", between=stop)
    (record,) = (tmp_path / "broken").glob("*.json")
    assert json.loads(record.read_text())["done"] == 32
    # A kill in the middle of the next write leaves a tail that no record vouches for.
    with record.with_suffix(".npy").open("ab") as file:
        file.write(b"half a row" * 500)
    again = make_embeddings(classifier, frozen(), place.array, tmp_path / "broken")
    assert seen == [32, 32]
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_a_kill_before_the_first_record_starts_again(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    whole = make_embeddings(classifier, frozen(), place.array, tmp_path)
    expected = whole.path.read_bytes()
    whole.path.with_suffix(".json").unlink()
    whole.path.write_bytes(expected[:500])
    assert make_embeddings(classifier, frozen(), place.array, tmp_path) == whole
    assert whole.path.read_bytes() == expected


def test_progress_is_recorded_while_it_runs(
    place: Any,
    frozen: Any,
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embeddings, "_SAVE_SECONDS", 0.0)
    done = []

    def look() -> None:
        (record,) = tmp_path.glob("embeddings_*.json")
        done.append(json.loads(record.read_text())["done"])

    make_embeddings(classifier, frozen(), place.array, tmp_path, between=look)
    assert done == [32, 64]


def test_two_processes_that_want_the_same_embeddings_make_them_once(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    path = embeddings_file(tmp_path, embedding_id(classifier, frozen(), place.array))
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    lock.acquire()
    waited = threading.Event()
    seen = _count(classifier)

    def wait() -> None:
        if not waited.is_set():
            assert seen == []
            lock.release()
            waited.set()

    make_embeddings(classifier, frozen(), place.array, tmp_path, between=wait)
    assert waited.is_set()
    assert seen == [32, 32]


def test_a_folder_that_cannot_be_written_is_refused(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        make_embeddings(classifier, frozen(), place.array, tmp_path / "file")


def test_a_full_disk_is_said_in_one_line(
    place: Any,
    frozen: Any,
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"No space left .* free, [\d,]+ needed\)"):
        make_embeddings(classifier, frozen(), place.array, tmp_path)


# Training on them


def test_training_on_embeddings_is_training_with_the_frozen_backbone(
    fit: Fit,
    frozen: Any,
    place: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cached = fit(frozen(), tmp_path / "cached")
    assert cached.facts.embeddings is not None
    with monkeypatch.context() as patch:
        patch.setattr(Recipe, "is_frozen", False)
        through = fit(frozen(), tmp_path / "through")
    assert through.facts.embeddings is None
    ours, theirs = (load_file(r.folder / "model.safetensors") for r in (cached, through))
    assert ours.keys() == theirs.keys()
    assert any(key.startswith("backbone.") for key in ours)
    for key in ours:
        assert torch.allclose(ours[key], theirs[key], atol=1e-5), key
    assert np.allclose(cached.scores.logits(), through.scores.logits(), atol=1e-5)
    # The head did learn.
    fresh = make_classifier("tiny", outputs=1, head=Head(hidden=(12,)))
    assert not torch.allclose(ours["head.0.weight"], fresh.state_dict()["head.0.weight"], atol=1e-2)


def test_the_backbone_sees_each_image_once_over_all_epochs_and_folds(
    fit: Fit, frozen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = Classifier.embed

    def embed(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return original(self, images)

    monkeypatch.setattr(Classifier, "embed", embed)
    for fold in (0, 1):
        fit(frozen(), tmp_path / f"fold_{fold}", fold=fold, embeddings=tmp_path / "arrays")
    assert sum(seen) == 64
    (file,) = (tmp_path / "arrays").glob("embeddings_*.npy")
    assert np.load(file, mmap_mode="r").shape == (64, 16)


def test_a_test_part_is_neither_read_nor_embedded(
    fit: Fit, place: Any, frozen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = Folds(name="held", k=2, holdout=0.25)
    held = replace(place, folds=make_folds(read_lesions(place.folder, frozen().data), rules))
    tested = {place.array.row_of[name] for name in held.folds.test["image_name"]}
    asked: set[int] = set()
    read = ImageArray.rows

    def remember(array: ImageArray, rows: Any) -> Any:
        asked.update(int(row) for row in rows)
        return read(array, rows)

    monkeypatch.setattr(ImageArray, "rows", remember)
    for fold in (0, 1):
        fit(frozen(), tmp_path / f"fold_{fold}", fold=fold, at=held, embeddings=tmp_path / "cache")
    assert len(tested) >= 10
    assert asked == set(range(64)) - tested
    (file,) = (tmp_path / "cache").glob("embeddings_*.npy")
    assert len(np.load(file, mmap_mode="r")) == 64 - len(tested)


def test_some_rows_are_embedded_as_all_of_them_are_and_no_other_is_given(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    every = make_embeddings(classifier, frozen(), place.array, tmp_path)
    rows = np.array([3, 9, 10, 40, 63], dtype=np.int64)
    some = make_embeddings(classifier, frozen(), place.array, tmp_path, rows=rows)
    assert some.path != every.path
    order = np.array([40, 3, 63, 63], dtype=np.int64)
    assert np.allclose(some.rows(order), every.rows(order), atol=1e-6)
    with pytest.raises(DataError, match="lacks the embedding of an image"):
        some.rows(np.array([3, 4], dtype=np.int64))


def test_augmentation_runs_the_frozen_backbone_for_every_batch_and_says_so(
    fit: Fit, frozen: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    recipe = frozen(augment=[{"flip_horizontal": {}}])
    run = fit(recipe, tmp_path / "run", watchers=Watchers(say=said.append))
    assert any("augment changes the images: it runs for every batch" in line for line in said)
    assert run.facts.embeddings is None
    assert not list(tmp_path.glob("embeddings_*"))


def test_a_backbone_that_learns_is_not_cached(fit: Fit, frozen: Any, tmp_path: Path) -> None:
    recipe = frozen(
        model={"freeze_backbone": False},
        stages=[{"epochs": 2, "frozen": True}, {"epochs": 1}],
    )
    assert fit(recipe, tmp_path / "run").facts.embeddings is None


def test_several_views_are_scored_through_the_backbone(
    fit: Fit, frozen: Any, place: Any, tmp_path: Path
) -> None:
    run = fit(frozen(evaluation={"views": 4}), tmp_path / "run")
    classifier = make_classifier("tiny", outputs=1, head=Head(hidden=(12,)))
    classifier.load_state_dict(load_file(run.folder / "model.safetensors"))
    expected = loop.predict_rows(
        classifier,
        place.array,
        place.data(0).validation,
        normalize="imagenet",
        views=4,
        batch_size=64,
    )
    assert np.allclose(run.scores.logits(), expected[:, :1], atol=1e-5)


def test_a_run_interrupted_at_every_batch_gives_the_unbroken_run(
    fit: Fit, frozen: Any, tmp_path: Path
) -> None:
    unbroken = fit(frozen(), tmp_path / "unbroken/fold_0")
    for _ in range(14):  # 2 batches embedded, 3 epochs of 4 steps
        with pytest.raises(InterruptedRun):
            fit(frozen(), tmp_path / "broken/fold_0", watchers=Interrupted(1).watchers())
    assert _same(fit(frozen(), tmp_path / "broken/fold_0"), unbroken)


def test_workers_load_embeddings_never(fit: Fit, frozen: Any, tmp_path: Path) -> None:
    alone = fit(frozen(), tmp_path / "0/fold_0")
    training = {"epochs": 3, "batch_size": 8, "workers": 2}
    assert _same(alone, fit(frozen(training=training), tmp_path / "2/fold_0"))


def test_batches_of_embeddings_know_that_they_are(
    place: Any, frozen: Any, classifier: Classifier, tmp_path: Path
) -> None:
    found = make_embeddings(classifier, frozen(), place.array, tmp_path)
    plans = [embeddings.Plan(np.arange(3))]
    assert next(load_batches(found, plans, workers=0)).embedded
    assert not next(load_batches(place.array, plans, workers=0)).embedded
    (batch,) = load_batches(found, plans, workers=0)
    with torch.inference_mode():
        direct = classifier.eval()(to_tensor(place.array.rows([0, 1, 2]), normalize="imagenet"))
        assert torch.allclose(classifier.classify(batch.pixels), direct, atol=1e-6)
