"""A command of the library in a process of its own, as a person types it."""

from __future__ import annotations

import subprocess
import sys


def run_door(verb: str, *arguments: str) -> None:
    """Say and run python -m melanoma.VERB. Raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", f"melanoma.{verb}", *arguments]
    print("$", " ".join(["python", *command[1:]]), file=sys.stderr, flush=True)
    subprocess.run(command, check=True)
