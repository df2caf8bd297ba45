"""A bundle's novelty score as a file of plain numbers, under the manifest's sha256."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from melanoma.errors import WeightsError
from melanoma.scoring.novelty import Gaussian, Novelty, Whitened
from melanoma.storage import read_file, write_bytes

NOVELTY = "novelty.safetensors"


def save_novelty(novelty: Novelty, path: Path) -> None:
    """Write it; the directions in half precision, as they were rounded when fitted."""
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "folds": np.array(novelty.folds, np.int64),
        "means": novelty.means,
        "spreads": novelty.spreads,
        "threshold": np.array([novelty.threshold]),
    }
    for number, group in enumerate(novelty.plain):
        arrays[f"plain.{number}.center"] = group.center
        arrays[f"plain.{number}.factor"] = group.factor
    for fold, one in zip(novelty.folds, novelty.gaussians, strict=True):
        arrays[f"{fold}.center"] = one.center.astype(np.float32)
        arrays[f"{fold}.directions"] = one.directions.astype(np.float16)
        arrays[f"{fold}.variances"] = one.variances
        arrays[f"{fold}.rest"] = np.array([one.rest])
    write_bytes(path, save({name: np.ascontiguousarray(a) for name, a in arrays.items()}))


def load_novelty(path: Path, folds: Sequence[int]) -> Novelty:
    """What save_novelty wrote. Raises WeightsError for what is none, or is of other members."""
    try:
        arrays = load(read_file(path))
        numbers = tuple(int(fold) for fold in arrays["folds"])
        novelty = Novelty(
            numbers,
            tuple(_gaussian(arrays, fold) for fold in numbers),
            _plain(arrays),
            arrays["means"],
            arrays["spreads"],
            float(arrays["threshold"][0]),
        )
    except (SafetensorError, KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"{path} holds no novelty score ({error})") from error
    if set(numbers) != set(folds):
        raise WeightsError(f"{path} is of the folds {numbers}, the bundle has {tuple(folds)}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise WeightsError(f"{path} holds numbers that are not finite")
    return novelty


def _plain(arrays: dict[str, np.ndarray[Any, Any]]) -> tuple[Whitened, ...]:
    if "plain.center" in arrays:  # as it was with one group, whose columns are still the first
        return (Whitened(arrays["plain.center"], arrays["plain.factor"]),)
    count = sum(name.startswith("plain.") for name in arrays) // 2
    stems = [f"plain.{number}" for number in range(count)]
    return tuple(Whitened(arrays[f"{stem}.center"], arrays[f"{stem}.factor"]) for stem in stems)


def _gaussian(arrays: dict[str, np.ndarray[Any, Any]], fold: int) -> Gaussian:
    return Gaussian(
        arrays[f"{fold}.center"].astype(np.float64),
        arrays[f"{fold}.directions"].astype(np.float64),
        arrays[f"{fold}.variances"],
        float(arrays[f"{fold}.rest"][0]),
    )
