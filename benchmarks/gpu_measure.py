"""How a GPU is measured: rates, the share of time it waits, its ceiling, a network's cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType  # type: ignore[attr-defined]  # there, if not listed
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

_COPIES = ("Memcpy", "Memset")


def wait_for(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate_of(epoch: Callable[[], int], device: torch.device) -> float:
    """Images a second of one call."""
    wait_for(device)
    start = time.perf_counter()
    images = epoch()
    wait_for(device)
    return images / (time.perf_counter() - start)


def seconds_of(call: Callable[[], Any], device: torch.device, *, times: int) -> float:
    """The median time of a call, after two that warm up."""
    found = []
    for turn in range(times + 2):
        wait_for(device)
        start = time.perf_counter()
        call()
        wait_for(device)
        if turn > 1:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def ceiling(device: torch.device, *, size: int) -> float:
    """Operations a second of a square matrix product of random bfloat16 numbers."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: left @ right, device, times=10)


def training_operations(network: nn.Module, images: Tensor) -> float:
    """Floating-point operations of one image forward and backward (a product and a sum are two).

    Three times those forward: torch's counter counts the backward of grouped convolutions as if
    they had no groups.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(images)
    return 3 * counter.get_total_flops() / len(images)


def busy_share(epoch: Callable[[], int]) -> dict[str, float]:
    """How long the GPU computes: of the time between its first and last kernel, and of the call.

    By torch's profiler, which makes the host slower: the device waits at most as long as this says.
    """
    torch.cuda.synchronize()
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        epoch()
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    # Raw: its list of events takes longer to build than the epoch.
    raw = profiler.profiler.kineto_results.events()
    kernels = sorted(
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in raw
        if event.device_type() == DeviceType.CUDA and not event.name().startswith(_COPIES)
    )
    busy = _union(kernels)
    spanned = kernels[-1][1] - kernels[0][0]
    return {
        "kernels": len(kernels),
        "busy_between_first_and_last_kernel": busy / spanned,
        "busy_of_the_whole_epoch": busy / 1e9 / wall,
    }


def _union(intervals: list[tuple[int, int]]) -> float:
    """The length that the sorted intervals cover."""
    covered, end = 0.0, float("-inf")
    for low, high in intervals:
        covered += max(0.0, high - max(low, end))
        end = max(end, high)
    return covered


def graphed(call: Callable[[], Any]) -> Callable[[], None]:
    """The call as a CUDA graph: launched as one, its tensors stay where they are."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay
