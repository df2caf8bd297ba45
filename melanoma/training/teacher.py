"""Soft targets of a teacher (loss.teacher): where they lie, whom they may teach, and their loss.

A folder of them has teacher.json and a file a fold, fold_N.npy: (rows of the array, C) float32,
what the teacher says of the images that train while fold N is held out, zeros elsewhere. The
members that said it never saw fold N (`own`), or some of them did (`all`): that leaks fold N.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from melanoma.errors import DataError, FoldError
from melanoma.recipe.recipe import Recipe
from melanoma.storage import read_text, sha256_of
from melanoma.training.fold_data import FoldData
from melanoma.training.function_types import LossFunction

Soft = npt.NDArray[np.float32]
Members = Literal["own", "all"]
TEACHER = "teacher.json"
_ALL = "all"
_LEAST = 1e-6  # of a probability, before its logarithm


@dataclass(frozen=True)
class Teacher:
    """teacher.json: who taught, with which members and views, on which folds and array.

    `seen` are, by fold, images that are in no fold and that those learned from who teach it: what
    their sources and starting weights had seen. `files` has the sha256 of each fold's file.
    """

    name: str
    classes: tuple[str, ...]
    folds_digest: str
    array_digest: str
    members: Members
    views: int
    seen: dict[str, tuple[str, ...]]
    files: dict[str, str]

    def seen_for(self, fold: int) -> tuple[str, ...]:
        """Those of one fold's teachers."""
        return self.seen.get(str(fold), self.seen.get(_ALL, ()))

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def fold_name(fold: int) -> str:
    """The file of a fold's soft targets."""
    return f"fold_{fold}.npy"


def read_teacher(folder: Path) -> Teacher:
    """What lies in the folder. Raises DataError where there is nothing, or it cannot be read."""
    path = folder / TEACHER
    if not path.is_file():
        raise DataError(
            f"loss.teacher: no soft targets in {folder}; python -m melanoma.distill makes them"
        )
    try:
        values = json.loads(read_text(path))
        seen = values["seen"]
        if isinstance(seen, list):  # of an earlier version, which told the folds not apart
            seen = {_ALL: seen}
        values["seen"] = {fold: tuple(names) for fold, names in seen.items()}
        values["classes"] = tuple(values["classes"])
        return Teacher(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def open_teacher(recipe: Recipe, data: FoldData) -> Teacher | None:
    """The teacher of the fold; None where the recipe has none.

    Raises DataError for soft targets of other classes, folds or images, FoldError for a teacher
    that learned from what the fold holds out, unless data.allow_leak.
    """
    if recipe.loss.teacher is None:
        return None
    folder = Path(recipe.loss.teacher.folder)
    teacher = read_teacher(folder)
    ours = {
        "classes": tuple(data.classes),
        "folds_digest": data.folds.digest,
        "array_digest": data.array.digest,
    }
    other = [key for key, value in ours.items() if getattr(teacher, key) != value]
    if other:
        raise DataError(
            f"loss.teacher: {folder} is of another fold file, array or classes "
            f"({', '.join(other)}); make it anew with python -m melanoma.distill"
        )
    if teacher_findings(teacher, data.fold) and not data.allow_leak:
        raise FoldError(
            f"{folder} leaks: {teacher_findings(teacher, data.fold)[0]}; take --members own, "
            "or pass --allow-leak and the report will say so"
        )
    return teacher


def teacher_findings(teacher: Teacher | None, fold: int) -> tuple[str, ...]:
    """The leak as a report says it; nothing where there is none."""
    if teacher is None or teacher.members == "own":
        return ()
    return (f"teachers of fold {fold} learned from what it holds out: only other sets test it",)


def teacher_facts(recipe: Recipe, data: FoldData) -> str | None:
    """The teacher's name and the first digits of the sha256 of what it said of the fold."""
    teacher = open_teacher(recipe, data)
    if teacher is None:
        return None
    digest = teacher.files.get(fold_name(data.fold), "")[:16]
    return f"{teacher.name}, {teacher.members} members, {teacher.views} views, sha256 {digest}"


def teacher_targets(recipe: Recipe, data: FoldData, length: int) -> Soft:
    """(length, C) the teacher's probabilities by row; zeros where it says nothing, as in sources.

    Raises DataError where the file is another than was written, lacks a training image, or speaks
    of one that is held out.
    """
    teacher = open_teacher(recipe, data)
    assert teacher is not None and recipe.loss.teacher is not None
    path = Path(recipe.loss.teacher.folder) / fold_name(data.fold)
    if not path.is_file() or sha256_of(path) != teacher.files.get(path.name):
        raise DataError(
            f"{path} is absent or damaged; make it anew with python -m melanoma.distill"
        )
    soft: Soft = np.load(path)
    known = np.isclose(soft.sum(axis=1), 1, atol=1e-3)
    if not known[data.training].all() or soft[data.validation].any():
        raise DataError(f"{path} does not speak of what fold {data.fold} trains on, and it alone")
    targets = np.zeros((length, soft.shape[1]), np.float32)
    targets[: len(soft)] = soft
    return targets


class TaughtLoss:
    """(1 - w) times a loss of the labels, and w T^2 times the Kullback-Leibler divergence of the
    network from its teacher, both at temperature T (Hinton et al. 2015, arXiv:1503.02531).

    What weights and sampler add to the logits (`shift`, a number a class) is taken out first, for
    the teacher's probabilities know nothing of it. Rows without a teacher have the labels' part
    alone.
    """

    def __init__(
        self,
        loss: LossFunction,
        shift: Sequence[float],
        weight: float,
        temperature: float,
        *,
        device: torch.device,
    ) -> None:
        self.loss, self.weight, self.temperature = loss, weight, temperature
        self.shift = torch.tensor(shift, dtype=torch.float32, device=device)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """`targets` are (B, T + C): the labels' own, and the teacher's probabilities."""
        classes = len(self.shift)
        own, soft = targets[:, :-classes], targets[:, -classes:]
        labels = self.loss(logits, own[:, 0] if own.shape[1] == 1 else own)
        x = logits.float()
        if x.shape[1] == 1:
            x = torch.cat([torch.zeros_like(x), x], dim=1)
        ours = ((x - self.shift) / self.temperature).log_softmax(dim=1)
        theirs = (soft.clamp(min=_LEAST).log() / self.temperature).log_softmax(dim=1)
        apart = (theirs.exp() * (theirs - ours)).sum(dim=1) * (soft.sum(dim=1) > 0)
        return (1 - self.weight) * labels + self.weight * self.temperature**2 * apart.mean()
