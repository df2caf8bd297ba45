"""A scorer in predict's place whose score says which bytes it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma.errors import ServiceError
from melanoma.evaluation.disclaimer import DISCLAIMER


def score_of(data: bytes) -> float:
    return int(hashlib.sha256(data).hexdigest()[:8], 16) / 2**32


class BytesScorer:
    """Scores by the bytes, and fails after `healthy` photographs, as when the process is killed."""

    name, views, melanoma = "stub", 1, ("melanoma",)
    classes = ("benign", "melanoma")
    threshold: float | None = None
    prevalence: float | None = None
    size: int | None = None
    engine = "stub"
    batches_at_once = 1
    elsewhere = ()

    def __init__(self, healthy: int | None = None, digest: str = "d" * 64) -> None:
        self.healthy, self.digest = healthy, digest
        self.asked: list[bytes] = []
        self.before: Callable[[], Any] = lambda: None

    def prepare(self, data: bytes) -> bytes:
        return data

    def answer(self, photographs: Sequence[bytes]) -> list[Mapping[str, Any] | str]:
        self.before()
        answers: list[Mapping[str, Any] | str] = []
        for data in photographs:
            self.asked.append(data)
            answers.append(self._one(data))
        if self.healthy is not None and len(self.asked) > self.healthy:
            raise ServiceError("the scorer has died")
        return answers

    def _one(self, data: bytes) -> Mapping[str, Any] | str:
        if data == b"bad":
            return "corrupt_image: no photograph"
        score = score_of(data)
        return {
            "melanoma_probability": score,
            "flagged": score >= 0.5,
            "threshold": {"value": 0.5, "at": "sensitivity 0.95"},
            "prediction": "melanoma" if score >= 0.5 else "benign",
            "probability": max(score, 1 - score),
            "by_class": {"benign": 1 - score, "melanoma": score},
            "by_fold": [score],
            "calibrated": True,
            "prevalence": 0.5,
            "disclaimer": DISCLAIMER,
            "warnings": [],
        }


def write_photographs(folder: Path, *contents: bytes) -> Path:
    """FOLDER/00.jpg, 01.jpg ...: a photograph is whatever its bytes are."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(contents):
        (folder / f"{number:02}.jpg").write_bytes(data)
    return folder


def require_true_scores(table: Path, folder: Path) -> pd.DataFrame:
    """The table, in which every file has the score of its own bytes."""
    rows = pd.read_csv(table, dtype={"image_name": str})
    files = sorted(folder.glob("*.jpg"))
    assert rows["image_name"].tolist() == [file.stem for file in files]
    assert rows["melanoma_probability"].tolist() == [score_of(f.read_bytes()) for f in files]
    return rows
