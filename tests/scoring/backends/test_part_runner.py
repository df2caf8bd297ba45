"""Compiled models on rows: every row once, whoever asks, however many there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_backbone import make_tiny_backbone

from melanoma.models.classifier import Classifier
from melanoma.scoring.backends.common_layers import Networks, take_out_common
from melanoma.scoring.backends.from_torch import from_torch
from melanoma.scoring.backends.part_runner import PartRunner, compile_networks
from melanoma.scoring.backends.torch_members import TorchMembers

SIZE = 32


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Two members that differ in their heads alone."""
    torch.manual_seed(0)
    one = Classifier(make_tiny_backbone(norm=True).build(), features=16, outputs=2).eval()
    two = Classifier(one.backbone, features=16, outputs=2).eval()
    members = TorchMembers({2: one, 5: two}, normalize="half", device=torch.device("cpu"))
    return take_out_common(from_torch(members, size=SIZE))


def rows(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 3, 4, 9, 40])
def test_every_row_is_answered_in_its_place(networks: Networks, count: int) -> None:
    assert networks.common is not None
    runner = PartRunner(compile_networks(networks, "float32", 2), 2)
    logits, embeddings = runner(rows(count), (2, 5))
    assert logits.shape == (count, 2, 2) and embeddings.shape == (count, 2, 16)
    for number in {0, count // 2, count - 1}:
        alone, _ = runner(rows(count)[number : number + 1], (2, 5))
        assert np.allclose(alone[0], logits[number], atol=1e-5)
    # The backbone is one, the heads are two, and either may be asked for alone.
    assert np.array_equal(embeddings[:, 0], embeddings[:, 1])
    only, _ = runner(rows(count), (5,))
    assert np.allclose(only[:, 0], logits[:, 1], atol=1e-5)
    assert not np.allclose(logits[:, 0], logits[:, 1])


def test_common_layers_are_computed_once_for_all_members(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = PartRunner(compile_networks(networks, "float32", 2), 2)
    seen: list[tuple[int, int]] = []
    infer = runner._infer

    def watched(key: int, model: Any, part: Any, outputs: Any) -> Any:
        seen.append((key, len(part[0])))
        return infer(key, model, part, outputs)

    monkeypatch.setattr(runner, "_infer", watched)
    runner(rows(8), (2, 5))
    done = {key: sum(count for one, count in seen if one == key) for key, _ in seen}
    assert done == {-1: 8, 2: 8, 5: 8}
