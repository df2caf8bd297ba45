"""Networks of torch as OpenVINO's models: logits, embeddings and maps of any number of squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_backbone import make_tiny_backbone
from torch import Tensor, nn

from melanoma.data.transforms import to_tensor
from melanoma.models.backbone_records import PooledBackbone
from melanoma.models.classifier import Classifier
from melanoma.models.seed_mean import SeedMean
from melanoma.scoring.backends.common_layers import Networks
from melanoma.scoring.backends.core import the_core
from melanoma.scoring.backends.from_torch import from_torch
from melanoma.scoring.backends.openvino_members import OpenVinoMembers
from melanoma.scoring.backends.torch_members import TorchMembers
from melanoma.scoring.explain.evidence import Evidence, PlainHead

SIZE = 32


def small(seed: int, outputs: int = 2) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(make_tiny_backbone(norm=True).build(), features=16, outputs=outputs).eval()


def squares(count: int) -> Any:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def answers(networks: dict[int, Any], count: int) -> dict[int, list[Any]]:
    """What each model gives, compiled in float32."""
    members = TorchMembers(networks, normalize="imagenet", device=torch.device("cpu"))
    models = from_torch(members, size=SIZE)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    found = {}
    for fold, model in models.items():
        compiled = the_core().compile_model(model, "CPU", options)
        found[fold] = list(compiled(squares(count)).values())
    return found


def prepared(count: int) -> Tensor:
    return to_tensor(torch.from_numpy(squares(count)), normalize="imagenet")


def close(ours: Any, theirs: Tensor) -> bool:
    return bool(np.allclose(ours, theirs.detach().numpy(), atol=1e-4))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_fold_s_model_gives_its_network_s_logits_embeddings_and_maps(count: int) -> None:
    networks = {0: small(0), 3: small(1)}
    found = answers(networks, count)
    assert list(found) == [0, 3]
    images = prepared(count)
    for fold, network in networks.items():
        logits, embeddings, maps = found[fold]
        assert close(logits, network(images))
        assert close(embeddings, network.embed(images))
        assert close(maps, network.backbone(images))
    assert not np.allclose(found[0][0], found[3][0], atol=1e-2)


def test_of_several_seeds_the_mean_logit_comes_with_the_maps_of_each() -> None:
    singles = [small(4), small(5)]
    network = SeedMean(singles).eval()
    logits, embeddings, *maps = answers({0: network}, 3)[0]
    images = prepared(3)
    assert close(logits, network(images))
    assert close(embeddings, network.embed(images))
    assert len(maps) == 2
    for ours, single in zip(maps, singles, strict=True):
        assert close(ours, single.backbone(images))


class FirstPlace(PooledBackbone):
    """Its embedding is one place of what it gives, as a class token is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.conv(images)
        return found

    def pool(self, features: Tensor) -> Tensor:
        return features[:, :, 0, 0]

    def as_map(self, features: Tensor) -> Tensor | None:
        return None


@pytest.mark.parametrize("pooling", ["mean", "gem"])
def test_a_network_s_heat_is_torch_s_however_it_pools(pooling: str) -> None:
    torch.manual_seed(8)
    backbone = make_tiny_backbone(norm=True).build()
    network = Classifier(backbone, features=16, outputs=1, pooling=pooling).eval()
    members = TorchMembers({0: network}, normalize="imagenet", device=torch.device("cpu"))
    head = PlainHead(((network.head.weight.detach().numpy(), network.head.bias.detach().numpy()),))
    theirs = OpenVinoMembers(
        Networks(from_torch(members, size=SIZE)), load=lambda: members, heads={0: (head,)}
    )
    for sign in (1.0, -1.0):
        (expected,) = members.heat(squares(1)[0], Evidence((0,), sign))
        (found,) = theirs.heat(squares(1)[0], Evidence((0,), sign))
        assert expected.size > 1
        assert np.allclose(found, expected, atol=1e-4)


def test_maps_that_no_embedding_averages_are_not_given() -> None:
    torch.manual_seed(6)
    network = Classifier(FirstPlace(), features=8, outputs=1).eval()
    logits, embeddings = answers({0: network}, 2)[0]
    images = prepared(2)
    assert close(logits, network(images))
    assert close(embeddings, network.backbone(images)[:, :, 0, 0])
