"""What an exported folder's own script says, where this library cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Imports of ours are no longer to be had: what runs after it knows nothing of this library.
APART = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("melanoma", "api", "torch"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_apart(script: Path, *files: Path) -> list[Any]:
    """What the folder's own script prints, where neither melanoma nor torch can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", APART, str(script), *map(str, files)],
        capture_output=True,
        text=True,
        cwd=script.parent,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
