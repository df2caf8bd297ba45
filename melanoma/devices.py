"""Device, precision and seeds: where and how exactly the arithmetic is done."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch

from melanoma.errors import RecipeError


def resolve_device(name: str) -> torch.device:
    """The device for auto, cpu or cuda. Raises RecipeError when CUDA is asked for and absent."""
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
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16", False) or able.get("amx_bf16", False))


def require_bfloat16(device: torch.device) -> None:
    """Raise RecipeError where the device only emulates bfloat16, which is slower than float32."""
    on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if not on_gpu and not (device.type == "cpu" and has_bfloat16()):
        raise RecipeError(
            "--precision bfloat16: this processor has no bfloat16 of its own; leave it at float32"
        )


def count_cores(root: Path = Path("/")) -> int:
    """The cores that this process may use, at least 1: those of the machine that are its own, no
    more than OMP_NUM_THREADS, nor than the quota of its control group, which a container has.
    `root` is where /proc and /sys are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(cores or 1, torch.get_num_threads(), _quota(root))))


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


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision, or nothing for float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def seed_everything(*keys: int) -> None:
    """Seed torch's generators (initial weights, dropout) from the keys."""
    torch.manual_seed(int(np.random.SeedSequence(keys).generate_state(1)[0]))
