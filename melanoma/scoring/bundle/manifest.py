"""What a bundle's manifest must hold before any of its files is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melanoma.errors import WeightsError
from melanoma.storage import sha256_of

GOLDEN = "golden.json"  # what melanoma.scoring.bundle.golden makes


@dataclass(frozen=True)
class GoldenScore:
    """The sha256 of the golden image's pixels, and each fold's logits of it."""

    image: str
    logits: Mapping[int, Sequence[float]]

    def to_json(self) -> dict[str, Any]:
        """As golden.json has it."""
        return {"image": self.image, "logits": {str(f): row for f, row in self.logits.items()}}


def read_golden(path: Path) -> GoldenScore:
    """What `path`, a golden.json, holds. Raises WeightsError where that is no golden score."""
    try:
        stored = json.loads(path.read_text())
        rows = stored["logits"].items()
        return GoldenScore(stored["image"], {int(fold): list(row) for fold, row in rows})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def require_members(path: Path, manifest: dict[str, Any]) -> None:
    """Raise WeightsError unless `manifest`, read from `path`, states a digest of every file that is
    read, and each fold once, with weights of its own."""
    members, digests = manifest["members"], manifest["sha256"]
    if not members:
        raise WeightsError(f"{path} has no members")
    for file in ("recipe.yaml", "report.json", *(member["file"] for member in members)):
        if file not in digests:
            raise WeightsError(f"{path} states no sha256 of {file}")
    if GOLDEN not in digests:
        raise WeightsError(
            f"{path} has no golden score, by which a service knows that it scores as was "
            "evaluated; seal the bundle again with python -m melanoma.evaluate"
        )
    folds = [member["fold"] for member in members]
    if any(type(fold) is not int or fold < 0 for fold in folds):
        raise WeightsError(f"{path} is damaged: folds are whole numbers from 0 on, not {folds}")
    for fold, count in Counter(folds).items():
        if count > 1:
            raise WeightsError(f"{path}: fold {fold} stands {count} times among the members")
    # By their digests: a file may have two names, but two folds never come to the same weights.
    files: dict[str, int] = {}
    for fold, member in zip(folds, members, strict=True):
        other = files.setdefault(digests[member["file"]], fold)
        if other != fold:
            raise WeightsError(f"{path}: folds {other} and {fold} have the same weights")


def verify_digests(path: Path, expected: dict[str, str]) -> None:
    """Raise WeightsError naming the first file beside `path` that is not as `expected`."""
    for name, digest in expected.items():
        file = path.parent / name
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise WeightsError(f"{path} names a file outside its folder")
        if not file.is_file():
            raise WeightsError(f"{file} is missing; it belongs to the bundle")
        sha256 = sha256_of(file)
        if sha256 != digest:
            raise WeightsError(f"{file}: sha256 mismatch (manifest {digest}, file {sha256})")
