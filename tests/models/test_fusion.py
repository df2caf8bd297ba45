"""Folding batch norms changes nothing but the time that it takes, and nobody else's network."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from melanoma.models.backbones import find_backbone
from melanoma.models.fusion import fuse_norms

pytestmark = pytest.mark.slow  # together they take many seconds


def _norms(network: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def _settle(network: nn.Module) -> nn.Module:
    """The network with running statistics that are worth folding."""
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64) * 2 + 1)
    return network.eval()


# That the maps of every backbone stay equal, test_classifier.py shows of the faster network.
def test_call_is_never_replaced_and_no_hook_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = _settle(find_backbone("mobilenet_v2").build())
    call, seen = nn.Module.__call__, []
    forward = type(network).forward

    def watch(self: nn.Module, images: Tensor) -> Tensor:
        seen.append(nn.Module.__call__ is call)
        result: Tensor = forward(self, images)
        return result

    monkeypatch.setattr(type(network), "forward", watch)
    fused = fuse_norms(network)
    assert seen, "the network was not run"
    assert all(seen), "nn.Module.__call__ was replaced for the whole process"
    assert _norms(fused) < _norms(network)
    assert not any(m._forward_hooks for m in (*network.modules(), *fused.modules()))


def test_the_network_answers_other_threads_while_it_is_fused() -> None:
    torch.manual_seed(0)
    network = _settle(find_backbone("mobilenet_v2").build())
    images, failed, done = torch.randn(1, 3, 32, 32), [], threading.Event()
    with torch.inference_mode():
        expected = network(images)

    def ask() -> None:
        try:
            while not done.is_set():
                with torch.inference_mode():
                    assert torch.equal(network(images), expected)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        fuse_norms(network)
    done.set()
    for thread in threads:
        thread.join()
    assert failed == []


class _ReadTwice(nn.Module):
    """A convolution whose output the norm and the sum both read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        result: Tensor = self.norm(maps) + maps
        return result


class _RunTwice(nn.Module):
    """One norm behind two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.norm(self.second(self.norm(self.first(images))))
        return result


@pytest.mark.parametrize("kind", [_ReadTwice, _RunTwice])
def test_what_cannot_be_folded_is_left(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = _settle(kind())
    fused = fuse_norms(network)
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(fused(images), network(images), atol=1e-6)
    assert _norms(fused) == 1
