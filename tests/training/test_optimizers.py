"""Lion and SAM: their formulas, and that what holds for a step holds for theirs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from one_epoch import weights_after_an_epoch
from torch import nn

from melanoma.models.classifier import make_classifier
from melanoma.training.lion import Lion
from melanoma.training.sharpness import ascend


def test_lion_steps_by_the_sign_of_an_interpolated_momentum() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    lion = Lion([{"params": [weight], "lr": 0.1, "weight_decay": 0.5}])
    momentum = torch.zeros(3)
    for gradient in (torch.tensor([0.3, -0.2, 0.0]), torch.tensor([-0.01, 5.0, -1.0])):
        direction = torch.sign(0.9 * momentum + 0.1 * gradient)
        expected = weight.detach() - 0.1 * (direction + 0.5 * weight.detach())
        momentum = 0.99 * momentum + 0.01 * gradient
        weight.grad = gradient.clone()
        lion.step()
        assert torch.allclose(weight.detach(), expected)
        assert torch.allclose(lion.state[weight]["momentum"], momentum)


def test_lion_leaves_out_a_step_that_the_device_found_lost() -> None:
    weight = nn.Parameter(torch.ones(2))
    lion = Lion([{"params": [weight], "lr": 0.1, "weight_decay": 0.5}])
    weight.grad = torch.tensor([float("nan"), 1.0])
    lion.found_inf = torch.tensor(1.0)
    lion.step()
    assert torch.equal(weight.detach(), torch.ones(2))
    assert torch.equal(lion.state[weight]["momentum"], torch.zeros(2))


def test_sam_takes_the_gradient_uphill_and_leaves_weights_and_statistics() -> None:
    # f(w) = w0 ** 2 + 10 * w1 ** 2: the gradient at w + rho * g / |g| is known.
    weight = nn.Parameter(torch.tensor([3.0, 0.4]))
    scales = torch.tensor([1.0, 10.0])
    norm = nn.BatchNorm1d(2)
    norm.train()

    def again() -> None:
        norm(torch.randn(8, 2))
        (scales * weight**2).sum().backward()

    (scales * weight**2).sum().backward()
    gradient = 2 * scales * torch.tensor([3.0, 0.4])
    assert weight.grad is not None and torch.allclose(weight.grad, gradient)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    ascend(norm, [weight], 0.05, again)
    uphill = torch.tensor([3.0, 0.4]) + 0.05 * gradient / gradient.norm()
    assert torch.allclose(weight.grad, 2 * scales * uphill)
    assert torch.equal(weight.detach(), torch.tensor([3.0, 0.4]))
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


def test_sam_of_gradients_that_are_not_finite_leaves_the_weights(recipe_of: Any) -> None:
    weight = nn.Parameter(torch.tensor([3.0, 0.4]))
    weight.grad = torch.tensor([float("inf"), 0.0])
    ascend(nn.Identity(), [weight], 0.05, lambda: (weight**2).sum().backward())
    assert torch.equal(weight.detach(), torch.tensor([3.0, 0.4]))
    assert not weight.grad.isfinite().all()  # and so train_epoch leaves the step out


@pytest.mark.parametrize("optimizer", [{"name": "lion", "rate": 1e-3}, {"sam_rho": 0.05}])
def test_a_run_that_is_interrupted_goes_on_as_if_it_had_not_been(
    optimizer: dict[str, Any], recipe_of: Any, fit: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    from melanoma.errors import InterruptedRun
    from melanoma.training.loop import Loop

    recipe = recipe_of(optimizer=optimizer, training={"epochs": 2, "batch_size": 16})
    whole = fit(recipe, tmp_path / "whole")
    close = Loop._close_epoch
    with monkeypatch.context() as patched:

        def leave(loop: Loop, logits: Any) -> None:
            close(loop, logits)
            if loop.state.epoch == 1:
                loop._save()
                raise InterruptedRun("enough", signal_number=15)

        patched.setattr(Loop, "_close_epoch", leave)
        with pytest.raises(InterruptedRun):
            fit(recipe, tmp_path / "broken")
    resumed = fit(recipe, tmp_path / "broken")
    assert resumed.facts.files["model.safetensors"] == whole.facts.files["model.safetensors"]
    plain = fit(recipe_of(training={"epochs": 2, "batch_size": 16}), tmp_path / "plain")
    assert plain.facts.files["model.safetensors"] != whole.facts.files["model.safetensors"]


def test_sam_with_accumulation_is_the_large_batch(place: Any, recipe_of: Any) -> None:
    data, found = place.data(0), []
    for training in ({"batch_size": 16, "accumulate": 1}, {"batch_size": 4, "accumulate": 4}):
        recipe = recipe_of(
            training=training,
            optimizer={"name": "sgd", "rate": 0.05, "sam_rho": 0.2},
            model={"dropout": 0.0},
        )
        torch.manual_seed(0)
        classifier = make_classifier("tiny", outputs=1)
        found.append(weights_after_an_epoch(classifier, recipe, data, place.array, smoothing=0.0))
    assert torch.allclose(*found, atol=1e-5)
