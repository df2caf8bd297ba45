"""Stages: what is frozen stays to the bit, each has its rates, and a broken run ends alike."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import Interrupted, train_and_kill
from safetensors.torch import load_file
from torch import Tensor, nn

from melanoma.errors import InterruptedRun, RecipeError, WeightsError
from melanoma.models.backbones import BACKBONES
from melanoma.models.classifier import make_classifier
from melanoma.training import epoch_metrics, loop
from melanoma.training.run.resume_state import load_state
from melanoma.training.run.run_folder import FoldRun
from melanoma.training.state import TrainingState, start_state
from melanoma.workflows.train import check_recipe
from melanoma.workflows.watch import Watch

Fit = Callable[..., FoldRun]

STAGED: dict[str, Any] = {
    "model": {"backbone": "normed", "dropout": 0.4},
    "training": {"batch_size": 8, "ema_decay": 0.8, "epochs": 3},
    "selection": {"keep": "best"},
    "stages": [
        {"epochs": 1, "frozen": True, "schedule": {"name": "one_cycle"}},
        {"epochs": 2, "optimizer": {"rate": 0.001, "depth_decay": 0.5, "weight_decay": 0.1}},
    ],
}


def _build_normed() -> nn.Module:
    convolution, norm = nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8)
    return nn.Sequential(OrderedDict(conv1=convolution, bn1=norm, relu=nn.ReLU()))


@pytest.fixture(autouse=True)
def _normed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small backbone that has what a frozen one is put to the test by: BatchNorm."""
    normed = replace(
        BACKBONES["resnet18"],
        name="normed",
        features=8,
        build=_build_normed,
        stage=lambda name: int(name.startswith("bn1.")),
        stages=2,
    )
    monkeypatch.setitem(BACKBONES, "normed", normed)


def _metrics(run: FoldRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def _weights(run: FoldRun) -> dict[str, Tensor]:
    return load_file(run.folder / "model.safetensors")


def _same(ours: FoldRun, theirs: FoldRun) -> bool:
    mine, others = _weights(ours), _weights(theirs)
    return all(torch.equal(mine[key], others[key]) for key in mine | others) and (
        ours.scores.logits().astype("f4").tolist() == theirs.scores.logits().astype("f4").tolist()
    )


def _fresh_backbone(recipe: Any) -> dict[str, Tensor]:
    """The weights that a fold 0 begins with."""
    loop.seed_everything(recipe.seed, 0)
    classifier = make_classifier(
        recipe.model.backbone, outputs=1, dropout=recipe.model.dropout, head=recipe.model.head
    )
    return {k: v for k, v in classifier.state_dict().items() if k.startswith("backbone.")}


# Frozen


@pytest.mark.parametrize("precise", [0, 10])
@pytest.mark.parametrize("average", [None, 0.8])
@pytest.mark.parametrize("by", ["stage", "model"])
def test_a_frozen_backbone_keeps_its_parameters_and_buffers_to_the_bit(
    by: str, average: float | None, precise: int, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    training = {"epochs": 2, "batch_size": 8, "ema_decay": average, "precise_bn": precise}
    recipe = (
        recipe_of(model={"backbone": "normed", "freeze_backbone": True}, training=training)
        if by == "model"
        else recipe_of(
            model={"backbone": "normed"},
            training=training,
            stages=[{"epochs": 2, "frozen": True}],
        )
    )
    trained, fresh = _weights(fit(recipe, tmp_path / "run")), _fresh_backbone(recipe)
    assert "backbone.bn1.running_mean" in fresh
    assert "backbone.bn1.num_batches_tracked" in fresh
    for key, value in fresh.items():
        assert torch.equal(trained[key], value), key
    free = recipe_of(model={"backbone": "normed"}, training=training)
    moved = _weights(fit(free, tmp_path / "free"))
    assert not any(torch.equal(moved[key], value) for key, value in fresh.items())
    # And the head did learn.
    assert not torch.equal(trained["head.weight"], moved["head.weight"])


def test_the_second_stage_frees_parameters_and_buffers(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(**{**STAGED, "selection": {"keep": "last"}})
    trained, fresh = _weights(fit(recipe, tmp_path / "run")), _fresh_backbone(recipe)
    still = [key for key, value in fresh.items() if torch.equal(trained[key], value)]
    assert still == []


def test_a_frozen_backbone_answers_as_in_evaluation_while_its_head_trains() -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    classifier = make_classifier("resnet18", outputs=1, dropout=0.5)
    classifier.freeze_backbone()
    classifier.train()
    assert classifier.dropout.training
    assert not any(module.training for module in classifier.backbone.modules())
    assert torch.equal(classifier.embed(images), classifier.eval().embed(images))
    assert not classifier.embed(images).requires_grad
    classifier.freeze_backbone(False)
    assert all(module.training for module in classifier.train().modules())
    assert all(parameter.requires_grad for parameter in classifier.parameters())


# Rates


def _rates(state: TrainingState, time: float) -> dict[str, float]:
    state.set_rates(time)
    groups = state.optimizer.param_groups
    return {g["name"]: g["lr"] for g in groups if not g["name"].endswith("_no_decay")}


def test_each_stage_has_its_groups_its_rates_and_its_own_clock(recipe_of: Any) -> None:
    recipe = recipe_of(
        optimizer={"rate": 0.5, "weight_decay": 0.02},
        training={"epochs": 14},
        stages=[
            {"epochs": 4, "frozen": True, "schedule": {"name": "cosine", "final_share": 0.0}},
            {
                "epochs": 10,
                "optimizer": {"rate": 0.1, "depth_decay": 0.1, "weight_decay": 1.0},
                "schedule": {"name": "step", "every": 5, "factor": 0.5},
            },
        ],
    )
    classifier = make_classifier("tiny", outputs=1)
    state = start_state(classifier, recipe, precision=torch.float32, device=torch.device("cpu"))
    assert _rates(state, 2.0) == pytest.approx({"head": 0.25})
    assert {g["weight_decay"] for g in state.optimizer.param_groups} == {0.0, 0.02}
    for _ in range(4):
        assert state.stage == 0
        state.next_epoch()
    assert (state.stage, state.stage_start, state.epoch) == (1, 4, 4)
    assert _rates(state, 4.0) == pytest.approx({"head": 0.1, "stage_1": 0.01, "stage_0": 0.001})
    # Five epochs of its own, not of the run.
    assert _rates(state, 8.99)["head"] == pytest.approx(0.1)
    assert _rates(state, 9.0)["head"] == pytest.approx(0.05)
    assert {g["weight_decay"] for g in state.optimizer.param_groups} == {0.0, 1.0}
    for _ in range(10):
        assert not state.is_over
        state.next_epoch()
    assert state.is_over


def test_the_metrics_name_the_stage_and_every_rate(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    lines = _metrics(fit(recipe_of(**STAGED), tmp_path / "run"))
    assert [line["stage"] for line in lines] == [1, 2, 2]
    assert [len(line["rates"]) for line in lines] == [1, 3, 3]
    assert lines[1]["rates"] == pytest.approx([0.00025, 0.0005, 0.001])


def test_one_stage_that_says_nothing_is_the_recipe_without_stages(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    plain = fit(recipe_of(), tmp_path / "plain")
    assert _same(fit(recipe_of(stages=[{"epochs": 2}]), tmp_path / "staged"), plain)


# Stopping


def _script(monkeypatch: pytest.MonkeyPatch, *aurocs: float) -> None:
    scripted = iter(aurocs)
    monkeypatch.setattr(epoch_metrics, "roc_auc_score", lambda *_: next(scripted))


def test_stopping_ends_a_stage_early_and_the_best_epoch_is_the_best_of_all(
    fit: Fit, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(
        training={"epochs": 12},
        selection={"keep": "best", "patience": 2},
        stages=[{"epochs": 6, "frozen": True}, {"epochs": 6}],
    )
    # The first stage stops after its third epoch; the second gains, falls back, and stops.
    _script(monkeypatch, 0.7, 0.6, 0.6, 0.65, 0.8, 0.7, 0.7, 0.99)
    run = fit(recipe, tmp_path / "run")
    assert [line["stage"] for line in _metrics(run)] == [1, 1, 1, 2, 2, 2, 2]
    assert (run.facts.best_epoch, run.facts.last_epoch) == (5, 7)
    # A best epoch of the first stage outlives a second one that is worse throughout.
    _script(monkeypatch, 0.7, 0.6, 0.6, 0.65, 0.65, 0.99)
    worse = fit(recipe, tmp_path / "worse")
    assert (worse.facts.best_epoch, worse.facts.last_epoch) == (1, 5)
    fresh = _fresh_backbone(recipe)
    kept = _weights(worse)
    assert all(torch.equal(kept[key], value) for key, value in fresh.items())


# Resuming


@pytest.mark.parametrize(
    "changes", [{}, {"stages": [{"epochs": 2, "frozen": True}, {"epochs": 1, "frozen": True}]}]
)
def test_a_staged_run_interrupted_at_every_step_gives_the_unbroken_run(
    changes: dict[str, Any], fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(**{**STAGED, **changes})
    unbroken = fit(recipe, tmp_path / "unbroken")
    for _ in range(12):  # 3 epochs of 4 steps
        with pytest.raises(InterruptedRun):
            fit(recipe, tmp_path / "broken", watchers=Interrupted(1).watchers())
    resumed = fit(recipe, tmp_path / "broken")
    assert _same(resumed, unbroken)
    kept = ("epoch", "stage", "loss", "valid_loss", "auroc", "best", "rates")
    ours, theirs = (
        [{key: line[key] for key in kept} for line in _metrics(run)] for run in (resumed, unbroken)
    )
    assert ours == theirs


def test_a_staged_run_that_is_killed_gives_the_unbroken_run(
    fit: Fit, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    """Saved where the first stage passes into the second; killed a step later."""
    recipe = recipe_of(**{**STAGED, "model": {"backbone": "tiny_norm"}})
    train_and_kill(recipe, place, tmp_path / "killed", saved=4)
    state = load_state(tmp_path / "killed", warn=pytest.fail)
    assert state is not None
    assert (state["counters"]["stage"], state["counters"]["epoch"]) == (1, 1)
    assert _same(fit(recipe, tmp_path / "killed"), fit(recipe, tmp_path / "unbroken"))


def test_a_run_that_diverges_at_the_start_of_a_stage_goes_back_into_the_one_before(
    fit: Fit, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(
        training={"epochs": 3, "batch_size": 2},
        stages=[{"epochs": 1, "frozen": True}, {"epochs": 2}],
    )
    original, calls = loop.train_epoch, 0

    def diverge(state: TrainingState, *arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            assert state.stage == 1
            raise loop.NonFiniteError("scripted", state.recipe and [0])  # type: ignore[arg-type]
        original(state, *arguments, **options)

    monkeypatch.setattr(loop, "train_epoch", diverge)
    lines = _metrics(fit(recipe, tmp_path / "run"))
    assert [line["stage"] for line in lines] == [1, 2, 2]
    assert [line["rates"] for line in lines] == [[0.003], [0.0015], [0.0015]]


def test_a_forced_resume_under_fewer_stages_is_refused_in_one_line(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRun):
        fit(recipe_of(**STAGED), tmp_path / "run", watchers=Interrupted(5).watchers())
    fewer = recipe_of(**{**STAGED, "stages": [{"epochs": 3}]})
    with pytest.raises(WeightsError, match="stages: "):
        fit(fewer, tmp_path / "run")
    with pytest.raises(WeightsError, match=r"does not fit this recipe \(it is in stage 2 of 1\)"):
        fit(fewer, tmp_path / "run", force_resume=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"freeze_backbone": True}}, "frozen and starts from random weights"),
        (
            {"stages": [{"epochs": 2, "frozen": True}, {"epochs": 1, "frozen": True}]},
            "is frozen and",
        ),
        ({"stages": [{"epochs": 2, "frozen": True}, {"epochs": 1}]}, "until stage 2: for 2 epochs"),
        ({"stages": [{"epochs": 1, "frozen": True}, {"epochs": 1}]}, "until stage 2: for 1 epoch "),
        ({"stages": [{"epochs": 1}, {"epochs": 1, "frozen": True}]}, None),
        ({"model": {"freeze_backbone": True, "pretrained": "imagenet"}}, None),
        ({}, None),
    ],
)
def test_a_head_that_learns_from_noise_is_warned_of(
    changes: dict[str, Any],
    words: str | None,
    recipe_of: Any,
) -> None:
    epochs = sum(stage["epochs"] for stage in changes.get("stages", [{"epochs": 3}]))
    lines: list[str] = []
    check_recipe(recipe_of(training={"epochs": epochs}, **changes), watch=Watch(say=lines.append))
    said = "\n".join(lines)
    assert ("warning" in said) == (words is not None)
    assert (words or "") in said


def test_a_stage_of_a_size_that_the_model_cannot_take_is_refused(recipe_of: Any) -> None:
    recipe = recipe_of(
        image={"size": 256},
        model={"backbone": "timm:maxvit_rmlp_pico_rw_256"},
        stages=[{"epochs": 1, "size": 64}, {"epochs": 1}],
        training={"epochs": 2},
    )
    with pytest.raises(RecipeError, match=r"of 64 px; .* \(leave stages\.0\.size out\)"):
        check_recipe(recipe)
