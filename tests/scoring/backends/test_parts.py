"""A batch's parts: every row once, whole parts while there is one for every thread."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from melanoma.scoring.backends.parts import split_rows

SMALL = st.integers(1, 9)


@given(count=st.integers(1, 70), most=SMALL, folds=SMALL, threads=st.integers(1, 40))
def test_every_fold_has_every_row_once_and_in_order(
    count: int, most: int, folds: int, threads: int
) -> None:
    parts = split_rows(count, most=most, folds=range(folds), threads=threads)
    rows = list(range(count))
    for fold in range(folds):
        assert [row for part in parts if part.fold == fold for row in rows[part.rows]] == rows
    assert max(len(rows[part.rows]) for part in parts) <= most
    assert min(len(rows[part.rows]) for part in parts) >= 1


def sizes(*, threads: int) -> Counter[int]:
    """Of a photograph's four views, by five members."""
    parts = split_rows(4, most=4, folds=range(5), threads=threads)
    return Counter(part.rows.stop - part.rows.start for part in parts)


def test_only_parts_that_would_leave_threads_waiting_are_split() -> None:
    assert sizes(threads=1) == {4: 5}
    assert sizes(threads=2) == {4: 4, 2: 2}
    assert sizes(threads=4) == {4: 4, 1: 4}
    assert sizes(threads=5) == {4: 5}
    assert sizes(threads=10) == {2: 10}
    # Three threads a fold: two of them have two rows each, and nobody waits longer for one.
    assert sizes(threads=16) == {2: 10}
