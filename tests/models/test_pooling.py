"""GeM, multi-sample dropout and checkpointing: what they change in a network, and what not."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from torch import nn

from melanoma.errors import RecipeError
from melanoma.models.backbone_records import PooledBackbone
from melanoma.models.backbones import find_backbone
from melanoma.models.checkpointing import run_checkpointed, start_checkpointing
from melanoma.models.classifier import Classifier, is_kept, make_classifier
from melanoma.models.pooling import GeM

FEATURES = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(1)) + 0.1


def test_a_generalized_mean_of_power_1_is_the_mean_and_of_a_high_power_the_largest() -> None:
    assert torch.allclose(GeM(1.0)(FEATURES), FEATURES.mean(dim=(2, 3)), atol=1e-6)
    assert torch.allclose(GeM(200.0)(FEATURES), FEATURES.amax(dim=(2, 3)), rtol=0.02)


def test_the_power_is_learned() -> None:
    pool = GeM()
    pool(FEATURES).sum().backward()
    assert pool.p.grad is not None
    assert pool.p.grad.item() > 0


def make(**options: object) -> Classifier:
    torch.manual_seed(3)
    layers = OrderedDict(
        conv1=nn.Conv2d(3, 8, 3, stride=2),
        norm=nn.BatchNorm2d(8),
        act=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(8, 6, 3),
        act2=nn.ReLU(inplace=True),
    )
    return Classifier(nn.Sequential(layers), features=6, outputs=2, **options)  # type: ignore[arg-type]


def test_a_network_that_pools_its_own_way_is_refused_a_generalized_mean() -> None:
    class Own(PooledBackbone):
        def pool(self, features: torch.Tensor) -> torch.Tensor:
            return features

        def as_map(self, features: torch.Tensor) -> None:
            return None

    with pytest.raises(RecipeError, match="pool their own way"):
        Classifier(Own(), features=6, outputs=2, pooling="gem")


def test_draws_of_the_dropout_are_averaged_in_training_alone() -> None:
    once, often = make(dropout=0.5), make(dropout=0.5, dropout_samples=400)
    images = torch.rand(2, 3, 32, 32)
    whole = often.eval()(images)
    assert torch.equal(once.eval()(images), whole)
    embeddings = often.embed(images)
    torch.manual_seed(0)
    spread = (once.train().classify(embeddings) - whole).abs().mean()
    assert (often.train().classify(embeddings) - whole).abs().mean() < spread / 4


def test_further_logits_come_in_training_alone_and_change_no_first_weight() -> None:
    plain, more = make(), make(auxiliary=4)
    assert torch.equal(plain.head.weight, more.head.weight)  # type: ignore[union-attr]
    images = torch.rand(2, 3, 32, 32)
    assert more.train()(images).shape == (2, 6)
    assert more.eval()(images).shape == (2, 2)
    assert not any("auxiliary" in name for name in more.drop_auxiliary().state_dict())


@pytest.mark.parametrize("name", ["tiny", "timm:resnet10t", "timm:mobilenetv3_small_050"])
def test_checkpointing_gives_the_same_gradients_and_the_same_statistics(name: str) -> None:
    images = torch.rand(4, 3, 32, 32)
    results = []
    made = make() if name == "tiny" else make_classifier(name, outputs=1)
    for checkpointing in (False, True):
        model = deepcopy(made)
        if checkpointing:
            model.start_checkpointing()
        model.train()(images).square().sum().backward()
        results.append(model)
    plain, twice = (dict(model.named_parameters()) for model in results)
    for name, parameter in plain.items():
        assert torch.equal(parameter.grad, twice[name].grad), name  # type: ignore[arg-type]
    for name, buffer in results[0].named_buffers():
        assert torch.equal(buffer, dict(results[1].named_buffers())[name]), name


def test_a_layer_above_what_learns_is_not_kept_for_a_token_of_its_own() -> None:
    class Top(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(3))
            self.norm = nn.BatchNorm1d(3)

    top = Top()
    top.token.requires_grad_(False)
    assert not is_kept(top) and not is_kept(top.norm)
    top.norm.requires_grad_(False)
    assert is_kept(top) and is_kept(top.norm) and not is_kept(nn.ReLU())


def test_checkpointing_keeps_what_stands_between_blocks_alone() -> None:
    model = make()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor,  # type: ignore[func-returns-value]
        lambda tensor: tensor,
    ):
        images = torch.rand(4, 3, 32, 32, requires_grad=True)
        run_checkpointed(model.backbone.train(), images)
        twice = sum(kept)
        kept.clear()
        model.backbone(images)
    assert twice < 0.7 * sum(kept)


def test_a_backbone_that_is_no_sequence_is_refused() -> None:
    with pytest.raises(RecipeError, match="no sequence of blocks"):
        start_checkpointing(nn.Conv2d(3, 3, 1))


def test_a_model_that_timm_does_not_checkpoint_is_refused() -> None:
    with pytest.raises(RecipeError, match="timm does not checkpoint it"):
        start_checkpointing(find_backbone("timm:dla46_c").build())
