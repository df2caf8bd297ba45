"""One epoch, one pass of prediction: accumulation, averages, and steps that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from melanoma.data.batches import Batch, load_batches, plan_epoch
from melanoma.data.transforms import dihedral_views
from melanoma.devices import autocast, resolve_device, resolve_precision
from melanoma.errors import RecipeError
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.models.losses import binary_cross_entropy
from melanoma.recipe.recipe import Recipe
from melanoma.training.batchnorm import renew_statistics, statistics_rows
from melanoma.training.cuda_graphs import MOST_SHAPES, GraphedPasses, make_graphs
from melanoma.training.epoch import (
    BAD_STEPS,
    NonFiniteError,
    predict_embedded,
    predict_logits,
    predict_rows,
    train_epoch,
)
from melanoma.training.state import TrainingState, start_state

CPU = torch.device("cpu")
Loss = Callable[[Tensor, Tensor], Tensor]
cross_entropy = partial(binary_cross_entropy, positive_weight=3.0, label_smoothing=0.0)


def _start(recipe: Recipe) -> TrainingState:
    torch.manual_seed(0)
    classifier = make_classifier(recipe.model.backbone, outputs=1)
    return start_state(classifier, recipe, precision=torch.float32, device=CPU)


def _train(
    place: Any, recipe: Recipe, state: TrainingState, *, loss: Loss = cross_entropy, **options: Any
) -> list[Batch]:
    """One epoch on fold 0; returns its batches."""
    data = place.data(0)
    plans = plan_epoch(
        data.training,
        data.targets[data.training],
        sampler=recipe.sampler,
        batch_size=recipe.training.batch_size,
        accumulate=recipe.training.accumulate,
        seed=(1, 2),
    )
    batches = list(load_batches(place.array, plans, workers=0))
    settings: dict[str, Any] = {
        "targets": data.targets,
        "loss": loss,
        "normalize": recipe.image.normalize,
        "precision": torch.float32,
        "clip_norm": None,
        "planned": len(plans),
        "after_step": lambda: None,
    }
    train_epoch(state, batches, **{**settings, **options})
    return batches


def _weights(state: TrainingState) -> Tensor:
    return torch.cat([p.detach().flatten() for p in state.classifier.parameters()])


@pytest.mark.parametrize(("size", "times"), [(8, 2), (4, 4), (3, 5), (5, 3)])
def test_accumulated_batches_step_as_one_large_batch(
    size: int, times: int, place: Any, recipe_of: Any
) -> None:
    found = []
    # 15 does not divide the training part: the groups are ragged, and so are batches in them.
    for training in (
        {"batch_size": size * times, "accumulate": 1},
        {"batch_size": size, "accumulate": times},
    ):
        recipe = recipe_of(training=training, optimizer={"name": "sgd", "rate": 0.05})
        state = _start(recipe)
        before = _weights(state)
        batches = _train(place, recipe, state)
        found.append((_weights(state), state.loss_sum / state.images))
    assert sum(batch.closes for batch in batches) < len(batches)
    assert not torch.allclose(found[0][0], before, atol=1e-3)
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)


def test_a_ragged_group_weighs_each_image_alike(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(training={"batch_size": 3, "accumulate": 5})
    batches = _train(place, recipe, _start(recipe))
    sizes = {len(batch.rows) for batch in batches}
    assert len(sizes) > 1, "every batch has one size; the test proves nothing"
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if batch.closes:
            images = sum(len(b.rows) for b in group)
            assert [b.share for b in group] == pytest.approx([len(b.rows) / images for b in group])
            group = []
    assert group == []


def test_rates_are_set_at_each_batch_s_own_time(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(
        schedule={"name": "cosine", "final_share": 0.0},
        training={"epochs": 4},
        optimizer={"rate": 0.5, "depth_decay": 0.1},
    )
    state, seen = _start(recipe), []
    state.epoch, state.rate_scale = 1, 0.5
    _train(
        place,
        recipe,
        state,
        after_step=lambda: seen.append([g["lr"] for g in state.optimizer.param_groups]),
    )
    for batch, rates in enumerate(seen):
        time = (1 + batch / len(seen)) / 4
        top = 0.5 * 0.5 * (1 + math.cos(math.pi * time)) / 2
        assert sorted(set(rates)) == pytest.approx([top * 0.01, top * 0.1, top])


def test_clipping_bounds_the_step(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(optimizer={"name": "sgd", "rate": 1.0}, training={"batch_size": 64})
    moved = []
    for clip_norm in (None, 1e-3):
        state = _start(recipe)
        before = _weights(state)
        _train(place, recipe, state, clip_norm=clip_norm)
        moved.append(float((_weights(state) - before).norm()))
    # Nesterov's first step is 1.9 gradients long.
    assert moved[1] == pytest.approx(1.9e-3, rel=1e-3)
    assert moved[0] > 10 * moved[1]


# Averages


def test_the_average_is_the_recursion_worked_by_hand(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(training={"ema_decay": 0.3, "batch_size": 4})
    state, seen = _start(recipe), []
    _train(place, recipe, state, after_step=lambda: seen.append(_weights(state)))
    expected = seen[0]
    for steps, weights in enumerate(seen[1:], start=1):
        decay = min(0.3, (1 + steps) / (10 + steps))
        expected = decay * expected + (1 - decay) * weights
    averaged = torch.cat([p.detach().flatten() for p in state.scored_model.parameters()])
    assert torch.allclose(averaged, expected, atol=1e-6)
    assert not torch.allclose(averaged, _weights(state), atol=1e-4)


def test_the_memory_of_the_average_grows_until_its_decay(recipe_of: Any) -> None:
    state = _start(recipe_of(training={"ema_decay": 0.9}))
    assert state.average is not None
    head, averaged = state.classifier.head.bias, state.scored_model.head.bias
    decays = []
    for _ in range(200):
        with torch.no_grad():
            head.fill_(1.0)
            averaged.fill_(0.0)
        state.average.update_parameters(state.classifier)
        decays.append(1 - averaged.item())
    assert decays[0] == 0.0  # the first update copies
    assert decays[1] == pytest.approx(2 / 11)
    assert decays[80] == pytest.approx(81 / 90)
    assert decays[-1] == pytest.approx(0.9)


def test_the_average_includes_batch_norm_s_statistics(recipe_of: Any) -> None:
    state = _start(recipe_of(model={"backbone": "resnet18"}, training={"ema_decay": 0.5}))
    assert state.average is not None
    ours, theirs = state.classifier.backbone.bn1, state.scored_model.backbone.bn1
    for mean, batches in ((0.0, 3), (10.0, 7)):
        nn.init.constant_(ours.running_mean, mean)
        ours.num_batches_tracked.fill_(batches)
        state.average.update_parameters(state.classifier)
    weight = 1 - 2 / 11
    assert torch.allclose(theirs.running_mean, torch.full((64,), 10 * weight))
    assert theirs.num_batches_tracked == 7


# Numbers that are not finite


class _Scripted:
    """Cross-entropy that turns into NaN at the given calls."""

    def __init__(self, *bad: int, gradient_only: bool = False) -> None:
        self.bad, self.calls, self.gradient_only = bad, 0, gradient_only

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        if self.calls - 1 not in self.bad:
            return cross_entropy(logits, targets)
        if self.gradient_only:
            return torch.sqrt((logits - logits.detach()).abs()).sum()  # 0, with a slope of infinity
        return logits.sum() * math.nan


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_step_that_is_not_finite_is_left_out_and_counted(
    gradient_only: bool, place: Any, recipe_of: Any
) -> None:
    recipe = recipe_of(training={"batch_size": 4, "ema_decay": 0.5})
    state, seen = _start(recipe), []
    loss = _Scripted(2, 3, 5, gradient_only=gradient_only)
    _train(place, recipe, state, loss=loss, after_step=lambda: seen.append(_weights(state)))
    assert (state.skipped, state.bad_in_row) == (3, 0)
    moved = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert moved == [i not in (1, 2, 4) for i in range(len(moved))]
    assert state.average is not None
    assert state.average.n_averaged == len(seen) - 3
    assert math.isfinite(state.loss_sum / state.images)


def test_one_bad_batch_spoils_its_whole_group_and_no_other(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(training={"batch_size": 4, "accumulate": 2})
    state, seen = _start(recipe), [_weights(_start(recipe))]
    loss = _Scripted(2)  # the first batch of the second group
    _train(place, recipe, state, loss=loss, after_step=lambda: seen.append(_weights(state)))
    moved = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert state.skipped == 1
    assert moved == [i != 1 for i in range(len(moved))]


def test_ten_bad_steps_in_a_row_end_the_epoch_and_name_the_rows(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(training={"batch_size": 2})
    state, loss = _start(recipe), _Scripted(*range(1, 99))
    with pytest.raises(NonFiniteError) as refusal:
        _train(place, recipe, state, loss=loss)
    assert loss.calls == 1 + BAD_STEPS
    assert len(refusal.value.rows) == 2
    assert _weights(state).isfinite().all()


def test_nine_in_a_row_and_a_good_one_count_from_nothing(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(training={"batch_size": 1})
    state, loss = _start(recipe), _Scripted(*range(9), *range(10, 19))
    _train(place, recipe, state, loss=loss)
    assert (state.skipped, state.bad_in_row) == (18, 0)


# Numbers that are read a step later, as on a GPU


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("bad", [(), (2, 3, 5), (0, 1, 4)])
def test_numbers_read_a_step_later_train_the_same_weights(
    name: str, bad: tuple[int, ...], place: Any, recipe_of: Any
) -> None:
    recipe = recipe_of(
        training={"batch_size": 4, "accumulate": 2}, optimizer={"name": name, "rate": 0.01}
    )
    at_once, later = _start(recipe), _start(recipe)
    for state, lag in ((at_once, 0), (later, 1)):
        _train(place, recipe, state, loss=_Scripted(*bad), lag=lag)
    assert torch.equal(_weights(at_once), _weights(later))
    for counter in ("loss_sum", "images", "skipped", "bad_in_row", "batch"):
        assert getattr(at_once, counter) == getattr(later, counter), counter
    assert bool(at_once.skipped) == bool(bad) and not later.readings


def test_an_average_of_finite_steps_is_the_same_when_they_are_read_later(
    place: Any, recipe_of: Any
) -> None:
    recipe = recipe_of(training={"batch_size": 4, "ema_decay": 0.5})
    averages = []
    for lag in (0, 1):
        state = _start(recipe)
        _train(place, recipe, state, lag=lag)
        averages.append(torch.cat([p.flatten() for p in state.scored_model.parameters()]))
    assert torch.equal(*averages)


def test_a_state_that_is_saved_counts_the_step_that_was_not_read_yet(
    place: Any, recipe_of: Any
) -> None:
    recipe = recipe_of(training={"batch_size": 4})
    sums: list[list[float]] = []
    for lag in (0, 1):
        state, seen = _start(recipe), []
        waiting: list[int] = []

        def save(
            state: TrainingState = state, seen: Any = seen, waiting: list[int] = waiting
        ) -> None:
            waiting.append(len(state.readings))
            seen.append(state.to_dict()["counters"]["loss_sum"])

        _train(place, recipe, state, lag=lag, after_step=save)
        assert waiting[1:] == [lag] * (len(waiting) - 1)
        sums.append(seen)
    assert sums[0] == sums[1]


def test_bad_steps_that_are_read_later_end_the_epoch_too(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of(training={"batch_size": 2})
    state, loss = _start(recipe), _Scripted(*range(1, 99))
    with pytest.raises(NonFiniteError):
        _train(place, recipe, state, loss=loss, lag=1)
    assert loss.calls == 1 + BAD_STEPS + 1
    assert _weights(state).isfinite().all()


def test_training_goes_through_the_network_it_is_given(place: Any, recipe_of: Any) -> None:
    recipe = recipe_of()
    state, calls = _start(recipe), []

    def network(images: Tensor) -> Tensor:
        calls.append(len(images))
        logits: Tensor = state.classifier(images)
        return logits

    batches = _train(place, recipe, state, network=network)
    assert calls == [len(batch.rows) for batch in batches]


# Graphs: a stand-in for CUDA's, which records what it is given and runs it when it is replayed


def _graphs(state: TrainingState, *, shown: list[str] | None = None) -> GraphedPasses:
    shown = [] if shown is None else shown

    def record(passes: Any, forget: Any) -> Any:
        for _ in range(3):
            forget()
            passes()
        forget()
        loss = passes()
        parameters = [p for p in state.classifier.parameters() if p.requires_grad]
        gradients = [p.grad for p in parameters]
        shown.append("recorded")

        def replay() -> None:
            forget()
            loss.copy_(passes())
            for gradient, parameter in zip(gradients, parameters, strict=True):
                gradient.copy_(parameter.grad)
            shown.append("replayed")

        return replay, loss

    recipe = state.recipe
    return GraphedPasses(
        state,
        cross_entropy,
        state.classifier,
        normalize=recipe.image.normalize,
        precision=torch.float32,
        record=record,
    )


def test_passes_that_are_replayed_train_as_those_that_are_launched(
    place: Any, recipe_of: Any
) -> None:
    recipe = recipe_of(
        model={"backbone": "tiny_norm", "dropout": 0.5},
        training={"batch_size": 7, "ema_decay": 0.5},
        optimizer={"name": "adamw", "clip_norm": 1.0},
    )
    plain, replayed, shown = _start(recipe), _start(recipe), []
    torch.manual_seed(7)
    sizes = [len(b.rows) for b in _train(place, recipe, plain)]
    torch.manual_seed(7)
    _train(place, recipe, replayed, graphs=_graphs(replayed, shown=shown))
    assert shown.count("recorded") == len(set(sizes)) == 2
    assert shown.count("replayed") == len(sizes)
    assert plain.loss_sum == replayed.loss_sum
    ours, theirs = replayed.classifier.state_dict(), plain.classifier.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)  # BatchNorm's counts too


def test_accumulated_batches_are_not_replayed(place: Any, recipe_of: Any) -> None:
    recipe, shown = recipe_of(training={"batch_size": 4, "accumulate": 2}), []
    state, plain = _start(recipe), _start(recipe)
    batches = _train(place, recipe, state, graphs=_graphs(state, shown=shown))
    _train(place, recipe, plain)
    assert shown.count("replayed") == sum(batch.alone for batch in batches) < len(batches)
    assert torch.equal(_weights(state), _weights(plain))


def test_a_stage_that_frees_the_backbone_is_recorded_anew(recipe_of: Any) -> None:
    state, shown = _start(recipe_of()), []
    graphs = _graphs(state, shown=shown)
    pixels, targets = torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.zeros(2)
    state.classifier.freeze_backbone()
    graphs(pixels, targets)
    state.classifier.freeze_backbone(False)
    state.stage += 1
    graphs(pixels, targets)
    assert shown.count("recorded") == 2
    assert all(p.grad is not None for p in state.classifier.parameters())


def test_more_shapes_than_there_is_room_for_are_launched(recipe_of: Any) -> None:
    state, shown = _start(recipe_of()), []
    graphs = _graphs(state, shown=shown)
    for size in range(1, MOST_SHAPES + 3):
        graphs(torch.zeros(size, 32, 32, 3, dtype=torch.uint8), torch.zeros(size))
    assert shown.count("recorded") == MOST_SHAPES
    assert make_graphs(state, cross_entropy, None, precision=torch.float32) is None  # no GPU


# Prediction


def _classifier() -> Classifier:
    torch.manual_seed(1)
    return make_classifier("tiny", outputs=1, dropout=0.5)


def test_renewed_statistics_are_the_means_over_the_batches_as_they_are_scored(place: Any) -> None:
    torch.manual_seed(0)
    classifier = make_classifier("resnet18", outputs=1, dropout=0.5).train()
    first, rows = classifier.backbone.bn1, np.arange(12)
    momentum, seen = first.momentum, []
    handle = first.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    generator = torch.random.get_rng_state()
    options = {"normalize": "imagenet", "batch_size": 4}
    renew_statistics(classifier, place.array, rows, **options)
    handle.remove()
    assert [len(maps) for maps in seen] == [4, 4, 4]
    mean = torch.stack([maps.mean((0, 2, 3)) for maps in seen]).mean(0)
    variance = torch.stack([maps.var((0, 2, 3)) for maps in seen]).mean(0)
    assert torch.allclose(first.running_mean, mean, atol=1e-5)
    assert torch.allclose(first.running_var, variance, atol=1e-4)
    assert first.momentum == momentum and not classifier.training and not first.training
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_a_frozen_backbone_keeps_its_statistics(place: Any) -> None:
    classifier = make_classifier("resnet18", outputs=1)
    classifier.freeze_backbone()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    renew_statistics(classifier, place.array, np.arange(8), normalize="imagenet", batch_size=4)
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())


def test_the_rows_of_the_statistics_are_the_same_every_time_and_of_the_training_part() -> None:
    training = np.arange(100, 200)
    rows = statistics_rows(training, 30, seed=(5, 1))
    assert rows.tolist() == statistics_rows(training, 30, seed=(5, 1)).tolist()
    assert len(set(rows.tolist())) == 30 and set(rows.tolist()) <= set(training.tolist())
    assert rows.tolist() != statistics_rows(training, 30, seed=(5, 2)).tolist()
    assert len(statistics_rows(training, 1000, seed=(5, 1))) == 100


def test_predictions_are_in_the_order_of_the_rows_whatever_the_batches(place: Any) -> None:
    rows = np.array([5, 3, 60, 3, 17, 0, 41], dtype=np.int64)
    classifier = _classifier().train()  # prediction switches dropout off by itself
    predict = partial(predict_rows, classifier, place.array, normalize="imagenet", views=1)
    whole = predict(rows, batch_size=64)
    assert whole.shape == (7, 1)
    assert len(np.unique(whole)) == 6  # row 3 stands twice
    for size in (1, 2, 3):
        assert np.allclose(predict(rows, batch_size=size), whole, atol=1e-6)
    backwards = predict(rows[::-1], batch_size=3)
    assert np.allclose(backwards[::-1], whole, atol=1e-6)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_views_are_averaged_as_logits(views: int) -> None:
    classifier = _classifier().eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    turned = [images.rot90(turn, (2, 3)) for turn in (0, 2, 1, 3)]
    turned += [image.flip(3) for image in turned]
    with torch.inference_mode():
        expected = sum(classifier(image) for image in turned[:views]) / views
    found = predict_logits(classifier, images, views=views)
    assert torch.allclose(found, expected, atol=1e-6)
    assert views == 1 or not torch.allclose(found, classifier(images), atol=1e-4)


@pytest.mark.parametrize("views", [4, 8])
def test_four_views_make_the_answer_the_same_however_the_camera_is_held(views: int) -> None:
    classifier = _classifier().eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    upright = predict_logits(classifier, images, views=views)
    turned = [images.rot90(turn, (2, 3)) for turn in (1, 2, 3)]
    # In a mirror it is another lesion, which eight views take for the same.
    mirrored = [images.flip(3), images.transpose(2, 3)]
    for others in turned + (mirrored if views == 8 else []):
        assert torch.allclose(predict_logits(classifier, others, views=views), upright, atol=1e-6)


# Device and precision


def test_a_precision_by_name_is_that_type() -> None:
    assert resolve_precision("float32", CPU) == torch.float32
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_auto_takes_bfloat16_only_where_the_cpu_multiplies_it(
    able: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melanoma.devices._processor_flags", frozenset)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert resolve_precision("auto", CPU) == expected
    listed = frozenset({"avx2", *(name for name, has in able.items() if has)})
    monkeypatch.setattr("melanoma.devices._processor_flags", lambda: listed)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_depends_on_its_hardware(
    native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert resolve_precision("auto", torch.device("cuda")) == expected


def test_only_half_precision_is_scaled(recipe_of: Any) -> None:
    recipe = recipe_of()
    for precision in (torch.float32, torch.bfloat16, torch.float16):
        classifier = make_classifier("tiny", outputs=1)
        state = start_state(classifier, recipe, precision=precision, device=CPU)
        assert state.scaler.is_enabled() == (precision == torch.float16)


def test_bfloat16_multiplies_in_it_and_float32_does_not() -> None:
    a = torch.randn(8, 8)
    with autocast(CPU, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(CPU, torch.float32):
        assert (a @ a).dtype == torch.float32


def test_a_device_that_is_not_there_or_not_known_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU == resolve_device("cpu")
    with pytest.raises(RecipeError, match="--device cpu"):
        resolve_device("cuda")
    with pytest.raises(RecipeError, match="auto, cpu or cuda"):
        resolve_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda" == resolve_device("cuda").type
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize(
    ("count", "side", "passes"), [(1, 32, [8]), (3, 128, [15, 9]), (40, 128, [40] * 8)]
)
def test_the_views_of_few_images_are_one_pass(count: int, side: int, passes: list[int]) -> None:
    seen: list[int] = []

    class Sums(nn.Module):
        """The image's own sum, and that of its upper left quarter, which is another a view."""

        def embed(self, images: Tensor) -> Tensor:
            seen.append(len(images))
            assert images.is_contiguous(memory_format=torch.channels_last)
            quarter = images[:, :, : side // 2, : side // 2]
            return torch.stack([images.mean(dim=(1, 2, 3)), quarter.mean(dim=(1, 2, 3))], dim=1)

        def classify(self, embeddings: Tensor) -> Tensor:
            return 3 * embeddings

        def forward(self, images: Tensor) -> Tensor:
            return self.classify(self.embed(images))

    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    network: Any = Sums()
    logits, embeddings = predict_embedded(network, images, views=8)
    assert seen == passes
    channels_last = partial(torch.Tensor.contiguous, memory_format=torch.channels_last)
    one_by_one = [network(channels_last(view)) for view in dihedral_views(images, 8)]
    assert torch.allclose(logits, torch.stack(one_by_one).mean(dim=0), atol=1e-5)
    assert torch.allclose(embeddings, network.embed(channels_last(images)))
    seen.clear()
    assert torch.equal(predict_logits(network, images, views=8), logits)
    assert seen == passes
