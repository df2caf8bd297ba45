"""Soft targets and the student that learns from them: who may teach which fold, and the loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from tiny_bundle import TinyRun
from torch.nn import functional as F

from melanoma.data.folds import FoldTable
from melanoma.errors import DataError, FoldError, RecipeError, WeightsError
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of
from melanoma.training.batch_targets import batch_targets
from melanoma.training.teacher import (
    TEACHER,
    TaughtLoss,
    fold_name,
    open_teacher,
    teacher_targets,
)
from melanoma.workflows.distill import (
    Distillation,
    load_teachers,
    require_starts,
    student_recipe,
    write_soft_targets,
)


def test_a_fold_is_taught_by_the_member_that_never_saw_it(trained: TinyRun, tmp_path: Path) -> None:
    bundle, part = load_bundle(trained.folder), trained.parts[1]
    recipe = student_recipe(trained.recipe, tmp_path, Distillation())
    soft = tmp_path / "soft_targets"
    write_soft_targets([bundle], [part], soft, members="own", backend="torch")
    found = batch_targets(recipe, part)
    assert found[:, 0].tolist() == part.targets.tolist() and found.shape[1] == 3
    member = next(m for m in bundle.members if m.fold == 1)
    logits = Scorer(replace(bundle, members=(member,))).member_logits(
        part.array.rows(part.training)
    )
    expected = expit(logits[:, 0, 0] - member.prior_shift)
    assert np.allclose(found[part.training, 2], expected, atol=1e-5)
    assert not found[part.validation, 1:].any()
    # Nothing is asked again of the same teachers; those of another kind are refused.
    written = (soft / fold_name(1)).stat().st_mtime_ns
    write_soft_targets([bundle], [part], soft, members="own", backend="torch")
    assert (soft / fold_name(1)).stat().st_mtime_ns == written
    with pytest.raises(RecipeError, match="other teachers"):
        write_soft_targets([bundle], [part], soft, members="all", backend="torch")
    _refuses_what_is_held_out(recipe, part, soft)
    (soft / TEACHER).write_text("{")
    with pytest.raises(DataError, match=r"teacher.json is damaged"):
        write_soft_targets([bundle], [part], soft, members="own", backend="torch")


def _refuses_what_is_held_out(recipe: Any, part: Any, soft: Path) -> None:
    values, path = np.load(soft / fold_name(1)), soft / fold_name(1)
    values[part.validation[0]] = (0.5, 0.5)
    np.save(path, values)
    with pytest.raises(DataError, match="damaged"):
        teacher_targets(recipe, part, len(values))
    record = json.loads((soft / "teacher.json").read_text())
    record["files"][path.name] = sha256_of(path)
    (soft / "teacher.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="does not speak of what fold 1 trains on"):
        teacher_targets(recipe, part, len(values))
    (soft / "teacher.json").write_text(json.dumps({**record, "folds_digest": "other"}))
    with pytest.raises(DataError, match="another fold file"):
        open_teacher(recipe, part)


def test_teachers_that_saw_the_fold_are_a_leak(trained: TinyRun, tmp_path: Path) -> None:
    bundle, part = load_bundle(trained.folder), trained.parts[0]
    recipe = student_recipe(trained.recipe, tmp_path, Distillation("all"))
    soft = tmp_path / "soft_targets"
    write_soft_targets([bundle], [part], soft, members="all", backend="torch")
    with pytest.raises(FoldError, match="learned from what it holds out"):
        open_teacher(recipe, part)
    found = teacher_targets(recipe, replace(part, allow_leak=True), len(part.targets))
    logits = Scorer(bundle).member_logits(part.array.rows(part.training))[..., 0]
    shifts = np.array([member.prior_shift for member in bundle.members])
    assert np.allclose(found[part.training, 1], expit(logits - shifts).mean(axis=1), atol=1e-5)


def test_teachers_of_other_folds_classes_or_with_a_leak_are_refused(
    trained: TinyRun, tmp_path: Path
) -> None:
    bundle, part = load_bundle(trained.folder), trained.parts[0]
    whole = part.folds.whole
    other = replace(part, folds=FoldTable(whole.assign(fold=1 - whole["fold"])))
    with pytest.raises(FoldError, match="trained on other folds"):
        write_soft_targets([bundle], [other], tmp_path, members="own")
    with pytest.raises(FoldError, match="no member that held fold 0 out"):
        alone = replace(bundle, members=bundle.members[1:])
        write_soft_targets([alone], [part], tmp_path, members="own")
    larger = trained.recipe.model_copy(
        update={"image": trained.recipe.image.model_copy(update={"size": 64})}
    )
    # Their AUROCs would be of other lesions, and be compared in the end.
    other_melanomas = trained.recipe.model_copy(update={"melanoma": trained.recipe.classes[:1]})
    for student in (larger, other_melanomas):
        with pytest.raises(RecipeError, match="cannot teach this recipe"):
            load_teachers([trained.folder], same_as=student)


def test_a_teacher_may_list_its_melanomas_in_another_order(
    trained: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = trained.recipe.classes
    bundle = replace(load_bundle(trained.folder), melanoma=classes)
    monkeypatch.setattr("melanoma.workflows.distill.load_bundle", lambda _: bundle)
    student = trained.recipe.model_copy(update={"melanoma": classes[::-1]})
    assert load_teachers([trained.folder], same_as=student) == [bundle]


def test_a_recipe_without_a_teacher_keeps_its_digest(trained: TinyRun, tmp_path: Path) -> None:
    assert "teacher" not in trained.recipe.identity()["loss"]
    one, two = (
        student_recipe(trained.recipe, tmp_path / name, Distillation()) for name in ("a", "b")
    )
    assert one.digest() == two.digest() != trained.recipe.digest()


def test_the_loss_is_least_where_the_student_says_what_its_teacher_does() -> None:
    rng = torch.Generator().manual_seed(0)
    shift, soft = [0.0, 0.7, -0.4], torch.rand(5, 3, generator=rng).softmax(1)
    own = torch.tensor([0.0, 1, 2, 1, 0])
    targets = torch.cat([own[:, None], soft], dim=1)

    def labels(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, wanted.long())

    alone = TaughtLoss(labels, shift, 1.0, 2.0, device=torch.device("cpu"))
    logits = (soft.log() + torch.tensor(shift)).requires_grad_()
    value = alone(logits, targets)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6
    assert alone(torch.zeros(5, 3), targets).item() > 0.01
    both = TaughtLoss(labels, shift, 0.25, 2.0, device=torch.device("cpu"))
    x = torch.randn(5, 3, generator=rng)
    expected = 0.75 * labels(x, own) + 0.25 * alone(x, targets)
    assert both(x, targets).item() == pytest.approx(expected.item(), rel=1e-5)
    targets[:, 1:] = 0  # no teacher
    assert both(x, targets).item() == pytest.approx(0.75 * labels(x, own).item(), rel=1e-5)


def test_one_output_is_taught_as_two_classes() -> None:
    odds = torch.tensor([[0.3], [-2.0]])
    soft = torch.cat([1 - odds.sigmoid(), odds.sigmoid()], dim=1)
    loss = TaughtLoss(lambda x, _: x.sum() * 0, [0.0, 1.5], 1.0, 1.0, device=torch.device("cpu"))
    targets = torch.cat([torch.zeros(2, 1), soft], dim=1)
    assert loss(odds + 1.5, targets).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.usefixtures("set_by_hand")
def test_the_command_trains_reports_and_compares(
    trained: TinyRun, call_door: Callable[..., Any], tmp_path: Path
) -> None:
    base, folder = trained.folder.parent, tmp_path / "student"
    places = ("--data", base / "data", "--arrays", base / "arrays", "--folds", base / "folds.csv")
    given = (trained.folder, *places, "--weights", folder, "--device", "cpu", "--backend", "torch")
    answer = call_door("distill", *given, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["compared"][0]["b"]["folder"] == str(trained.folder)
    assert found["compared"][0]["metrics"]["auroc"]["difference"]["value"] is not None
    facts = json.loads((folder / "fold_0" / "run.json").read_text())
    assert "own members" in facts["teacher"] and facts["leaks"] == []
    assert "taught by tiny" in load_bundle(folder).report.pretrained
    # Trained already: said again, nothing trained.
    again = call_door("distill", *given)
    assert again.code == 0 and "difference" in again.out and "finished already" in again.err
    leaky = call_door("distill", *given[:-5], tmp_path / "b", "--members", "all", "--fold", "0")
    assert leaky.code == 3 and "--allow-leak" in leaky.err


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The recipes that distill asks for, which it then does no more with."""
    recipes: list[Any] = []

    def stop(recipe: Any, *_: Any) -> None:
        recipes.append(recipe)
        raise RecipeError("that far")

    monkeypatch.setattr("melanoma.workflows.distill.student_recipe", stop)
    return recipes


def test_a_student_is_one_network_where_its_teacher_has_several_seeds(
    trained: TinyRun, call_door: Callable[..., Any], tmp_path: Path, asked_for: list[Any]
) -> None:
    several = trained.recipe.model_copy(update={"seeds": (3, 4)})
    (tmp_path / "recipe.yaml").write_text(several.to_yaml())
    for settings in ((), ("--set", "seeds=[5,6]"), ("--config", tmp_path / "recipe.yaml")):
        assert call_door("distill", tmp_path, *settings).code == 2
    assert [one.seeds for one in asked_for] == [(), (5, 6), (3, 4)]


def test_a_student_in_its_teacher_s_folder_is_refused_before_the_teacher_is_asked(
    trained: TinyRun, call_door: Callable[..., Any], copied: Path
) -> None:
    before = sorted(copied.iterdir())
    (copied / "recipe.yaml").unlink()
    (copied / "recipe.yaml").write_text(trained.recipe.to_yaml())
    given = ("--config", copied / "recipe.yaml", "--weights", copied / "." / "fold_0" / "..")
    answer = call_door("distill", copied, *given)
    assert answer.code == 2 and "a teacher's own folder" in answer.err
    assert sorted(copied.iterdir()) == before


def test_the_columns_that_were_said_once_are_known(
    call_door: Callable[..., Any], tmp_path: Path, asked_for: list[Any]
) -> None:
    path, record = tmp_path / "mine.yaml", tmp_path / "folds.made_from.json"
    path.write_text("name: mine\ndata: {reader: siim}\nfolds: {name: f}\n")
    given = ["data.reader=csv_folder", "data.image_col=file"]
    record.write_text(json.dumps({"options": {"base": {"reader": "siim"}, "given": given}}))
    places = ("--data", tmp_path / "none", "--folds", tmp_path / "folds.csv")
    answer = call_door("distill", tmp_path, "--config", path, *places)
    assert answer.code == 2 and "image_col=file" in answer.err
    assert [one.data.image_col for one in asked_for] == ["file"]


def test_absent_starting_weights_are_refused_before_the_teachers_are_asked(
    trained: TinyRun, tmp_path: Path
) -> None:
    model = trained.recipe.model.model_copy(update={"pretrained": str(tmp_path / "fold_{fold}.pt")})
    recipe = trained.recipe.model_copy(update={"model": model})
    (tmp_path / "fold_0.pt").write_bytes(b"some")
    with pytest.raises(WeightsError, match=r"fold_1\.pt"):
        require_starts(recipe, trained.parts, tmp_path / "soft_targets")
    require_starts(recipe, trained.parts[:1], tmp_path / "soft_targets")
