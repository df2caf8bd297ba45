"""Device, precision and seeds: where and how exactly the arithmetic is done.

Torch is imported where it is needed: a service that another backend runs starts without it.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from melanoma.errors import RecipeError

if TYPE_CHECKING:
    import torch


class Device(Protocol):
    """Where the networks run; torch.device is one."""

    @property
    def type(self) -> str:
        """cpu or cuda."""


class _Cpu(NamedTuple):
    type: str = "cpu"


CPU: Device = _Cpu()


def find_device(name: str) -> Device:
    """As resolve_device, and without torch where the machine can have no GPU."""
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return CPU
    return resolve_device(name)


def as_torch(device: Device) -> torch.device:
    """The same device, torch's."""
    import torch

    return device if isinstance(device, torch.device) else torch.device(device.type)


def _may_have_gpu() -> bool:
    """False where torch would find none: on Linux it loads the driver's library, or AMD's device
    is there. Elsewhere torch is to be asked."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def resolve_device(name: str) -> torch.device:
    """The device for auto, cpu or cuda. Raises RecipeError when CUDA is asked for and absent."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("no CUDA device on this machine; use --device cpu")
    if name not in ("auto", "cpu", "cuda"):
        raise RecipeError(f"--device {name}: auto, cpu or cuda")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of the products for auto, float32 or bfloat16.

    Auto: bfloat16 where the hardware multiplies it, float16 on older GPUs, else float32 (a CPU
    without bfloat16 instructions emulates it, several times slower).
    """
    import torch

    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    listed = _processor_flags()
    if listed:
        return not {"avx512_bf16", "amx_bf16"}.isdisjoint(listed)
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16", False) or able.get("amx_bf16", False))


def require_bfloat16(device: Device) -> None:
    """Raise RecipeError where the device only emulates bfloat16, which is slower than float32."""
    if not (has_bfloat16() if device.type == "cpu" else _gpu_has_bfloat16()):
        raise RecipeError(
            "--precision bfloat16: this processor has no bfloat16 of its own; leave it at float32"
        )


def _gpu_has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@functools.cache
def _processor_flags() -> frozenset[str]:
    """Of the first processor of /proc/cpuinfo; empty where there is none, or no such line."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


def count_cores(root: Path = Path("/")) -> int:
    """The cores that this process may use, at least 1: those of the machine that are its own, no
    more than OMP_NUM_THREADS, nor than the quota of its control group, which a container has.
    `root` is where /proc and /sys are."""
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    most = int(threads) if threads.isdecimal() and int(threads) else math.inf
    return max(1, math.ceil(min(_own_cores(root), most, _quota(root))))


def _own_cores(root: Path) -> int:
    """Whole cores, as torch counts them: two threads that share one are no faster than one."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    mine = os.sched_getaffinity(0)
    place = root / "sys/devices/system/cpu"
    try:
        files = [place / f"cpu{number}/topology/thread_siblings_list" for number in mine]
        return len({file.read_text().strip() for file in files}) or 1
    except OSError:
        return len(mine) or 1


def _quota(root: Path) -> float:
    """Of a processor's time, in cores, of this process's control group and those above it."""
    fs, least = root / "sys/fs/cgroup", math.inf
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return least
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        top = fs / "cpu" if kinds else fs
        own = top / path.lstrip("/")
        # In a container the path is often the host's: then its own group is the top.
        for folder in (top, *(p for p in (own, *own.parents) if top in p.parents)):
            least = min(least, _group_quota(folder))
    return least


def _group_quota(folder: Path) -> float:
    """Of cgroup version 2 or 1; infinite where there is none."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text()
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def step_back(niceness: int) -> None:
    """Lower this thread's priority, and that of the threads it will start, where it is Linux: there
    each thread has one of its own, of which the others know nothing."""
    if sys.platform == "linux":
        me = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, me)
        os.setpriority(os.PRIO_PROCESS, me, min(19, before + niceness))


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision, or nothing for float32."""
    import torch

    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def seed_everything(*keys: int) -> None:
    """Seed torch's generators (initial weights, dropout) from the keys."""
    import torch

    torch.manual_seed(int(np.random.SeedSequence(keys).generate_state(1)[0]))
