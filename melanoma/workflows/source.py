"""Whether a fold file's table is still what it was when the folds were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melanoma.data.fold_changes import changed_parts, changed_rows, in_common
from melanoma.data.fold_record import FoldRecord, digest_rows, load_record, save_record
from melanoma.data.folds import FoldTable
from melanoma.data.readers.reader_catalog import READERS, read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.errors import AbsentError, DataError, FoldError
from melanoma.recipe.recipe import Recipe
from melanoma.workflows.watch import SILENT, Watch

_WAY_ON = (
    "put the table back, or make the folds anew with python -m melanoma.split and train what "
    "they change"
)


def record_source(
    recipe: Recipe,
    table: LesionTable,
    folds: FoldTable,
    path: Path,
    *,
    skipped: tuple[str, ...] = (),
    array: str | None = None,
) -> None:
    """Write beside the fold file at `path` what it was made from."""
    record = FoldRecord(
        folds.digest, digest_rows(table), str(table.folder), _meaning(recipe), skipped, array
    )
    save_record(path, record)


def require_same_source(
    recipe: Recipe,
    folds: FoldTable,
    path: Path,
    data: Path | None,
    *,
    table: LesionTable | None = None,
    watch: Watch = SILENT,
) -> LesionTable | None:
    """The table that the fold file at `path` was made from, once nothing in it differs.

    `table` is the one in `data` where it is read already; else it is read from there, or from where
    it lay when the folds were made. None, and a note, where it is nowhere. Raises FoldError with
    the count and the first rows that differ, or where the recipe reads its labels otherwise.
    """
    record = load_record(path, folds)
    if table is None:
        table = _find_table(recipe, folds, record, data, path, watch=watch)
    otherwise = _other_meaning(recipe, record)
    if table is None and otherwise:
        raise FoldError(f"{path} was made with labels of another meaning ({otherwise}); {_WAY_ON}")
    if table is None:
        return None
    changed = changed_rows(folds, table, record)
    if changed.rows:
        what = f"is read otherwise now ({otherwise})" if otherwise else "has changed since"
        raise FoldError(
            f"{path} was made from a table that {what}: of {len(folds):,} rows, {table.folder} has "
            f"other {changed}; {'; '.join([*table.problems, _WAY_ON])}"
        )
    if record is not None and (moved := changed_parts(folds, table, recipe.folds)):
        raise FoldError(
            f"{path} was made by the parts of {table.folder}, which have changed since: {moved}; "
            f"{_WAY_ON}"
        )
    if record is None:
        watch.say(
            f"note: {path} has no record of what it was made from; its labels and identities are "
            f"those of {table.folder}"
        )
    return table


def _find_table(
    recipe: Recipe,
    folds: FoldTable,
    record: FoldRecord | None,
    data: Path | None,
    path: Path,
    *,
    watch: Watch,
) -> LesionTable | None:
    """The fold file's table in `data`, else where it lay; None where neither has it.

    Raises DataError for a table that is there and cannot be read any more.
    """
    then = Path(record.folder) if record else None
    places = dict.fromkeys(place for place in (data, then) if place is not None)
    reasons: list[DataError] = []
    for place in places:
        try:
            table = _read(recipe, place)
        except DataError as error:
            reasons.append(error)
            continue
        if in_common(folds, table) or (record is not None and place == Path(record.folder)):
            return table
        reasons.append(AbsentError(f"the table in {place} names none of its images"))
    broken = [error for error in reasons if not isinstance(error, AbsentError)]
    if record is not None and broken:
        raise FoldError(f"{path} was made from a table that cannot be read any more: {broken[0]}")
    watch.say(
        f"note: {path} is taken as it is, not compared with a table ("
        f"{'; '.join(dict.fromkeys(map(str, reasons)))})"
    )
    return None


def _read(recipe: Recipe, folder: Path) -> LesionTable:
    if READERS[recipe.data.reader].draws and not (folder / "train.csv").is_file():
        raise AbsentError(f"no table at {folder / 'train.csv'}")  # reading would draw one
    section = recipe.data
    if getattr(section, "rows", "all") != "all":
        # The table may have come without its photographs: the array has those.
        section = section.model_copy(update={"rows": "all"})
    return read_lesions(folder, section, classes=recipe.classes)


def _meaning(recipe: Recipe) -> dict[str, Any]:
    return {
        "classes": list(recipe.classes),
        "melanoma": list(recipe.melanoma),
        "data": recipe.data.model_dump(mode="json"),
    }


def _other_meaning(recipe: Recipe, record: FoldRecord | None) -> str:
    """How the recipe reads the labels of that table otherwise than then; blank if it does not."""
    if record is None:
        return ""
    then, now = record.meaning, _meaning(recipe)
    was, current = then.get("data", {}), now["data"]
    if was.get("reader") != current["reader"]:
        return ""
    differ = [
        f"data.{key}: {was.get(key)} -> {current[key]}"
        for key in ("target_col", "target_cols", "positive", "labels")
        if key in current and was.get(key) != current[key]
    ]
    whole = ("classes", "melanoma")
    differ += [f"{key}: {then[key]} -> {now[key]}" for key in whole if then[key] != now[key]]
    return ", ".join(differ)
