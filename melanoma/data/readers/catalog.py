"""Readers: from a data folder to a LesionTable, one row an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from melanoma.data.csv_tables import read_table, require_columns, some_rows
from melanoma.data.images import SUFFIXES
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.data.readers.folder_tree import PARTS, find_class_images, read_groups
from melanoma.data.readers.labels import (
    UNLABELED,
    ham10000_labels,
    names_of,
    read_folders,
    read_targets,
)
from melanoma.errors import DataError
from melanoma.recipe.recipe import (
    BINARY_CLASSES,
    ClassFolderData,
    CsvFolderData,
    Data,
    HamData,
    PhantomData,
    SiimData,
)

COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "age",
    "sex",
    "site",
    "source",
    "label",
    "target",
)


@dataclass(frozen=True)
class LesionTable:
    """One row an image, in csv order, with COLUMNS and, as text, what the recipe keeps beside them.

    All are text but `age` (years, float, NaN when unknown) and `target`, the class's number in the
    recipe's order (of two: 1 melanoma, 0 not), -1 in an unlabeled test set; `label` is the class's
    name, blank there. `source` is the image file relative to `folder`, empty where none was found.
    Where the data has parts of its own, a column `part` says train or test.

    `problems` are rows that must be mended before anything is built on the table; `warnings` are
    what was settled without a person; `unlabeled` are images that no row names.
    """

    frame: pd.DataFrame
    folder: Path
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unlabeled: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        """Image names in csv order."""
        return self.frame["image_name"].tolist()

    def but(
        self,
        *,
        problems: Sequence[str] = (),
        warnings: Sequence[str] = (),
        images: Mapping[str, str] | None = None,
    ) -> LesionTable:
        """The table with further problems and warnings; those of `images` (index_images) that it
        does not name are the unlabeled ones."""
        return replace(
            self,
            problems=(*self.problems, *problems),
            warnings=(*self.warnings, *warnings),
            unlabeled=tuple(sorted(set((images or {}).values()) - set(self.frame["source"]))),
        )

    def require_sound(self) -> LesionTable:
        """The table itself. Raises DataError with every problem when there is one."""
        if self.problems:
            raise DataError(f"{self.folder}: {'; '.join(self.problems)}")
        return self


def read_lesions(
    folder: Path, data: Data, *, classes: Sequence[str] = BINARY_CLASSES
) -> LesionTable:
    """The labeled table that the recipe's reader finds in `folder`.

    Raises DataError for what is no such table, RecipeError for classes the reader cannot give.
    """
    return READERS[data.reader](folder, data, classes)


def read_test_lesions(folder: Path, data: Data) -> LesionTable | None:
    """Kaggle's test.csv with jpeg/test, unlabeled; None when there is none."""
    if data.reader not in ("siim", "phantoms") or not (folder / "test.csv").is_file():
        return None
    table = read_table(folder / "test.csv", needed=["image_name"])
    return _siim_table(folder, table, part="test")


def _read_siim(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, SiimData | PhantomData)
    table = read_table(folder / "train.csv", needed=["image_name", "patient_id", "target"])
    labels = _Labels("target", classes)
    return _siim_table(folder, table, part="train", labels=labels)


def _read_phantoms(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, PhantomData)
    if not (folder / "train.csv").is_file():
        make_phantoms(
            folder, images=data.images, patients=data.patients, size=data.size, seed=data.seed
        )
    return _read_siim(folder, data, classes)


def _siim_table(
    folder: Path, table: pd.DataFrame, *, part: str, labels: _Labels | None = None
) -> LesionTable:
    columns = {
        "patient_id": "patient_id",
        "lesion_id": "lesion_id",
        "age": "age_approx",
        "sex": "sex",
        "site": "anatom_site_general_challenge",
    }
    below = index_images(folder / "jpeg" / part)
    images = {name: f"jpeg/{part}/{path}" for name, path in below.items()}
    return _make_table(
        folder,
        table,
        image_col="image_name",
        columns=columns,
        sources=[images.get(name, "") for name in table["image_name"]],
        labels=labels,
        keep=[c for c in ("diagnosis",) if c in table],
    ).but(images=images)


def _read_csv_folder(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
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
        labels=_Labels(data.target_col, classes, data.positive, data.labels),
        keep=data.keep_cols,
    ).but(images=images)


def _read_ham10000(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, HamData)
    meaning = ham10000_labels(classes)
    columns = {"lesion_id": "lesion_id", "age": "age", "sex": "sex", "site": "localization"}
    needed = ["image_id", "dx", *columns.values()]
    table = read_table(folder / "HAM10000_metadata.csv", needed=needed)
    for column in ("sex", "localization"):
        table[column] = table[column].replace("unknown", "")
    images, part_of, problems = _ham10000_images(folder)
    if part_of:
        table["part"] = [part_of.get(name, "train") for name in table["image_id"]]
    found = _make_table(
        folder,
        table,
        image_col="image_id",
        sources=[images.get(name, "") for name in table["image_id"]],
        columns=columns,
        labels=_Labels("dx", classes, labels=meaning),
        keep=[c for c in ("dx_type", "part") if c in table],
    ).but(problems=problems, images=images)
    absent = found.frame["source"] == ""
    if not absent.any():
        return found
    count = f"{int(absent.sum()):,} of {len(found):,} rows"
    if data.rows == "all":
        return found.but(
            warnings=[f"{count} have no image; data.rows=with_image leaves them out"], images=images
        )
    left_out = [f"{count} without an image left out (data.rows)"]
    kept = found.frame[~absent].reset_index(drop=True)
    return replace(found, frame=kept, warnings=(*found.warnings, *left_out))


def _ham10000_images(folder: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The index of the images, the part of each of its keys, and what is wrong.

    There are no parts unless both of their folders hold images.
    """
    train, test = (index_images(folder, below=f"HAM10000_images_{part}") for part in PARTS)
    if not (train and test):
        return index_images(folder, below="HAM10000_images*"), {}, []
    both = sorted({Path(path).name for key, path in train.items() if key in test})
    problems = [f"{len(both)} images in both the train and the test folder: {', '.join(both[:5])}"]
    part_of = dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
    return train | test, part_of, problems if both else []


def _read_class_folders(folder: Path, data: Data, classes: Sequence[str]) -> LesionTable:
    assert isinstance(data, ClassFolderData)
    tree = find_class_images(folder)
    table = pd.DataFrame(tree.images, columns=["image_name", "folder", "part", "path"])
    group = {"patient": "patient_id", "lesion": "lesion_id"}[data.group_is]
    problems: list[str] = []
    if data.group_pattern is not None:
        table["group"], problems = read_groups(tree.images, data.group_pattern)
    found = _make_table(
        folder,
        table,
        image_col="image_name",
        sources=[str(path) for path in table["path"]],
        columns={group: "group"},
        labels=_FolderLabels(classes, data.labels),
        keep=["part"] if table["part"].any() else [],
    )
    return found.but(problems=[*tree.problems, *problems], warnings=tree.warnings)


# Adding a reader is one function and one line here.
READERS: dict[str, Callable[[Path, Data, Sequence[str]], LesionTable]] = {
    "siim": _read_siim,
    "csv_folder": _read_csv_folder,
    "ham10000": _read_ham10000,
    "class_folders": _read_class_folders,
    "phantoms": _read_phantoms,
}


def index_images(folder: Path, *, below: str | None = None) -> dict[str, str]:
    """Every image under `folder`: its relative path, its file name and its stem -> that path.

    `below` keeps those with a folder of that pattern above them. A file name or stem that occurs in
    two places is left out, since it would be a guess.
    """
    index: dict[str, str] = {}
    ambiguous: set[str] = set()
    for root, _, files in os.walk(folder):
        inside = Path(root).relative_to(folder)
        if below is not None and not any(fnmatchcase(part, below) for part in inside.parts):
            continue
        for file in files:
            if not file.lower().endswith(SUFFIXES):
                continue
            path = inside / file
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


class _Labels(NamedTuple):
    """Where the labels stand and what they mean; see read_targets."""

    column: str
    classes: Sequence[str]
    positive: Sequence[str] | None = None
    labels: Mapping[str, str] | None = None

    def read(self, table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
        return read_targets(
            table[self.column], self.classes, positive=self.positive, labels=self.labels
        )


class _FolderLabels(NamedTuple):
    """What the names of folders mean; see read_folders."""

    classes: Sequence[str]
    labels: Mapping[str, str] | None

    def read(self, table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
        return read_folders(table["folder"], self.classes, labels=self.labels)


def _make_table(
    folder: Path,
    table: pd.DataFrame,
    *,
    image_col: str,
    columns: dict[str, str],
    sources: Sequence[str],
    labels: _Labels | _FolderLabels | None,
    keep: Sequence[str] = (),
) -> LesionTable:
    problems: list[str] = []
    frame = pd.DataFrame({"image_name": table[image_col]})
    for ours in ("patient_id", "lesion_id", "sex", "site"):
        frame[ours] = table.get(columns.get(ours, ""), "")
    age = table[columns["age"]] if columns.get("age", "") in table else pd.Series("", table.index)
    frame["age"] = pd.to_numeric(age, errors="coerce")
    frame["source"] = list(sources)
    frame["label"], frame["target"] = "", UNLABELED
    if labels is not None:
        frame["target"], problems = labels.read(table)
        frame["label"] = names_of(frame["target"], labels.classes)
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
