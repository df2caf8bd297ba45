"""What each row of a fold's batches is to be: a class, what a source says, a second target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from melanoma.data.sources import SourceTable
from melanoma.recipe.recipe import Recipe
from melanoma.training.auxiliary import auxiliary_targets
from melanoma.training.fold_data import FoldData
from melanoma.training.teacher import teacher_targets

Targets = npt.NDArray[np.int64 | np.float32]


def batch_targets(recipe: Recipe, data: FoldData) -> Targets:
    """Targets by row of `row_source`: (N,) class numbers; with sources (N, C + 3), the classes that
    it may be of (0 or 1), the soft target, its weight and the label's shift (see mixed_targets).
    With loss.teacher C columns more (see teacher_targets), with loss.auxiliary one more behind."""
    targets: Targets = _with_sources(data) if data.sources else data.targets
    if recipe.loss.teacher is not None:
        soft = teacher_targets(recipe, data, len(targets))
        targets = np.column_stack([targets.astype(np.float32), soft])
    if recipe.loss.auxiliary is None:
        return targets
    more = auxiliary_targets(recipe, data, len(targets))
    return np.column_stack([targets.astype(np.float32), more])


def _with_sources(data: FoldData) -> npt.NDArray[np.float32]:
    classes = len(data.classes)
    own = np.zeros((len(data.targets), classes + 3), np.float32)
    known = np.flatnonzero(data.targets >= 0)
    own[known, data.targets[known]] = 1.0
    return np.concatenate([own, *(_source_targets(s.table, data.classes) for s in data.sources)])


def _source_targets(table: SourceTable, classes: Sequence[str]) -> npt.NDArray[np.float32]:
    targets = np.zeros((len(table), len(classes) + 3), np.float32)
    targets[:, : len(classes)], targets[:, -1] = table.possible(classes), table.source.label_shift
    rules, soft = table.source.soft_target, table.soft
    if rules is not None:
        taught = np.isfinite(soft)
        targets[taught, -3], targets[taught, -2] = soft[taught], rules.weight
    return targets
