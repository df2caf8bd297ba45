"""Where the model lies that comes with the clone: the one place that names it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Of its recipe in configs/, its bundle in weights/, and its run in results/.
NAME = "dermoscopy_mobilenet"
WEIGHTS = ROOT / "weights" / NAME
RESULTS = ROOT / "results" / NAME
OOF = RESULTS / "oof.csv.gz"
