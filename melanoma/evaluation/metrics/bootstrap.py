"""Intervals by cluster bootstrap: patients are drawn with replacement, with all their images.

Images of one patient are alike, so drawing images would make the interval too narrow (on SIIM's
table the patient-bootstrap standard error of the AUROC is about 1.3 times the image-bootstrap one).
A resample is a weight an image. A metric that needs no more than weighted sums over the images
(every one in metrics.py) has them summed within patients once, and each resample is then a sparse
product over patients: nothing is gathered, sorted or ranked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

import numpy as np
from scipy import sparse

from melanoma.evaluation.report.schema_parts import Measured
from melanoma.types import Flags, Floats, Integers

# Weights (resamples, images) -> a value a resample.
Statistic = Callable[[Floats], Floats]
_BLOCK = 4_000_000  # weights held at a time
# Resamples a product: the sums of one block stay in the cache, and of few images there are more.
_AT_ONCE, _CACHED = 32, 300_000
_FEW = 64  # sums of a statistic that others may need as well; a ranking's thousands are its own


@dataclass(frozen=True, eq=False)
class SumStatistic:
    """A Statistic that weighted sums over the images decide.

    `columns` is sparse, (sums, images); `combine` turns (sums, resamples) into (resamples,).
    `recentered` says that resampling itself raises the value, so that the interval is moved back
    by the mean rise (see expected_calibration_error). Of a share, `share_of` says which images it
    is a share of: where all or none are, resamples all say the same, and the interval is exact.
    """

    columns: sparse.csr_array
    combine: Callable[[Floats], Floats]
    recentered: bool = False
    share_of: Flags | None = None

    def __call__(self, weights: Floats) -> Floats:
        """(resamples, images) -> (resamples,)."""
        return self.combine(self.columns @ np.ascontiguousarray(weights.T))


class Interval(NamedTuple):
    """A value and its 95 % percentile interval.

    `undefined` counts the resamples that the statistic had no value in, which are left out.
    """

    value: float
    low: float
    high: float
    undefined: int = 0

    def measured(self) -> Measured:
        """Value and ends as report.json has them: None where one is undefined, not NaN."""
        numbers = (number if isfinite(number) else None for number in self[:3])
        return Measured(**dict(zip(("value", "low", "high"), numbers, strict=True)))


class Resampled(NamedTuple):
    """A statistic on all rows and in every resample, (resamples,), NaN where it is undefined."""

    value: float
    values: Floats


def bootstrap_intervals(
    statistics: Mapping[str, Statistic],
    groups: Integers,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Interval]:
    """Every statistic on all rows, with its percentiles over the same resamples of groups.

    `groups` numbers each row's cluster from 0. Resamples in which a statistic is undefined (one
    class only) are left out of its interval and counted.
    """
    resampled = bootstrap_values(statistics, groups, resamples=resamples, rng=rng)
    return {
        name: _exact_interval(drawn.value, statistics[name], groups)
        or percentile_interval(drawn, recentered=is_recentered(statistics[name]))
        for name, drawn in resampled.items()
    }


def _exact_interval(value: float, statistic: Statistic, groups: Integers) -> Interval | None:
    """Clopper & Pearson's (1934) where a share is 0 or 1; None elsewhere.

    Groups are counted, not images: those of one patient are alike. 14 of 14 is 0.77 to 1.
    """
    of = statistic.share_of if isinstance(statistic, SumStatistic) else None
    if of is None or value not in (0.0, 1.0):
        return None
    reach = 0.025 ** (1 / len(np.unique(groups[of])))
    return Interval(value, reach, 1.0) if value == 1.0 else Interval(value, 0.0, 1 - reach)


def bootstrap_values(
    statistics: Mapping[str, Statistic],
    groups: Integers,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Resampled]:
    """Every statistic on all rows and in each resample, paired: resample i is one draw for all."""
    count = int(groups.max()) + 1
    ones = np.ones((1, len(groups)))
    shared, per_draw = _per_draw(statistics, groups)
    values = {name: np.empty(resamples) for name in statistics}
    weights = max(count, len(groups))
    block = max(1, min(_BLOCK // weights, max(_AT_ONCE, _CACHED // weights)))
    done = 0
    for times in _draws(count, resamples=resamples, block=block, rng=rng):
        drawn = np.ascontiguousarray(times.T, dtype=np.float64)
        sums = shared @ drawn
        for name, evaluate in per_draw.items():
            values[name][done : done + len(times)] = evaluate(drawn, sums)
        done += len(times)
    return {
        name: Resampled(float(statistic(ones)[0]), values[name])
        for name, statistic in statistics.items()
    }


def _draws(
    count: int, *, resamples: int, block: int, rng: np.random.Generator
) -> Iterator[Integers]:
    """Blocks (b, count) of how often each group was drawn; the same whatever the block."""
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, count, size=(size, count))
        offsets = np.arange(size)[:, None] * count
        times = np.bincount((drawn + offsets).ravel(), minlength=size * count)
        yield times.reshape(size, count)


def _per_draw(
    statistics: Mapping[str, Statistic], groups: Integers
) -> tuple[sparse.csr_array, dict[str, Callable[[Floats, Floats], Floats]]]:
    """(sums, groups) that statistics share, and each one's (b,) values of a block of resamples.

    These are of how often each group was drawn, (groups, b), and the shared sums of it, (sums, b).
    """
    count, images = int(groups.max()) + 1, len(groups)
    places = (np.arange(images), groups)
    members = sparse.csr_array((np.ones(images), places), shape=(images, count))
    few = {
        name: statistic.columns
        for name, statistic in statistics.items()
        if isinstance(statistic, SumStatistic) and statistic.columns.shape[0] <= _FEW
    }
    shared, rows = _distinct_rows(few, images)

    def evaluator(name: str, statistic: Statistic) -> Callable[[Floats, Floats], Floats]:
        if not isinstance(statistic, SumStatistic):
            return lambda times, _: statistic(np.ascontiguousarray(times[groups].T))
        combine = statistic.combine
        if name in rows:
            return lambda _, sums: combine(sums[rows[name]])
        per_group = sparse.csr_array(statistic.columns @ members)
        return lambda times, _: combine(per_group @ times)

    return sparse.csr_array(shared @ members), {
        name: evaluator(name, statistic) for name, statistic in statistics.items()
    }


def _distinct_rows(
    tables: Mapping[str, sparse.csr_array], images: int
) -> tuple[sparse.csr_array, dict[str, Integers]]:
    """The rows of all tables (.., images), each once, and which of them are each table's.

    Half of what a report sums is the number of images, of melanomas or of the others once more.
    """
    stacked = sparse.csr_array(sparse.vstack([sparse.csr_array((0, images)), *tables.values()]))
    stacked.sort_indices()
    known: dict[tuple[bytes, bytes], int] = {}
    row = np.empty(stacked.shape[0], np.int64)
    for number, (a, b) in enumerate(pairwise(stacked.indptr.tolist())):
        content = (stacked.indices[a:b].tobytes(), stacked.data[a:b].tobytes())
        row[number] = known.setdefault(content, len(known))
    first = np.unique(row, return_index=True)[1]
    cuts = pairwise(np.cumsum([0, *(table.shape[0] for table in tables.values())]))
    return stacked[first], {name: row[a:b] for name, (a, b) in zip(tables, cuts, strict=True)}


def is_recentered(statistic: Statistic) -> bool:
    """Whether resampling itself raises the statistic."""
    return isinstance(statistic, SumStatistic) and statistic.recentered


def percentile_interval(drawn: Resampled, *, recentered: bool = False) -> Interval:
    """The value with the 2.5 and 97.5 percentiles of the resamples that have one."""
    values = drawn.values[np.isfinite(drawn.values)]
    undefined = len(drawn.values) - len(values)
    if not len(values):
        return Interval(drawn.value, float("nan"), float("nan"), undefined)
    low, high = np.percentile(values, [2.5, 97.5])
    if recentered:
        rise = values.mean() - drawn.value
        low, high = max(0.0, low - rise), max(0.0, high - rise)
    return Interval(drawn.value, float(low), float(high), undefined)
