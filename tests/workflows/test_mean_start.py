"""Students that start from the mean of the members that teach them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_bundle import TinyRun

from melanoma.errors import FoldError, RecipeError
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.training.starting_weights import audit_start
from melanoma.training.weights_origin import Origin, read_seen, write_mean
from melanoma.workflows.distill import Distillation, student_recipe
from melanoma.workflows.mean_start import write_mean_starts


def test_one_member_teaches_and_its_weights_are_the_start(trained: TinyRun, tmp_path: Path) -> None:
    bundle, part = load_bundle(trained.folder), trained.parts[1]
    recipe = student_recipe(trained.recipe, tmp_path, Distillation(start="members"))
    write_mean_starts([bundle], recipe, [part], members="own")
    started = load_file(Path(recipe.model.pretrained.replace("{fold}", "1")))
    member = load_file(next(one.file for one in bundle.members if one.fold == 1))
    assert started and all(torch.equal(started[name], member[name].float()) for name in started)
    assert {n for n, v in member.items() if v.is_floating_point()} == set(started)
    start = audit_start(recipe, part, imagenet=tmp_path)
    assert (start.by_fold, start.overlap) == (True, ())
    assert start.seen == len(part.training)


def test_the_mean_of_all_has_seen_what_is_held_out(trained: TinyRun, tmp_path: Path) -> None:
    bundle, part = load_bundle(trained.folder), trained.parts[1]
    recipe = student_recipe(trained.recipe, tmp_path, Distillation("all", start="members"))
    write_mean_starts([bundle], recipe, [part], members="all")
    path = Path(recipe.model.pretrained.replace("{fold}", "1"))
    one, two = (load_file(member.file) for member in bundle.members)
    for name, value in load_file(path).items():
        assert torch.allclose(value, (one[name].float() + two[name].float()) / 2)
    start = audit_start(recipe, part, imagenet=tmp_path)
    assert len(start.overlap) == len(part.validation)
    assert start.seen == len(part.training) + len(part.validation)
    with pytest.raises(FoldError, match="held-out"):
        start.require_clean(allow=False)
    # Another file in its place has no record any more.
    path.write_bytes(next(iter(bundle.members)).file.read_bytes())
    assert audit_start(recipe, part, imagenet=tmp_path).unknown


def test_a_mean_of_weights_of_unknown_origin_is_of_unknown_origin(
    trained: TinyRun, tmp_path: Path
) -> None:
    bundle, part = load_bundle(trained.folder), trained.parts[0]
    recipe = student_recipe(trained.recipe, tmp_path, Distillation("all", start="members"))
    stray = tmp_path / "stray" / "model.safetensors"
    stray.parent.mkdir()
    stray.write_bytes(bundle.members[0].file.read_bytes())
    members = (replace(bundle.members[0], file=stray), *bundle.members[1:])
    write_mean_starts([replace(bundle, members=members)], recipe, [part], members="all")
    assert audit_start(recipe, part, imagenet=tmp_path).unknown


def test_networks_of_another_kind_have_no_mean_with_the_student(
    trained: TinyRun, tmp_path: Path
) -> None:
    bundle, part = load_bundle(trained.folder), trained.parts[0]
    recipe = student_recipe(trained.recipe, tmp_path, Distillation(start="members"))
    for other, told in (
        (replace(bundle, backbone="resnet18"), "networks of resnet18"),
        (replace(bundle, seeds=2), "2 a member"),
    ):
        with pytest.raises(RecipeError, match=told):
            write_mean_starts([bundle, other], recipe, [part], members="own")
    assert not (tmp_path / "starts").exists()


@pytest.mark.usefixtures("set_by_hand")
def test_the_command_starts_each_student_from_its_teacher(
    trained: TinyRun, call_door: Callable[..., Any], tmp_path: Path
) -> None:
    base, folder = trained.folder.parent, tmp_path / "student"
    places = ("--data", base / "data", "--arrays", base / "arrays", "--folds", base / "folds.csv")
    given = (trained.folder, *places, "--weights", folder, "--device", "cpu", "--backend", "torch")
    answer = call_door("distill", *given, "--start", "members")
    assert answer.code == 0, answer.err
    assert "unknown origin" not in answer.err
    facts = json.loads((folder / "fold_0" / "run.json").read_text())
    assert facts["pretrained"].startswith("file sha256:") and facts["leaks"] == []
    for wrong, told in (
        (("--start", "mean"), "recipe or members"),
        (("--start", "members", "--pretrained", "none"), "one start"),
    ):
        refused = call_door("distill", *given, *wrong)
        assert refused.code == 2 and told in refused.err


def test_pixels_that_one_member_s_record_knows_are_kept(tmp_path: Path) -> None:
    one, two = Origin({"a": "0123", "b": "4567"}), Origin({"a": "", "c": ""})
    for number, origins in enumerate(((one, two), (two, one))):
        (tmp_path / str(number)).mkdir()
        write_mean(tmp_path / str(number), origins, digest="0")
        assert read_seen(tmp_path / str(number)) == {"a": "0123", "b": "4567", "c": ""}
