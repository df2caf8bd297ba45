"""The leak audit: what stands on both sides of a split, and would flatter every number after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from melanoma.data.duplicates.search import IDENTICAL, Duplicates, SharedImage
from melanoma.data.folds import TEST, FoldTable
from melanoma.data.groups import Pair, join_groups, plain_number
from melanoma.data.readers.table import LesionTable
from melanoma.errors import FoldError

_SHOWN = 3
_FOLDS, _PARTS = "in more than one fold", "in more than one part"


@dataclass(frozen=True)
class LeakAudit:
    """What stands on both sides, by kind; None where that is not known: `patients` and `lesions`
    where the table has none, `identical` and `near` where they were not looked for.

    Sides are folds, or the training images and an external set. `images` are names that both sets
    have (never within one fold file). `allowed`: training went on all the same, by --allow-leak.
    """

    patients: tuple[str, ...] | None = ()
    lesions: tuple[str, ...] | None = ()
    groups: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    identical: tuple[SharedImage, ...] | None = None
    near: tuple[SharedImage, ...] | None = None
    where: str = _FOLDS
    allowed: bool = False

    @property
    def leaks(self) -> bool:
        """Whether anything was found."""
        return bool(self.findings)

    @property
    def findings(self) -> tuple[str, ...]:
        """One sentence a kind of leak, with examples."""
        return tuple(_sentence(kind, shared, self.where) for kind, shared in self._kinds if shared)

    def lines(self, limit: int = 50) -> list[str]:
        """The findings, and under each what was found, up to `limit` of a kind."""
        listed = []
        for kind, shared in self._kinds:
            if shared:
                listed.append(_sentence(kind, shared, self.where))
            if len(shared) > _SHOWN:
                listed += [f"  {one}" for one in shared[:limit]]
            if len(shared) > limit:
                listed.append(f"  and {len(shared) - limit} more")
        return listed

    def lists(self, limit: int = 50, *, longer_than: int = _SHOWN) -> list[str]:
        """What `lines` lists under the findings, for those who read these elsewhere: the lists
        `longer_than` so many alone, each under its kind."""
        listed = []
        for kind, shared in self._kinds:
            if len(shared) > longer_than:
                listed.append(f"  {kind} {self.where}:")
                listed += [f"  {one}" for one in shared[:limit]]
            if len(shared) > limit:
                listed.append(f"  and {len(shared) - limit} more")
        return listed

    @property
    def _kinds(self) -> tuple[tuple[str, Sequence[object]], ...]:
        return (
            ("patients", self.patients or ()),
            ("lesions", self.lesions or ()),
            ("groups", self.groups),
            ("image names", self.images),
            ("pairs of identical images", self.identical or ()),
            ("pairs of near-duplicate images", self.near or ()),
        )

    @property
    def clean(self) -> str:
        """The sentence of an audit without a finding: what is nowhere twice, what is unknown."""
        seen = {"patient": self.patients, "lesion": self.lesions}
        known = [name for name, shared in seen.items() if shared is not None]
        known += [] if self.identical is None else ["photograph"]
        unknown = [f"{name}s: not known" for name, shared in seen.items() if shared is None]
        listed = " or ".join([", ".join(known[:-1]), known[-1]] if known[1:] else known)
        return "; ".join([*([f"no {listed} {self.where}"] if known else []), *unknown])

    def as_facts(self) -> dict[str, Any]:
        """Counts and findings for a report, as plain JSON."""
        return {
            "patients": None if self.patients is None else len(self.patients),
            "lesions": None if self.lesions is None else len(self.lesions),
            "groups": len(self.groups),
            "identical": None if self.identical is None else len(self.identical),
            "near_duplicates": None if self.near is None else len(self.near),
            "findings": list(self.findings),
            "allowed": self.allowed,
        }


def audit_folds(folds: FoldTable, duplicates: Duplicates | None = None) -> LeakAudit:
    """What stands in more than one fold or part. `duplicates` are rows of `folds.whole`."""
    return _audit(folds, duplicates, where=_PARTS if len(folds.test) else _FOLDS)


def audit_test(folds: FoldTable, duplicates: Duplicates | None = None) -> LeakAudit:
    """What stands in the test part and in any fold. `duplicates` are rows of `folds.whole`."""
    sides = folds.whole.assign(fold=(folds.whole["fold"] == TEST).astype(int))
    return _audit(FoldTable(sides), duplicates, where="in both training and test")


def _audit(folds: FoldTable, duplicates: Duplicates | None, *, where: str) -> LeakAudit:
    fold = folds.whole["fold"].tolist()
    patients, lesions = (_spread(folds.whole, column) for column in ("patient_id", "lesion_id"))
    groups = _spread(folds.whole, "group") or ()
    if duplicates is None:
        return LeakAudit(patients, lesions, groups, where=where)
    apart = Duplicates(
        tuple((a, b) for a, b in duplicates.identical if fold[a] != fold[b]),
        tuple(pair for pair in duplicates.near if fold[pair.first] != fold[pair.second]),
    )
    identical, near = _by_kind(apart.named(folds.whole["image_name"].tolist()))
    return LeakAudit(patients, lesions, groups, identical=identical, near=near, where=where)


def audit_external(
    training: pd.DataFrame, external: pd.DataFrame, shared: Iterable[SharedImage] | None = None
) -> LeakAudit:
    """What a training table and an external one both have.

    Both need image_name, patient_id and lesion_id; `shared` (None: not looked for) are photographs
    of theirs, training name first.
    """
    patients, lesions = (
        _common(training[column].map(plain_number), external[column].map(plain_number))
        for column in ("patient_id", "lesion_id")
    )
    images = _common(training["image_name"], external["image_name"])
    identical = near = None
    if shared is not None:
        ours, theirs = set(training["image_name"]), set(external["image_name"])
        identical, near = _by_kind(p for p in shared if p.first in ours and p.second in theirs)
    return LeakAudit(
        patients,
        lesions,
        images=images or (),
        identical=identical,
        near=near,
        where="in the training and the external set",
    )


def seen_rows(
    audit: LeakAudit, external: pd.DataFrame, pairs: Iterable[Pair] = ()
) -> dict[str, str]:
    """Why an image of the external table is no test, by its name, in the table's order.

    It has a training image's name, patient, lesion or photograph, or shows what such an image of
    the table does: its patient or lesion, or the same photograph again (`pairs` of its rows).
    """
    names = external["image_name"].tolist()
    columns = ("patient_id", "lesion_id")
    patients, lesions = (external[one].map(plain_number).tolist() for one in columns)
    shared = {pair.second: str(pair) for pair in (*(audit.identical or ()), *(audit.near or ()))}
    trained = (
        (names, {*audit.images}, "name"),
        (patients, {*(audit.patients or ())}, "patient"),
        (lesions, {*(audit.lesions or ())}, "lesion"),
    )
    why = {
        name: " and ".join(found)
        for row, name in enumerate(names)
        if (found := [kind for column, known, kind in trained if column[row] in known])
    }
    why |= {name: shared[name] for name in names if name in shared and name not in why}
    groups = join_groups([patients, lesions], pairs)
    gone = {group: name for name, group in zip(names, groups, strict=True) if name in why}
    return {
        name: why.get(name) or f"with {gone[group]}"
        for name, group in zip(names, groups, strict=True)
        if group in gone
    }


def as_far_as_known(audit: LeakAudit, tables: Iterable[pd.DataFrame]) -> LeakAudit:
    """The audit of a training set of several `tables`: where one of them names no patient (lesion),
    that none is shared is not known."""
    listed = list(tables)
    patients, lesions = (
        all((table[column] != "").any() for table in listed)
        for column in ("patient_id", "lesion_id")
    )
    return replace(
        audit,
        patients=audit.patients if patients else audit.patients or None,
        lesions=audit.lesions if lesions else audit.lesions or None,
    )


def with_identities(folds: FoldTable, table: LesionTable) -> FoldTable:
    """The fold table with the table's patient and lesion where the fold file names none.

    A fold file from elsewhere may know the image and its fold only.
    """
    known = table.frame.set_index("image_name")
    frame = folds.whole.copy()
    for column in ("patient_id", "lesion_id"):
        from_table = frame["image_name"].map(known[column]).fillna("")
        frame[column] = frame[column].where(frame[column] != "", from_table)
    return FoldTable(frame)


def require_no_leaks(audit: LeakAudit, *, allow: bool) -> LeakAudit:
    """The audit, stamped where it leaks and `allow` lets it. Raises FoldError otherwise."""
    if not audit.leaks:
        return audit
    if not allow:
        own = "with folds.holdout as a share, " if audit.where == _PARTS else ""
        raise FoldError(
            f"the fold file leaks: {'; '.join(audit.findings)}; rebuild it {own}with "
            "python -m melanoma.split, or pass --allow-leak and the report will say so"
        )
    return replace(audit, allowed=True)


def _spread(frame: pd.DataFrame, column: str) -> tuple[str, ...] | None:
    """The column's values in more than one fold, 12 and 12.0 being one; None where it has no value
    at all."""
    known = frame[frame[column] != ""]
    if known.empty:
        return None
    folds = known["fold"].groupby(known[column].map(plain_number)).nunique()
    return tuple(sorted(map(str, folds[folds > 1].index)))


def _common(ours: pd.Series, theirs: pd.Series) -> tuple[str, ...] | None:
    """What both have; None where one of them has nothing."""
    known = set(ours) - {""}, set(theirs) - {""}
    return tuple(sorted(known[0] & known[1])) if all(known) else None


def _by_kind(
    pairs: Iterable[SharedImage],
) -> tuple[tuple[SharedImage, ...], tuple[SharedImage, ...]]:
    """Identical images, and near-duplicates."""
    listed = list(pairs)
    same = tuple(pair for pair in listed if pair.relation == IDENTICAL)
    return same, tuple(pair for pair in listed if pair.relation != IDENTICAL)


def _sentence(kind: str, shared: Sequence[object], where: str) -> str:
    shown = ", ".join(map(str, shared[:_SHOWN]))
    more = ", ..." if len(shared) > _SHOWN else ""
    return f"{len(shared)} {kind} {where} ({shown}{more})"
