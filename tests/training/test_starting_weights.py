"""A fold never starts from weights that saw what it holds out, unless that is allowed and said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from made_content import binary, changed
from safetensors.torch import load_file, save_file

from benchmarks.shipped import RESULTS
from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.data.folds import TEST, FoldTable
from melanoma.data.name_digests import training_name_digest
from melanoma.errors import FoldError, InterruptedRun, WeightsError
from melanoma.evaluation.report.build import pool_audits
from melanoma.evaluation.report.schema_parts import StartingWeights as WeightsAudit
from melanoma.evaluation.report.warnings import find_caveats
from melanoma.storage import sha256_of
from melanoma.training.fit import fit_fold
from melanoma.training.fold_data import FoldData, select_fold
from melanoma.training.learning_rate_range import sweep_rates
from melanoma.training.run.facts import read_facts
from melanoma.training.run.run_folder import FoldRun
from melanoma.training.starting_weights import audit_start, audit_starts
from melanoma.training.watchers import Watchers
from melanoma.training.weights_origin import (
    TRAINING_IMAGES,
    find_origin,
    read_seen,
    seen_before,
    write_seen,
)

CHECKOUT = Path(__file__).resolve().parents[2]
Fit = Callable[..., FoldRun]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `first` is kept once it is trained."""
    return tmp_path_factory.mktemp("first") / "A"


@pytest.fixture
def first(fit: Fit, recipe_of: Any, kept: Path, tmp_path: Path) -> Path:
    """weights/A: both folds of one epoch; weights/imagenet is where published files would be."""
    if not kept.exists():
        for fold in (0, 1):
            fit(recipe_of(training={"epochs": 1}), kept / f"fold_{fold}", fold=fold)
    return Path(shutil.copytree(kept, tmp_path / "A"))


@pytest.fixture
def start(place: Any, recipe_of: Any, tmp_path: Path) -> Callable[..., FoldRun]:
    """Trains a fold that starts from a file, into weights/B."""

    def run(source: Path | str, data: FoldData | None = None, **options: Any) -> FoldRun:
        data = data or place.data(0)
        recipe = recipe_of(model={"pretrained": str(source)}, training={"epochs": 1})
        return fit_fold(
            recipe,
            data,
            tmp_path / f"B/fold_{data.fold}",
            device=torch.device("cpu"),
            imagenet=tmp_path / "imagenet",
            **options,
        )

    return run


def _held_out(place: Any, fold: int) -> list[str]:
    frame = place.folds.frame
    return list(frame["image_name"][frame["fold"] == fold])


def _allowed(place: Any, fold: int = 0) -> FoldData:
    return replace(place.data(fold), allow_leak=True)


def test_a_run_writes_down_what_it_trains_on(first: Path, place: Any) -> None:
    for fold in (0, 1):
        seen = read_seen(first / f"fold_{fold}")
        assert sorted(seen) == sorted(_held_out(place, 1 - fold))
        assert all(
            place.array.row_digests[place.array.row_of[name]].startswith(digest) and digest
            for name, digest in seen.items()
        )
        files = read_facts(first / f"fold_{fold}").files
        assert TRAINING_IMAGES in files
    assert seen_before(first) == []


def test_the_other_fold_s_weights_are_a_leak(first: Path, start: Any, place: Any) -> None:
    source = first / "fold_1" / "model.safetensors"
    with pytest.raises(FoldError) as found:
        start(source)
    held_out = _held_out(place, 0)
    assert found.value.exit_code == 3
    line = str(found.value)
    assert f"{len(held_out)} held-out images of fold 0" in line
    assert ", ".join(held_out[:3]) in line
    assert f"--pretrained '{first}/fold_{{fold}}/model.safetensors'" in line
    assert "--allow-leak" in line
    assert not (first.parent / "B/fold_0/run.json").exists()


def test_each_fold_starts_from_the_same_fold_by_a_template(
    first: Path, start: Any, place: Any
) -> None:
    for fold in (0, 1):
        run = start(first / "fold_{fold}" / "model.safetensors", place.data(fold))
        assert run.facts.leaks == ()
        assert run.facts.audit.starting_weights == WeightsAudit(held_out_seen=0, unknown=False)
        digest = read_facts(first / f"fold_{fold}").files["model.safetensors"]
        assert digest in run.facts.pretrained
        assert "unknown" not in run.facts.pretrained


def test_an_allowed_leak_is_stamped_on_run_and_report(first: Path, start: Any, place: Any) -> None:
    run = start(first / "fold_1" / "model.safetensors", _allowed(place))
    (finding,) = run.facts.leaks
    assert run.facts.audit.findings == (finding,)
    assert run.facts.audit.allowed is True
    clean = start(first / "fold_1" / "model.safetensors", place.data(1))
    pooled = pool_audits([clean.facts, run.facts])
    assert pooled.allowed is True
    assert pooled.starting_weights.held_out_seen == len(_held_out(place, 0))
    content = changed(binary().content, leaks=pooled)
    assert find_caveats(content)[0] == f"LEAK: {finding}"


def _beside(first: Path) -> Path:
    copy = first / "fold_1" / "last.safetensors"
    shutil.copyfile(first / "fold_1" / "model.safetensors", copy)
    return copy


def _with_its_record(first: Path) -> Path:
    shutil.copytree(first / "fold_1", first.parent / "elsewhere" / "deep")
    return first.parent / "elsewhere" / "deep" / "model.safetensors"


def _bare_copy(first: Path) -> Path:
    copy = first.parent / "somewhere.safetensors"
    shutil.copyfile(first / "fold_1" / "model.safetensors", copy)
    return copy


def _before_records(first: Path) -> Path:
    """A run of the same fold file, from before training_images.csv."""
    for fold in (0, 1):
        (first / f"fold_{fold}" / TRAINING_IMAGES).unlink()
    return first / "fold_1" / "model.safetensors"


def _of_another_fold_file(first: Path) -> Path:
    """A run from before records, its fold file gone: the other folds' scores name the images."""
    source = _before_records(first)
    facts = json.loads((first / "fold_1" / "run.json").read_text())
    (first / "fold_1" / "run.json").write_text(json.dumps({**facts, "folds_digest": "other"}))
    return source


def _bundle(first: Path, **files: str) -> Path:
    """The member of fold 1 in a copy that has a manifest, no runs, and the `files`."""
    folder = first.parent / "bundle"
    (folder / "members").mkdir(parents=True)
    member = folder / "members" / "fold_1.safetensors"
    shutil.copyfile(first / "fold_1" / "model.safetensors", member)
    shutil.rmtree(first)
    manifest = {"members": [{"fold": 1, "file": "members/fold_1.safetensors"}], "sha256": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "report.json").write_text(json.dumps({"leaks": {}, "pretrained": "none"}))
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return member


def _names(first: Path, *, fold: bool) -> str:
    tables = [pd.read_csv(first / f"fold_{n}" / "oof.csv") for n in (0, 1)]
    columns = ["image_name", "fold"] if fold else ["image_name"]
    return str(pd.concat(tables)[columns].to_csv(index=False))


def _sealed(first: Path) -> Path:
    return _bundle(first, oof=_names(first, fold=True))


def _shipped(first: Path) -> Path:
    return _bundle(first, training_images=_names(first, fold=True))


def _shipped_without_folds(first: Path) -> Path:
    return _bundle(first, training_images=_names(first, fold=False))


@pytest.mark.parametrize(
    "make",
    [
        _beside,
        _with_its_record,
        _bare_copy,
        _before_records,
        _of_another_fold_file,
        _sealed,
        _shipped,
        _shipped_without_folds,
    ],
)
def test_wherever_the_weights_lie_what_they_saw_is_found(
    make: Callable[[Path], Path], first: Path, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(model={"pretrained": str(make(first))})
    found = audit_start(recipe, place.data(0), imagenet=tmp_path / "imagenet")
    assert list(found.overlap) == _held_out(place, 0)
    with pytest.raises(FoldError, match="held-out images of fold 0"):
        audit_starts(recipe, [place.data(0)], imagenet=tmp_path / "imagenet")
    own = audit_start(recipe, place.data(1), imagenet=tmp_path / "imagenet")
    # Where nothing says which member saw what, each may have seen all.
    assert bool(own.overlap) == (make is _shipped_without_folds)


def test_a_resume_state_has_seen_what_its_run_trains_on(
    first: Path, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    facts = json.loads((first / "fold_1" / "run.json").read_text())
    facts = {k: v for k, v in facts.items() if k != "files"} | {"finished": False}
    (first / "fold_1" / "run.json").write_text(json.dumps(facts))
    torch.save(load_file(first / "fold_1" / "model.safetensors"), first / "fold_1" / "state-1.pt")
    recipe = recipe_of(model={"pretrained": str(first / "fold_1" / "state-1.pt")})
    found = audit_start(recipe, place.data(0), imagenet=tmp_path / "imagenet")
    assert list(found.overlap) == _held_out(place, 0)
    assert not found.unknown


@pytest.mark.parametrize("damage", ["", "{", '{"fold": "x"}', "[]"])
def test_a_file_that_no_record_knows_is_said_to_be_unknown(
    damage: str, first: Path, start: Any, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "from" / "a" / "colleague"
    folder.mkdir(parents=True)
    weights = load_file(first / "fold_1" / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "net.safetensors")
    if damage:
        (folder / "run.json").write_text(damage)
    said: list[str] = []
    recipe = recipe_of(model={"pretrained": str(folder / "net.safetensors")})
    parts = [place.data(0), place.data(1)]
    audit_starts(recipe, parts, imagenet=tmp_path / "imagenet", say=said.append)
    assert len(said) == 1
    assert "net.safetensors is of unknown origin" in said[0]
    run = start(folder / "net.safetensors")
    assert run.facts.pretrained.endswith("from net.safetensors, unknown origin")
    assert run.facts.audit.starting_weights == WeightsAudit(held_out_seen=0, unknown=True)
    assert run.facts.leaks == ()
    # And whoever starts from that run is told so in turn.
    later = find_origin(run.folder / "model.safetensors", place.folds, library=tmp_path)
    assert later.unknown
    assert sorted(later.seen) == sorted(_held_out(place, 1))


def test_the_published_file_is_known_under_any_name(
    first: Path, place: Any, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from melanoma.models.backbones import BACKBONES

    file = tmp_path / "mine.safetensors"
    shutil.copyfile(first / "fold_1" / "model.safetensors", file)
    tiny = BACKBONES["tiny"]
    published = replace(tiny.pretrained, sha256=sha256_of(file)[:8])
    monkeypatch.setitem(BACKBONES, "tiny", replace(tiny, pretrained=published))
    recipe = recipe_of(model={"pretrained": str(file)})
    found = audit_start(recipe, place.data(0), imagenet=tmp_path / "imagenet")
    assert (found.unknown, found.seen, found.overlap) == (False, 0, ())


def test_what_was_seen_two_starts_ago_is_still_a_leak(
    first: Path, start: Any, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    second = start(first / "fold_1" / "model.safetensors", _allowed(place))
    assert sorted(read_seen(second.folder)) == sorted(place.array.names)
    assert seen_before(second.folder.parent) == sorted(_held_out(place, 0))
    shutil.rmtree(first)
    recipe = recipe_of(model={"pretrained": str(second.folder / "model.safetensors")})
    found = audit_start(recipe, place.data(0), imagenet=tmp_path / "imagenet")
    assert list(found.overlap) == _held_out(place, 0)


@pytest.mark.parametrize("by", ["source", "start"])
def test_what_every_fold_has_seen_is_not_answered_with_the_same_fold_s_weights(
    by: str, first: Path, start: Any, place: Any
) -> None:
    folder = first / "fold_1"
    seen = read_seen(folder)
    before, sources = (seen, {}) if by == "start" else ({}, seen)
    write_seen(folder, {}, before, sources)
    with pytest.raises(FoldError, match="leaks") as found:
        start(folder / "model.safetensors")
    assert "{fold}" not in str(found.value)
    assert "; start from weights that never saw them, or pass --allow-leak" in str(found.value)


def test_a_photograph_under_another_name_is_known_by_its_pixels(
    first: Path, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    seen = read_seen(first / "fold_1")
    chosen = _held_out(place, 0)[:2]
    (first / "fold_1" / TRAINING_IMAGES).unlink()
    write_seen(first / "fold_1", {f"copy_of_{name}": seen[name] for name in chosen}, {})
    recipe = recipe_of(model={"pretrained": str(first / "fold_1" / "model.safetensors")})
    found = audit_start(recipe, place.data(0), imagenet=tmp_path / "imagenet")
    assert list(found.overlap) == chosen


def test_images_of_the_test_part_are_held_out_too(
    first: Path, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    frame = place.folds.whole.copy()
    chosen = _held_out(place, 0)[:4]  # fold 1's weights saw them
    frame.loc[frame["image_name"].isin(chosen), "fold"] = TEST
    data = select_fold(place.array, FoldTable(frame), 1)
    recipe = recipe_of(model={"pretrained": str(first / "fold_1" / "model.safetensors")})
    found = audit_start(recipe, data, imagenet=tmp_path / "imagenet")
    assert sorted(found.overlap) == sorted(chosen)


def test_a_rate_sweep_and_a_frozen_backbone_are_audited_alike(
    first: Path, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    model = {
        "pretrained": str(first / "fold_1" / "model.safetensors"),
        "freeze_backbone": True,
        "dropout": 0.0,
    }
    recipe = recipe_of(model=model, augment=[])
    where = {"device": torch.device("cpu"), "imagenet": tmp_path / "imagenet"}
    with pytest.raises(FoldError, match="held-out images of fold 0"):
        sweep_rates(recipe, place.data(0), low=1e-5, high=1.0, steps=20, **where)
    with pytest.raises(FoldError, match="held-out images of fold 0"):
        fit_fold(recipe, place.data(0), tmp_path / "F", embeddings=tmp_path / "cache", **where)
    assert not (tmp_path / "cache").exists()


class _Stop:
    """Watchers that interrupt a run after its first epoch."""

    def __call__(self, record: dict[str, Any]) -> None:
        import signal

        if record["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)


def test_a_resumed_run_keeps_its_stamp_and_refuses_another_fold_file(
    fit: Fit, first: Path, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    source = str(first / "fold_1" / "model.safetensors")
    recipe = recipe_of(model={"pretrained": source}, training={"epochs": 2})
    where = {"device": torch.device("cpu"), "imagenet": tmp_path / "imagenet"}
    with pytest.raises(InterruptedRun):
        fit_fold(recipe, _allowed(place), tmp_path / "B", watchers=Watchers(epoch=_Stop()), **where)
    shutil.rmtree(first)
    with pytest.raises(FoldError, match="held-out images of fold 0"):
        fit_fold(recipe, place.data(0), tmp_path / "B", **where)
    # What the run itself states is enough, should its list of images be lost.
    (tmp_path / "B" / TRAINING_IMAGES).unlink()
    with pytest.raises(FoldError, match="held-out images of fold 0"):
        fit_fold(recipe, place.data(0), tmp_path / "B", **where)
    run = fit_fold(recipe, _allowed(place), tmp_path / "B", **where)
    assert len(run.facts.leaks) == 1

    plain = recipe_of(training={"epochs": 2})
    with pytest.raises(InterruptedRun):
        fit(plain, tmp_path / "C", watchers=Watchers(epoch=_Stop()))
    frame = place.folds.whole.assign(fold=1 - place.folds.whole["fold"])
    swapped = select_fold(place.array, FoldTable(frame), 0)
    with pytest.raises(FoldError, match=r"the run in .*C leaks"):
        fit_fold(plain, swapped, tmp_path / "C", force_resume=True, **where)


def test_a_fold_that_began_with_another_file_of_that_name_is_another_run(
    start: Any, first: Path, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    """Every fold's weights are called model.safetensors."""
    for name in ("A", "B"):
        (tmp_path / name / "own").mkdir(parents=True, exist_ok=True)
    weights = load_file(first / "fold_1" / "model.safetensors")
    for folder, change in (("A", 1.0), ("B", 2.0)):
        changed = {name: value + change for name, value in weights.items()}
        save_file(changed, tmp_path / folder / "own" / "model.safetensors")

    def train(folder: str, **options: Any) -> FoldRun:
        source = str(tmp_path / folder / "own" / "model.safetensors")
        recipe = recipe_of(model={"pretrained": source}, training={"epochs": 1})
        return fit(recipe, tmp_path / "run", **options)

    run = train("A")
    before, now = (sha256_of(tmp_path / f / "own/model.safetensors")[:12] for f in "AB")
    with pytest.raises(WeightsError, match=f"model.pretrained: {before} -> {now}"):
        train("B")
    assert train("B", force_resume=True).facts.files == run.facts.files
    # The file that it began with, or none any more: the run is as it was.
    assert train("A").facts.files == run.facts.files
    (tmp_path / "A" / "own" / "model.safetensors").unlink()
    assert train("A").facts.files == run.facts.files


def test_a_shipped_member_says_what_it_has_seen(place: Any) -> None:
    """Whoever goes on from one, such as for SIIM's sample, is told which images it knows."""
    origin = find_origin(SHIPPED / "members" / "fold_0.safetensors", place.folds, library=SHIPPED)
    table = pd.read_csv(RESULTS / "oof.csv.gz", usecols=["image_name", "fold"])
    seen = table["image_name"].map(training_name_digest).isin(origin.seen)
    assert origin.by_fold and seen[table["fold"] != 0].all() and not seen[table["fold"] == 0].any()
    assert len(origin.seen) > seen.sum()  # its sources' images beside them
    # Nothing says what its own start, a file, had seen.
    assert origin.unknown
    # SIIM's sample is among its sources: whoever goes on from it there starts from what saw it.
    run = CHECKOUT / "results" / "siim_mobilenet_from_ham10000"
    judged = pd.read_csv(run / "oof.csv.gz", usecols=["image_name"])["image_name"]
    assert len(judged) > 1000 and not set(judged) & set(table["image_name"])
    assert judged.map(training_name_digest).isin(origin.seen).all()
