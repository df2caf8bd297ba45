"""Images that are one image: joined into a group before any split, so that none straddles it.

Exact duplicates only: equal pixels once squared. Near-duplicates (re-saved, rotated, cropped) join
the same list of pairs when the leak audit finds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Pair = tuple[int, int]


def exact_duplicates(digests: Sequence[str]) -> list[Pair]:
    """Pairs (first row, later row) whose pixel digests are equal; an empty digest equals none."""
    first: dict[str, int] = {}
    pairs = []
    for row, digest in enumerate(digests):
        if digest and first.setdefault(digest, row) != row:
            pairs.append((first[digest], row))
    return pairs


def join_groups(keys: Iterable[Sequence[str]], pairs: Iterable[Pair] = ()) -> list[int]:
    """A group number a row: rows that share a non-empty value in any key column, or a pair, join.

    `keys` are columns (patient, lesion), each with one value a row; groups are numbered by first
    appearance. Joining is transitive: a duplicate across two patients makes the two one group.
    """
    columns = [list(column) for column in keys]
    parent = list(range(len(columns[0])))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    links = list(pairs)
    for column in columns:
        first: dict[str, int] = {}
        links += [(first.setdefault(v, row), row) for row, v in enumerate(column) if v]
    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(row), len(numbers)) for row in range(len(parent))]


def plain_number(identity: str) -> str:
    """12 for 12.0, as a table with blank cells has the number that another writes 12, and MRN:12
    for MRN:12.0 of a second column; any other identity as it is."""
    return identity[:-2] if re.fullmatch(r"(.+:)?\d+\.0", identity) else identity
