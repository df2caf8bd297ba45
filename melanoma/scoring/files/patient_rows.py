"""predict --patient-col: columns that say where each lesion stands among its patient's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from melanoma.data.csv_tables import read_table
from melanoma.data.placeholders import blank_placeholders
from melanoma.data.readers.identities import read_identity
from melanoma.errors import DataError, RecipeError
from melanoma.scoring.files.score_rows import Row

if TYPE_CHECKING:
    from melanoma.scoring.bundle.bundle import Bundle

COLUMNS = ("context_probability", "rank_in_patient", "outlier")
_SITES = ("site", "anatom_site_general_challenge")


class Owner(NamedTuple):
    """Whose an image is, its site and lesion, "" where the table does not say."""

    patient: str
    site: str
    lesion: str


def read_owners(
    paths: Sequence[Path], column: str | None, *, image_col: str | None
) -> dict[str, Owner]:
    """The owner of each image of the CSVs in `paths`; empty where no `column` is asked for.

    Sites and lesions are those of the columns site (or anatom_site_general_challenge) and
    lesion_id, where there are such. Raises RecipeError where `paths` has no CSV, DataError where
    one lacks the column or names an image's patient twice.
    """
    if column is None:
        return {}
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    if not tables:
        raise RecipeError(f"--patient-col {column}: name a CSV with that column, not its images")
    name = image_col or "image_name"
    whole = pd.concat([_owner_cells(path, name, column) for path in tables], ignore_index=True)
    # Whose a row is, as split reads it: 12 and 12.0 are one patient, in two tables too.
    patients, lesions = (read_identity(whole, [one]) for one in ("patient", "lesion"))
    columns = (patients, blank_placeholders(whole["site"]), lesions)
    owners: dict[str, Owner] = {}
    for path, image, *values in zip(whole["path"], whole["image"], *columns, strict=True):
        owner = Owner(*values)
        if owners.setdefault(image, owner) != owner:
            raise DataError(f"{path}: {image} stands under two patients, sites or lesions")
    return owners


def _owner_cells(path: Path, name: str, column: str) -> pd.DataFrame:
    """A table's cells of what an Owner has, of the image and of the table itself; text."""
    frame = read_table(path, needed=[name, column])
    blank = pd.Series("", frame.index)
    site = next((frame[one] for one in _SITES if one in frame), blank)
    lesion = frame.get("lesion_id", blank)
    cells = {"image": frame[name], "patient": frame[column], "site": site, "lesion": lesion}
    return pd.DataFrame(cells).assign(path=str(path))


def add_patient_columns(
    rows: Sequence[Row],
    owners: Mapping[str, Owner],
    bundle: Bundle | None,
    *,
    say: Callable[[str], None],
) -> list[Row]:
    """The rows with COLUMNS; empty for images without a score that counts, or without a patient.
    `owners` is empty where nobody asked, and the rows stay as they are. `say` is told what to know
    of the numbers. Raises RecipeError where the bundle names no melanoma class."""
    if not owners:
        return list(rows)
    # Here alone: predict without the option, and with --url, starts without them.
    from melanoma.scoring.patient_answer import EXPERIMENTAL, answer_patient, missing_context

    if bundle is None or not bundle.melanoma:
        raise RecipeError("--patient-col: the bundle's recipe names no melanoma class")
    patients: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        owner = owners.get(row["image_name"])
        if owner is not None and owner.patient:
            patients.setdefault(owner.patient, []).append(number)
    extended = [{**row, **dict.fromkeys(COLUMNS)} for row in rows]
    few = 0
    for numbers in patients.values():
        result = answer_patient(
            [_comparable(rows[n]) for n in numbers],
            [bool(rows[n]["flagged"]) for n in numbers],
            threshold=next((rows[n]["threshold"] for n in numbers), None),
            stack=bundle.context,
            lesion_ids=[owners[rows[n]["image_name"]].lesion for n in numbers],
            sites=[owners[rows[n]["image_name"]].site for n in numbers],
        )
        for lesion in result.lesions:
            few += lesion.rank_in_patient is None
            for image in lesion.images:
                values = (lesion.context_probability, lesion.rank_in_patient, lesion.outlier)
                extended[numbers[image]] |= dict(zip(COLUMNS, values, strict=True))
    say(f"note: {EXPERIMENTAL}")
    if missing := missing_context(bundle):
        say(f"note: {missing}")
    if few:
        say(f"note: {few:,} lesions are of patients with fewer than three: they have no rank")
    return extended


def _comparable(row: Row) -> float | None:
    if row["error"] or row["verdict"] == "unscorable":
        return None
    probability: float | None = row["melanoma_probability"]
    return probability
