"""What every results file of a benchmark says of its run: command, date, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import date
from typing import Any

import torch

# What decides how fast a processor multiplies.
_INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")


def run_facts(name: str) -> dict[str, Any]:
    """The facts of this process, the benchmark `name`'s, as plain values."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    cuda, able = torch.cuda.is_available(), torch.cpu.get_capabilities()
    return {
        "command": " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "instructions": [name for name in _INSTRUCTIONS if able.get(name, False)],
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
