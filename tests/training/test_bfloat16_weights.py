"""Weights that bfloat16 holds: what it then changes, and what rounding itself does not."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from melanoma.errors import RecipeError
from melanoma.models.backbones import BACKBONES
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.training.bfloat16_weights import require_roundable, round_weights
from melanoma.training.epoch import predict_rows

NAMES = ("mobilenet_v2", "resnet18", "se_resnext50_32x4d", "efficientnet_lite0")


def rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float()


def images(count: int = 8, size: int = 64) -> Tensor:
    """Even pictures of some brightness with little on them, as skin is."""
    drawn = torch.Generator().manual_seed(1)
    even = torch.rand(count, 3, 1, 1, generator=drawn) - 0.2
    return even + 0.1 * torch.randn(count, 3, size, size, generator=drawn)


def pairs(network: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the BatchNorm that stands behind it in the list of modules."""
    modules = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    return [
        (one, other)
        for one, other in itertools.pairwise(modules)
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.BatchNorm2d)
    ]


def learned(name: str) -> Classifier:
    """A network with statistics of its own and gains of either sign, the filters of whose second
    layer, where they go by channel, nearly cancel each other."""
    torch.manual_seed(0)
    network = make_classifier(name, outputs=3).eval()
    for conv, norm in pairs(network):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.weight.data[::5] *= -1
        nn.init.normal_(norm.bias, std=0.5)
        if conv.groups > 1 and conv.weight.shape[1] == 1:
            conv.weight.data -= 0.98 * conv.weight.data.mean(dim=(2, 3), keepdim=True)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        network(images())
    return network.eval()


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a processor multiplies by, and what it adds."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = 0 if conv.bias is None else conv.bias
    added = norm.bias + (bias - norm.running_mean) * scale
    return conv.weight * scale[:, None, None, None], added


def logits_with_rounded_weights(network: Classifier, pictures: Tensor) -> Tensor:
    """As a processor's that multiplies bfloat16, but for the rounding of what passes through."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for conv, norm in pairs(network):
            weight, added = folded(conv, norm)
            assert norm.running_var is not None and norm.running_mean is not None
            conv.weight.copy_(rounded(weight))
            norm.weight.fill_(1)
            norm.running_var.fill_(1 - norm.eps)
            norm.running_mean.copy_(norm.running_mean * 0 if conv.bias is None else conv.bias)
            norm.bias.copy_(rounded(added))
        logits: Tensor = network(pictures)
        return logits


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_what_is_multiplied_and_added_is_what_bfloat16_holds(name: str) -> None:
    network = learned(name)
    round_weights(network, images())
    found = pairs(network)
    assert len(found) > 15
    for conv, norm in found:
        for values in folded(conv, norm):
            torch.testing.assert_close(values, rounded(values), rtol=1e-5, atol=1e-6)
    for layer in (m for m in network.modules() if isinstance(m, nn.Linear)):
        assert torch.equal(layer.weight, rounded(layer.weight))
        assert torch.equal(layer.bias, rounded(layer.bias))


@torch.no_grad()
def test_rounding_weights_then_changes_nothing_that_is_seen() -> None:
    before = learned("mobilenet_v2")
    after, pictures = copy.deepcopy(before), images()
    round_weights(after, pictures)

    def change(network: Classifier) -> float:
        exact = network(pictures)
        return float((logits_with_rounded_weights(network, pictures) - exact).std() / exact.std())

    assert change(before) > 0.02  # or the test would test nothing
    assert change(after) < change(before) / 100


@torch.no_grad()
def test_what_rounding_shifts_is_taken_out() -> None:
    """Filters that see no brightness, on bright pictures: with rounded weights they see it."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU())
    before, pictures = Classifier(backbone, features=32, outputs=3).eval(), images(96) * 0.1 + 5
    conv, norm = pairs(before)[0]
    conv.weight.data -= conv.weight.data.mean(dim=(1, 2, 3), keepdim=True)
    conv.bias = None
    assert norm.running_var is not None
    norm.running_var.copy_(before.backbone[0](pictures).var(dim=(0, 2, 3)))  # type: ignore[index]
    after = copy.deepcopy(before)
    round_weights(after, pictures[:48])
    exact, others = before(pictures[48:]), pictures[48:]
    shifted = logits_with_rounded_weights(before, others)
    assert (after(others) - exact).abs().max() < (shifted - exact).abs().max() / 5


@torch.no_grad()
def test_a_shift_of_one_layer_is_not_taken_out_again_behind_it() -> None:
    """Layers with biases of their own: in the mean each gives what it gave."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)]
    network = Classifier(nn.Sequential(*layers), features=16, outputs=3).eval()
    pictures = images(32) + 5
    before = [network.backbone[:n](pictures).mean(dim=(0, 2, 3)) for n in (1, 2, 3)]  # type: ignore[index]
    round_weights(network, pictures)
    for n, mean in enumerate(before):
        given = network.backbone[: n + 1](pictures).mean(dim=(0, 2, 3))  # type: ignore[index]
        bias = layers[n].bias
        assert bias is not None
        # The bias itself is rounded, to 8 bits.
        assert ((given - mean).abs() <= bias.abs() / 256 + 2e-3).all()


@torch.no_grad()
def test_statistics_are_still_those_of_the_layer_before() -> None:
    """Whoever goes on training from these weights finds BatchNorm as it would have it."""
    network, pictures = learned("resnet18"), images()
    round_weights(network, pictures)
    scored = network(pictures)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.train()  # the statistics are of these very pictures
    assert (network(pictures) - scored).abs().max() < 0.1 * scored.std()


def test_dead_channels_and_zero_gains_stay_finite() -> None:
    network = learned("resnet18")
    _, norm = pairs(network)[0]
    assert norm.running_var is not None
    norm.running_var[:8] = 0
    norm.weight.data[4:12] = 0
    round_weights(network, images())
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert (norm.running_var >= 0).all()


class Elsewhere(nn.Module):
    """A convolution that gives to its BatchNorm, and beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, pictures: Tensor) -> Tensor:
        given = self.conv(pictures)
        both: Tensor = self.norm(given).relu() + given
        return both


def test_a_network_that_cannot_be_scaled_is_refused_before_it_is_trained() -> None:
    network = Classifier(Elsewhere(), features=4, outputs=2)
    nn.init.uniform_(network.backbone.norm.weight, 1.2, 1.8)  # type: ignore[union-attr, arg-type]
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(RecipeError, match="elsewhere than in the BatchNorm"):
        require_roundable(network, 32)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_fold_is_refused_before_its_folder_is_made(
    fit: Any, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> nn.Module:
        made = Elsewhere()
        nn.init.uniform_(made.norm.weight, 1.2, 1.8)
        return made

    other = replace(BACKBONES["tiny"], features=4, build=build)
    monkeypatch.setitem(BACKBONES, "elsewhere", other)
    recipe = recipe_of(model={"backbone": "elsewhere"}, training={"bfloat16_weights": True})
    with pytest.raises(RecipeError, match="elsewhere than in the BatchNorm"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_fold_keeps_rounded_weights_and_their_scores(
    keep: str, place: Any, recipe_of: Any, fit: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(
        model={"backbone": "tiny_norm"},
        training={"bfloat16_weights": True},
        selection={"keep": keep},
    )
    run = fit(recipe, tmp_path / "run")
    plain = fit(recipe_of(model={"backbone": "tiny_norm"}), tmp_path / "plain")
    network = make_classifier("tiny_norm", outputs=1)
    network.load_state_dict(load_file(run.folder / "model.safetensors"))
    for conv, norm in pairs(network.eval()):
        for values in folded(conv, norm):
            torch.testing.assert_close(values, rounded(values), rtol=1e-5, atol=1e-6)
    data = place.data(0)
    again = predict_rows(
        network, data.array, data.validation, normalize="imagenet", views=1, batch_size=8
    )
    assert np.allclose(run.scores.logits(), again, atol=1e-5)
    # Of the epochs nothing changes: rounding comes behind them, and ends in their neighborhood.
    assert np.array_equal(run.scores.logits("logit_last"), plain.scores.logits("logit_last"))
    epoch = run.scores.logits(f"logit_{keep}")
    assert 0 < abs(run.scores.logits() - epoch).max() < 0.1 * epoch.std() + 0.02


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"freeze_backbone": True}, "bfloat16_weights: the backbone stays frozen"),
        ({"embeddings": "e.npy"}, "so training.bfloat16_weights cannot be meant"),
    ],
)
def test_there_is_nothing_to_round_in_what_stays_as_it_is(
    changes: dict[str, Any], said: str, recipe_of: Any
) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe_of(model=changes, augment=[], training={"bfloat16_weights": True})
