"""Where the model lies that comes with the clone: the one place that names it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
# Of its recipe in configs/, its bundle in weights/, and its run in results/.
NAME = "dermoscopy_mobilenet"
WEIGHTS = ROOT / "weights" / NAME
RESULTS = ROOT / "results" / NAME
OOF = RESULTS / "oof.csv.gz"


def fold_of_source(name: str) -> dict[str, int]:
    """The fold that held out each image of a source that trained as well (data.sources), by name.
    Read beside its scores, WEIGHTS/sources/NAME.csv of the run."""
    table = pd.read_csv(RESULTS / "sources" / f"{name}.csv.gz", usecols=["image_name", "fold"])
    return dict(zip(table["image_name"], table["fold"].tolist(), strict=True))
