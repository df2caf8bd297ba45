"""The leak audit: what stands on both sides of a split, and would flatter every number after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from melanoma.data.duplicate_search import Duplicates
from melanoma.data.folds import FoldTable
from melanoma.data.near_duplicates import NearPair
from melanoma.errors import FoldError

_SHOWN = 3


class SharedImage(NamedTuple):
    """One photograph under two names; similarity 1 where it is pixel for pixel the same."""

    first: str
    second: str
    similarity: float
    relation: str

    def __str__(self) -> str:
        if self.relation == "identical":
            return f"{self.first} = {self.second}"
        return f"{self.first} ~ {self.second}: {self.relation}, {self.similarity:.2f}"


@dataclass(frozen=True)
class LeakAudit:
    """What stands on both sides, by kind; `identical` and `near` are None where not looked for.

    Sides are folds, or the training images and an external set. `images` are names that both sets
    have (never within one fold file). `allowed`: training went on all the same, by --allow-leak.
    """

    patients: tuple[str, ...] = ()
    lesions: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    identical: tuple[SharedImage, ...] | None = None
    near: tuple[SharedImage, ...] | None = None
    where: str = "in more than one fold"
    allowed: bool = False

    @property
    def leaks(self) -> bool:
        """Whether anything was found."""
        return bool(self.findings)

    @property
    def findings(self) -> tuple[str, ...]:
        """One sentence a kind of leak, with examples."""
        kinds: tuple[tuple[str, Sequence[object]], ...] = (
            ("patients", self.patients),
            ("lesions", self.lesions),
            ("groups", self.groups),
            ("image names", self.images),
            ("pairs of identical images", self.identical or ()),
            ("pairs of near-duplicate images", self.near or ()),
        )
        return tuple(_sentence(kind, found, self.where) for kind, found in kinds if found)

    def as_facts(self) -> dict[str, Any]:
        """Counts and findings for a report, as plain JSON."""
        return {
            "patients": len(self.patients),
            "lesions": len(self.lesions),
            "groups": len(self.groups),
            "identical": None if self.identical is None else len(self.identical),
            "near_duplicates": None if self.near is None else len(self.near),
            "findings": list(self.findings),
            "allowed": self.allowed,
        }


def audit_folds(folds: FoldTable, duplicates: Duplicates | None = None) -> LeakAudit:
    """What stands in more than one fold. `duplicates` are rows of the fold table."""
    names, fold = folds.frame["image_name"].tolist(), folds.frame["fold"].tolist()
    patients, lesions, groups = (
        _spread(folds.frame, column) for column in ("patient_id", "lesion_id", "group")
    )
    if duplicates is None:
        return LeakAudit(patients, lesions, groups)
    apart = [(a, b) for a, b in duplicates.identical if fold[a] != fold[b]]
    near = [pair for pair in duplicates.near if fold[pair.first] != fold[pair.second]]
    return LeakAudit(
        patients,
        lesions,
        groups,
        identical=tuple(SharedImage(names[a], names[b], 1.0, "identical") for a, b in apart),
        near=_named(near, names, names),
    )


def require_no_leaks(audit: LeakAudit, *, allow: bool) -> LeakAudit:
    """The audit, stamped where it leaks and `allow` lets it. Raises FoldError otherwise."""
    if not audit.leaks:
        return audit
    if not allow:
        raise FoldError(
            f"the fold file leaks: {'; '.join(audit.findings)}; rebuild it with "
            "python -m melanoma.split, or pass --allow-leak and the report will say so"
        )
    return replace(audit, allowed=True)


def _spread(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    known = frame[frame[column] != ""]
    folds = known.groupby(column)["fold"].nunique()
    return tuple(sorted(map(str, folds[folds > 1].index)))


def _named(
    pairs: Iterable[NearPair], first: Sequence[str], second: Sequence[str]
) -> tuple[SharedImage, ...]:
    return tuple(SharedImage(first[a], second[b], s, relation) for a, b, s, relation in pairs)


def _sentence(kind: str, found: Sequence[object], where: str) -> str:
    shown = ", ".join(map(str, found[:_SHOWN]))
    more = ", ..." if len(found) > _SHOWN else ""
    return f"{len(found)} {kind} {where} ({shown}{more})"
