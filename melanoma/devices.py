"""Device, precision and seeds: where and how exactly the arithmetic is done."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

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
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16", False) or able.get("amx_bf16", False)
    return torch.bfloat16 if native else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision, or nothing for float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def seed_everything(*keys: int) -> None:
    """Seed torch's generators (initial weights, dropout) from the keys."""
    torch.manual_seed(int(np.random.SeedSequence(keys).generate_state(1)[0]))
