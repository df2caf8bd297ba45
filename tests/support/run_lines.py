"""What a fold recorded of its epochs."""

from __future__ import annotations

import json
from typing import Any


def run_lines(run: Any) -> list[Any]:
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
