"""Layers that all members have in common are computed once, and the answers stay the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tiny_backbone import make_tiny_backbone
from torch import nn

from melanoma.models.classifier import Classifier
from melanoma.scoring.backends.common_layers import Networks, take_out_common
from melanoma.scoring.backends.core import the_core
from melanoma.scoring.backends.from_torch import from_torch
from melanoma.scoring.backends.openvino_members import OpenVinoMembers
from melanoma.scoring.backends.torch_members import TorchMembers
from melanoma.scoring.explain.evidence import Evidence, PlainHead

SIZE = 32
CPU = torch.device("cpu")
SQUARES = np.random.default_rng(0).integers(0, 256, (11, SIZE, SIZE, 3), np.uint8)


def network(seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(make_tiny_backbone(norm=True).build(), features=16, outputs=2).eval()


def members_of(*networks: Classifier) -> TorchMembers:
    return TorchMembers(dict(enumerate(networks)), normalize="half", device=CPU)


def alike_up_to(layer: str) -> TorchMembers:
    """Three members whose parameters are one and the same before the one of that name."""
    first, *others = (network(seed) for seed in range(3))
    for other in others:
        for name, value in first.state_dict().items():
            if name == layer:
                break
            other.state_dict()[name].copy_(value)
    return members_of(first, *others)


def run(model: Any, *given: Any) -> list[Any]:
    compiled = the_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled(list(given)).values())


def kinds(model: Any) -> list[str]:
    layers = ("Convolution", "GroupConvolution", "MatMul")
    return [op.get_type_name() for op in model.get_ordered_ops() if op.get_type_name() in layers]


def names() -> list[str]:
    return list(network(0).state_dict())


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_alike_is_computed_once_and_gives_the_same(whole: bool) -> None:
    convolutions = [name for name in names() if network(0).state_dict()[name].dim() == 4]
    reference = alike_up_to("head.weight" if whole else convolutions[1])
    models = from_torch(reference, size=SIZE)
    networks = take_out_common(models)
    assert networks.common is not None
    assert len(kinds(networks.common)) == (len(convolutions) if whole else 1)
    given = run(networks.common, SQUARES)
    for fold, model in models.items():
        behind = networks.by_fold[fold]
        assert len(kinds(behind)) + len(kinds(networks.common)) == len(kinds(model))
        for found, expected in zip(run(behind, *given), run(model, SQUARES), strict=True):
            assert np.allclose(found, expected, atol=1e-6)


def test_members_that_share_nothing_but_a_pixel_s_scaling_stay_whole() -> None:
    models = from_torch(members_of(network(0), network(1)), size=SIZE)
    assert take_out_common(models) == Networks(models)


def test_one_weight_of_difference_is_no_common_layer() -> None:
    one, other = network(0), network(0)
    with torch.no_grad():
        next(other.backbone.parameters()).view(-1)[0] += 1e-3
    assert take_out_common(from_torch(members_of(one, other), size=SIZE)).common is None


def test_one_weight_at_another_stride_is_no_common_layer() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 16, 3, bias=False)
    wider = copy.deepcopy(layer)
    wider.stride = (2, 2)
    networks = [Classifier(body, features=16, outputs=2).eval() for body in (layer, wider)]
    assert take_out_common(from_torch(members_of(*networks), size=SIZE)).common is None


def test_a_single_member_has_nobody_to_share_with() -> None:
    models = from_torch(members_of(network(0)), size=SIZE)
    assert take_out_common(models).common is None


class _Branches(nn.Module):
    """Two convolutions of the image, of which the members have the first in common."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.left(images)) + self.right(images)


def test_what_goes_on_from_several_places_is_cut_at_each() -> None:
    torch.manual_seed(0)
    left = nn.Conv2d(3, 8, 3, padding=1)
    heads = [nn.Conv2d(3, 8, 1) for _ in range(2)]
    bodies = [_Branches(copy.deepcopy(left), right) for right in heads]
    networks = [Classifier(body, features=8, outputs=2).eval() for body in bodies]
    models = from_torch(members_of(*networks), size=SIZE)
    found = take_out_common(models)
    assert found.common is not None and len(found.common.outputs) == 2
    given = run(found.common, SQUARES)
    for fold, model in models.items():
        for ours, theirs in zip(run(found.by_fold[fold], *given), run(model, SQUARES), strict=True):
            assert np.allclose(ours, theirs, atol=1e-6)


def test_members_that_share_layers_answer_and_explain_as_torch_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = alike_up_to("head.weight")
    models = take_out_common(from_torch(reference, size=SIZE))
    heads = {fold: [plain(one)] for fold, one in reference.networks.items()}
    members = OpenVinoMembers(models, load=lambda: reference, heads=heads, threads=2)
    for squares in (SQUARES[:1], SQUARES):
        for views in (1, 4):
            for found, expected in zip(
                members.outputs(squares, views=views),
                reference.outputs(squares, views=views),
                strict=True,
            ):
                assert found.shape == expected.shape
                assert np.allclose(found, expected, atol=1e-4)
    # Three batches of common layers in the place of one.
    together = members.logits(SQUARES, views=1)
    monkeypatch.setattr("melanoma.scoring.backends.part_runner._AT_ONCE", 1)
    assert np.allclose(members.logits(SQUARES, views=1), together, atol=1e-5)
    alone = members.alone()[1]
    assert np.allclose(alone.logits(SQUARES, views=1), together[:, 1:2], atol=1e-5)
    evidence = Evidence((1,))
    for found, expected in zip(
        members.heat(SQUARES[0], evidence), reference.heat(SQUARES[0], evidence), strict=True
    ):
        assert np.allclose(found, expected, atol=1e-3)


def plain(one: Any) -> PlainHead:
    layer = one.last_layer
    return PlainHead(((layer.weight.detach().numpy(), layer.bias.detach().numpy()),), "relu")
