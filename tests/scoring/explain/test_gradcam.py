"""Grad-CAM finds the places that decide, for every family of backbones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES
from torch import Tensor
from toy_scorer import SIZE, Box, read_boxes

from melanoma.models.classifier import make_classifier
from melanoma.scoring.explain.gradcam import map_evidence

QUADRANT = Box(0.5, 0.0, 1.0, 0.5)


def _first(logits: Tensor) -> Tensor:
    return logits[0, 0]


@pytest.mark.parametrize("backbone", FAMILIES)
def test_every_family_gives_a_map_that_is_the_head_s_weighted_sum(backbone: str) -> None:
    torch.manual_seed(0)
    network = make_classifier(backbone, outputs=8).eval()
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        maps = network.backbone(image)[0]
        best = int(network(image).argmax())
    heat = map_evidence(network, image, evidence=lambda logits: logits[0, best])
    assert heat.shape == (3, 3)
    assert np.isfinite(heat).all()
    assert heat.min() >= 0
    assert heat.max() == 1
    assert heat.std() > 0.01
    # Behind an average and a linear head the gradient is the head's weight: Zhou's CAM.
    cam = torch.einsum("d,dhw->hw", network.head.weight[best].detach(), maps).relu()
    assert np.allclose(heat, (cam / cam.max()).numpy(), atol=1e-5)


def test_the_heat_is_in_the_one_quadrant_that_matters() -> None:
    network = read_boxes([QUADRANT])
    image = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    heat = map_evidence(network, image, evidence=_first)
    inside = QUADRANT.mask(SIZE, SIZE)
    assert heat[inside].mean() > 0.3
    assert not heat[~inside].any()


def test_what_speaks_against_a_class_leaves_no_heat_and_no_nan() -> None:
    network = read_boxes([QUADRANT])
    image = torch.rand(1, 3, SIZE, SIZE)
    heat = map_evidence(network, image, evidence=lambda logits: -logits[0, 0])
    assert heat.shape == (SIZE, SIZE)
    assert not heat.any()


def test_a_map_leaves_no_gradient_in_the_network() -> None:
    network = read_boxes([QUADRANT])
    map_evidence(network, torch.rand(1, 3, SIZE, SIZE), evidence=_first)
    assert all(parameter.grad is None for parameter in network.parameters())
