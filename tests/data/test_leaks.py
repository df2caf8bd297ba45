"""The audit's record: every kind of leak across folds and between two sets, in words and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from melanoma.data.duplicates.near import NearPair
from melanoma.data.duplicates.search import Duplicates, SharedImage
from melanoma.data.folds import FoldTable
from melanoma.data.leaks import (
    LeakAudit,
    audit_external,
    audit_folds,
    require_no_leaks,
    seen_rows,
    with_identities,
)
from melanoma.data.readers.table import LesionTable
from melanoma.errors import FoldError
from melanoma.evaluation.report.schema_parts import LeakAudit as Stated


def table(**columns: list[Any]) -> FoldTable:
    count = len(columns["fold"])
    names = [f"i{row}" for row in range(count)]
    whole = {"image_name": names, "patient_id": [""] * count, "lesion_id": [""] * count}
    return FoldTable(pd.DataFrame({**whole, "group": names, **columns}))


PAIRS = Duplicates(
    ((0, 1), (2, 3)), (NearPair(1, 2, 0.93, "rotated 90"), NearPair(4, 5, 0.85, "re-saved"))
)


def test_only_what_stands_in_two_folds_leaks() -> None:
    folds = table(
        fold=[0, 0, 1, 1, 2, 0],
        patient_id=["p", "p", "q", "", "q", ""],
        lesion_id=["", "", "l", "l", "m", "m"],
        group=["g", "h", "k", "g", "n", "o"],
    )
    audit = audit_folds(folds, PAIRS)
    assert audit.patients == ("q",)
    assert audit.lesions == ("m",)
    assert audit.groups == ("g",)
    assert audit.identical == ()
    assert audit.near == (
        SharedImage("i1", "i2", 0.93, "rotated 90"),
        SharedImage("i4", "i5", 0.85, "re-saved"),
    )
    assert audit.findings == (
        "1 patients in more than one fold (q)",
        "1 lesions in more than one fold (m)",
        "1 groups in more than one fold (g)",
        "2 pairs of near-duplicate images in more than one fold "
        "(i1 ~ i2: rotated 90, 0.93, i4 ~ i5: re-saved, 0.85)",
    )
    apart = audit_folds(table(fold=[0, 1, 1, 0, 1, 1]), PAIRS)
    assert [str(pair) for pair in apart.identical or ()] == ["i0 = i1", "i2 = i3"]
    assert apart.near == ()


def test_one_fold_and_unknown_patients_do_not_leak() -> None:
    audit = audit_folds(table(fold=[0, 0, 0, 0, 1, 1]), PAIRS)
    assert not audit.leaks
    assert audit.lines() == []
    assert require_no_leaks(audit, allow=False) is audit


def test_a_leak_is_refused_or_stamped() -> None:
    audit = audit_folds(table(fold=[0, 1], patient_id=["p", "p"]), Duplicates((), ()))
    with pytest.raises(FoldError, match=r"leaks: 1 patients .*--allow-leak"):
        require_no_leaks(audit, allow=False)
    stamped = require_no_leaks(audit, allow=True)
    assert (audit.allowed, stamped.allowed) == (False, True)
    assert stamped.findings == audit.findings


@pytest.mark.parametrize("duplicates", [None, PAIRS])
def test_the_facts_are_what_the_report_takes(duplicates: Duplicates | None) -> None:
    folds = table(fold=[0, 1, 0, 1, 0, 1], patient_id=list("ppqqrr"))
    audit = require_no_leaks(audit_folds(folds, duplicates), allow=True)
    facts = Stated.model_validate(audit.as_facts() | {"findings": audit.findings})
    assert (facts.patients, facts.lesions, facts.groups, facts.allowed) == (3, None, 0, True)
    # What was not looked for is null, not none.
    found = (None, None) if duplicates is None else (2, 2)
    assert (facts.identical, facts.near_duplicates) == found


def test_a_long_list_is_given_whole_up_to_a_limit() -> None:
    patients = [f"p{row:03d}" for row in range(60)]
    audit = audit_folds(table(fold=[0] * 60 + [1] * 60, patient_id=patients * 2))
    (sentence,) = audit.findings
    assert sentence == "60 patients in more than one fold (p000, p001, p002, ...)"
    assert audit.lines() == [
        sentence,
        *(f"  {patient}" for patient in patients[:50]),
        "  and 10 more",
    ]


def test_two_sets_share_names_patients_lesions_and_photographs() -> None:
    ours = pd.DataFrame(
        {"image_name": ["a", "b", "c"], "patient_id": ["p", "q", ""], "lesion_id": ["l", "", ""]}
    )
    theirs = pd.DataFrame(
        {"image_name": ["c", "d", "e"], "patient_id": ["", "q", "r"], "lesion_id": ["l", "", "m"]}
    )
    shared = [
        SharedImage("a", "d", 1.0, "identical"),
        SharedImage("b", "e", 0.9, "mirrored"),
        SharedImage("gone", "e", 0.9, "mirrored"),
    ]
    audit = audit_external(ours, theirs, shared)
    assert (audit.patients, audit.lesions, audit.images) == (("q",), ("l",), ("c",))
    assert (audit.identical, audit.near) == ((shared[0],), (shared[1],))
    assert audit.findings[2] == "1 image names in the training and the external set (c)"
    assert not audit_external(ours, theirs.iloc[:0], ()).leaks
    assert audit_external(ours, theirs).near is None
    one, other = (pd.DataFrame({"image_name": [name]}) for name in ("a", "b"))
    same = {"patient_id": "12", "lesion_id": "7.0"}, {"patient_id": "12.0", "lesion_id": "7"}
    found = audit_external(one.assign(**same[0]), other.assign(**same[1]))
    assert (found.patients, found.lesions) == (("12",), ("7",))


def test_a_fold_file_that_names_no_patient_takes_the_tables() -> None:
    folds = table(fold=[0, 1, 0], lesion_id=["", "own", ""])
    frame = pd.DataFrame(
        {
            "image_name": ["i2", "i1", "i0", "other"],
            "patient_id": ["r", "q", "r", "s"],
            "lesion_id": ["l2", "l1", "", ""],
        }
    )
    known = with_identities(folds, LesionTable(frame, Path()))
    assert known.frame["patient_id"].tolist() == ["r", "q", "r"]
    assert known.frame["lesion_id"].tolist() == ["", "own", "l2"]
    assert folds.frame["patient_id"].tolist() == ["", "", ""]


def test_an_empty_audit_says_that_nothing_was_looked_for() -> None:
    assert LeakAudit().as_facts()["near_duplicates"] is None


def test_what_was_trained_on_is_named_with_all_that_shows_its_patient() -> None:
    training = table(
        fold=[0, 0, 1, 1], patient_id=["12", "", "r", "s"], lesion_id=["", "l", "", ""]
    ).frame
    rows = [
        ("new", "12.0", ""),  # a patient, as another table writes the number
        ("i1", "", ""),  # a name, and its lesion under another one
        ("b", "", "l"),
        ("c", "t", ""),  # a photograph, whose patient has another
        ("d", "t", "m"),
        ("e", "", "m"),  # and a lesion of that patient's
        ("f", "u", "n"),  # nothing
        ("g", "", ""),
    ]
    external = pd.DataFrame(rows, columns=["image_name", "patient_id", "lesion_id"])
    photograph = SharedImage("i3", "c", 0.97, "re-saved")
    audit = audit_external(training, external, [photograph])
    assert seen_rows(audit, external) == {
        "new": "patient",
        "i1": "name",
        "b": "lesion",
        "c": "i3 ~ c: re-saved, 0.97",
        "d": "with c",
        "e": "with c",
    }
    # The last shows the photograph of the first again.
    again = seen_rows(audit, external, [(0, 7)])
    assert again.pop("g") == "with new"
    assert again == seen_rows(audit, external)
    rest = external[~external["image_name"].isin(seen_rows(audit, external))]
    assert not audit_external(training, rest, [photograph]).leaks
    assert seen_rows(audit_external(training, rest), rest) == {}


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        ((), "patients: not known; lesions: not known"),
        (("patients",), "no patient WHERE; lesions: not known"),
        (("identical",), "no photograph WHERE; patients: not known; lesions: not known"),
        (("patients", "lesions", "identical"), "no patient, lesion or photograph WHERE"),
    ],
)
def test_what_was_not_compared_is_not_said_to_stand_nowhere_twice(
    seen: tuple[str, ...], sentence: str
) -> None:
    nothing: dict[str, Any] = {"patients": None, "lesions": None, "identical": None}
    audit = LeakAudit(**{**nothing, **dict.fromkeys(seen, ())}, where="WHERE")
    assert audit.clean == sentence
