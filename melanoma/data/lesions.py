"""Readers: from a data folder to a LesionTable, one row an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melanoma.data.images import SUFFIXES
from melanoma.data.phantoms import make_phantoms
from melanoma.data.tables import read_table, require_columns, some_rows
from melanoma.errors import DataError
from melanoma.recipe import CsvFolderData, Data, PhantomData, SiimData

COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "age",
    "sex",
    "site",
    "source",
    "target",
)


@dataclass(frozen=True)
class LesionTable:
    """One row an image, in csv order, with COLUMNS and, as text, what the recipe keeps beside them.

    All are text but `age` (years, float, NaN when unknown) and `target` (1 melanoma, 0 not,
    -1 unknown: an unlabeled test set). `source` is the image file relative to `folder`, empty
    where none was found. `problems` are rows that must be mended before anything is built on the
    table; `warnings` are what was settled without a person.
    """

    frame: pd.DataFrame
    folder: Path
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        """Image names in csv order."""
        return self.frame["image_name"].tolist()

    def require_sound(self) -> LesionTable:
        """The table itself. Raises DataError with every problem when there is one."""
        if self.problems:
            raise DataError(f"{self.folder}: {'; '.join(self.problems)}")
        return self


def read_lesions(folder: Path, data: Data) -> LesionTable:
    """The labeled table that the recipe's reader finds in `folder`."""
    return READERS[data.reader](folder, data)


def read_test_lesions(folder: Path, data: Data) -> LesionTable | None:
    """Kaggle's test.csv with jpeg/test, unlabeled; None when there is none."""
    if data.reader == "csv_folder" or not (folder / "test.csv").is_file():
        return None
    table = read_table(folder / "test.csv", needed=["image_name"])
    return _siim_table(folder, table, part="test")


def _read_siim(folder: Path, data: Data) -> LesionTable:
    assert isinstance(data, SiimData | PhantomData)
    table = read_table(folder / "train.csv", needed=["image_name", "patient_id", "target"])
    return _siim_table(folder, table, part="train")


def _read_phantoms(folder: Path, data: Data) -> LesionTable:
    assert isinstance(data, PhantomData)
    if not (folder / "train.csv").is_file():
        make_phantoms(
            folder, images=data.images, patients=data.patients, size=data.size, seed=data.seed
        )
    return _read_siim(folder, data)


def _siim_table(folder: Path, table: pd.DataFrame, *, part: str) -> LesionTable:
    columns = {
        "patient_id": "patient_id",
        "lesion_id": "lesion_id",
        "age": "age_approx",
        "sex": "sex",
        "site": "anatom_site_general_challenge",
    }
    images = index_images(folder / "jpeg" / part)
    sources = [
        f"jpeg/{part}/{images[name]}" if name in images else "" for name in table["image_name"]
    ]
    return _make_table(
        folder,
        table,
        image_col="image_name",
        columns=columns,
        sources=sources,
        target_col="target" if part == "train" else None,
        keep=[c for c in ("diagnosis",) if c in table],
    )


def _read_csv_folder(folder: Path, data: Data) -> LesionTable:
    assert isinstance(data, CsvFolderData)
    path = folder / data.table if data.table else _only_csv(folder)
    needed = [c for c in (data.image_col, data.target_col, data.group_col) if c]
    table = read_table(path, needed=needed)
    optional = {"age": data.age_col, "sex": data.sex_col, "site": data.site_col}
    named = [*(c for c in optional.values() if c), *data.keep_cols]
    require_columns(table.columns, named, origin=str(path))
    group = {"patient": "patient_id", "lesion": "lesion_id"}[data.group_is]
    columns = {group: data.group_col, **optional}
    images = index_images(folder)
    sources = [images.get(name, "") for name in table[data.image_col]]
    return _make_table(
        folder,
        table,
        image_col=data.image_col,
        sources=sources,
        columns={ours: theirs for ours, theirs in columns.items() if theirs},
        target_col=data.target_col,
        positive=data.positive,
        keep=data.keep_cols,
    )


# Adding a reader is one function and one line here.
READERS: dict[str, Callable[[Path, Data], LesionTable]] = {
    "siim": _read_siim,
    "csv_folder": _read_csv_folder,
    "phantoms": _read_phantoms,
}


def index_images(folder: Path) -> dict[str, str]:
    """Every image under `folder`: its relative path, its file name and its stem -> that path.

    A file name or stem that occurs in two places is left out, since it would be a guess.
    """
    index: dict[str, str] = {}
    ambiguous: set[str] = set()
    for root, _, files in os.walk(folder):
        for file in files:
            if not file.lower().endswith(SUFFIXES):
                continue
            path = Path(root, file).relative_to(folder)
            index[str(path)] = str(path)
            for key in {path.name, path.stem} - {str(path)}:
                ambiguous |= {key} if key in index else set()
                index[key] = str(path)
    return {key: path for key, path in index.items() if key not in ambiguous}


def _only_csv(folder: Path) -> Path:
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        names = ", ".join(t.name for t in tables) or "none"
        raise DataError(f"{folder} has not one CSV ({names}); name it with --set data.table=FILE")
    return tables[0]


def _make_table(
    folder: Path,
    table: pd.DataFrame,
    *,
    image_col: str,
    columns: dict[str, str],
    sources: Sequence[str],
    target_col: str | None,
    positive: tuple[str, ...] | None = None,
    keep: Sequence[str] = (),
) -> LesionTable:
    problems: list[str] = []
    frame = pd.DataFrame({"image_name": table[image_col]})
    for ours in ("patient_id", "lesion_id", "sex", "site"):
        frame[ours] = table.get(columns.get(ours, ""), "")
    age = table[columns["age"]] if columns.get("age", "") in table else pd.Series("", table.index)
    frame["age"] = pd.to_numeric(age, errors="coerce")
    frame["source"] = list(sources)
    frame["target"] = -1
    if target_col is not None:
        targets = _targets(table[target_col], positive=positive)
        bad = targets.isna()
        if bad.any():
            allowed = "0 or 1" if positive is None else "a class name"
            shown = some_rows(bad, table[target_col])
            hint = _positive_hint(table[target_col]) if positive is None else ""
            problems.append(
                f"{int(bad.sum())} rows whose {target_col} is not {allowed}: {shown}{hint}"
            )
        frame["target"] = targets.fillna(-1).astype(int)
    frame[list(keep)] = table[list(keep)]
    unnamed = frame["image_name"] == ""
    if unnamed.any():
        problems.append(
            f"{int(unnamed.sum())} rows without {image_col}: "
            f"{some_rows(unnamed, frame['image_name'])}"
        )
    frame, repeated, warnings = _without_repeats(frame)
    return LesionTable(
        frame[[*COLUMNS, *keep]],
        folder,
        problems=(*problems, *repeated),
        warnings=tuple(warnings),
    )


def _targets(values: pd.Series, *, positive: tuple[str, ...] | None) -> pd.Series:
    """1.0, 0.0, or NaN for what is neither."""
    if positive is not None:
        absent = [p for p in positive if p not in set(values)]
        if absent:
            found = ", ".join(sorted(set(values))[:12])
            raise DataError(f"no row has target {', '.join(absent)} (found: {found})")
        return values.map(lambda v: float("nan") if v == "" else float(v in positive))
    return values.map({"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0})


def _positive_hint(values: pd.Series) -> str:
    names = sorted(set(values) - {"", "0", "1"})
    if len(names) < 2 or len(names) > 50 or set(values) & {"0", "1"}:
        return ""
    return f"; to name what counts as melanoma: --set data.positive=[{names[0]}]"


def _without_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    repeated = frame.duplicated("image_name", keep=False) & (frame["image_name"] != "")
    if not repeated.any():
        return frame, [], []
    labels = frame[repeated].groupby("image_name")["target"].nunique()
    conflicting = sorted(labels[labels > 1].index)
    problems = []
    if conflicting:
        problems.append(
            f"{len(conflicting)} images stand twice with different targets: "
            f"{', '.join(conflicting[:5])}"
        )
    once = frame.drop_duplicates("image_name")
    warning = f"{len(frame) - len(once)} repeated rows dropped (same image_name)"
    return once, problems, [warning]
