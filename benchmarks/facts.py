"""What every results file of a benchmark says of its run: command, date, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import date
from typing import Any

import torch


def run_facts(name: str) -> dict[str, Any]:
    """The facts of this process, the benchmark `name`'s, as plain values."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    cuda = torch.cuda.is_available()
    return {
        "command": " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
