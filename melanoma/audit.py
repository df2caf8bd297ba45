"""python -m melanoma.audit: what stands on both sides of a split, or of two data sets."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from melanoma import terminal as t
from melanoma.errors import DataError, FoldError, RecipeError
from melanoma.prepare import prepare_array
from melanoma.recipe.recipe import Recipe
from melanoma.split import search_duplicates

if TYPE_CHECKING:
    from melanoma.data.arrays import ImageArray
    from melanoma.data.duplicates.contact_sheet import Tile
    from melanoma.data.duplicates.search import Duplicates, SharedImage
    from melanoma.data.leaks import LeakAudit
    from melanoma.data.readers.table import LesionTable

app = t.make_app()
_PICTURED = 36  # pairs on a contact sheet


class Audited(NamedTuple):
    """What was found, and in what; `pairs` are all photographs twice, leaks or not, leaks first."""

    audit: LeakAudit
    pairs: list[SharedImage]
    looked_at: str
    array: ImageArray | None
    other: ImageArray | None
    sides: bool = True  # False without a fold file: there is nothing that a pair could be parted by


@app.command()
def audit(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: Annotated[
        Path | None,
        typer.Option(
            "--arrays", help="Prepared arrays, made when absent (default arrays/, or none)."
        ),
    ] = None,
    folds: t.FoldFile = None,
    external: Annotated[
        Path | None, typer.Option("--external", help="Recipe of a second set that must be apart.")
    ] = None,
    external_data: Annotated[
        Path | None, typer.Option("--external-data", help="Folder of the second set.")
    ] = None,
    external_arrays: Annotated[
        Path | None, typer.Option("--external-arrays", help="Arrays of the second set.")
    ] = None,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Exit 0 whatever is found.")
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Contact sheet of the pairs: a folder, or a .png."),
    ] = None,
    settings: t.Settings = None,
    seed: t.Seed = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    json: t.AsJson = False,
) -> None:
    """Find patients, lesions and photographs that are in two folds, or in two sets."""
    start = time.monotonic()
    recipe = t.read_recipe_options(
        config, settings, seed, image_col=image_col, target_col=target_col, group_col=group_col
    )
    if (external is None) != (external_data is None):
        raise RecipeError("--external and --external-data belong together")
    with tempfile.TemporaryDirectory(prefix="melanoma-audit-") as scratch:
        first = _look_at(recipe, data, arrays, Path(scratch, "first"))
        if external is not None and external_data is not None:
            other = t.read_recipe_options(external, None, None)
            # Squared as ours are: pixels can only be compared when they were made in one way.
            other = other.model_copy(update={"image": recipe.image})
            second = _look_at(other, external_data, external_arrays, Path(scratch, "second"))
            found = _audit_external(first, second)
        else:
            found = _audit_folds(recipe, first, folds)
        if pictures is not None:
            _save_pictures(found, pictures)
    _answer(found, start=start, as_json=json, allowed=allow_leak)
    if found.audit.leaks and not allow_leak:
        raise FoldError(
            f"leaks: {'; '.join(found.audit.findings)}; "
            + ("leave them out of one set" if external else "rebuild with python -m melanoma.split")
            + ", or pass --allow-leak"
        )


class _Set(NamedTuple):
    """A table, its array (None where there are no images), and where that and its pairs lie."""

    table: LesionTable
    array: ImageArray | None
    folder: Path


def _look_at(recipe: Recipe, data: Path, arrays: Path | None, scratch: Path) -> _Set:
    """The table in `data` with its squares: prepared already, adopted, or decoded for this audit.

    Without --arrays, arrays/ is used if it is this table's, and what must be decoded is not kept.
    """
    from melanoma.data.array_build import find_adoptable
    from melanoma.data.arrays import load_array
    from melanoma.data.readers.catalog import read_lesions

    table = read_lesions(data, recipe.data, classes=recipe.classes).require_sound()
    for warning in table.warnings:
        t.say(f"warning: {warning}")
    folder = arrays
    if folder is None:
        there = load_array(t.DEFAULT_ARRAYS, recipe.image)
        ours = there is not None and set(table.names) - set(there.skipped) == set(there.names)
        folder = t.DEFAULT_ARRAYS if ours else scratch
    seen = bool((table.frame["source"] != "").any())
    kept = load_array(folder, recipe.image) or find_adoptable(folder, data, recipe.image)
    if not seen and kept is None:
        t.say(f"warning: no images in {data}: only patients and lesions are compared")
        return _Set(table, None, folder)
    return _Set(table, prepare_array(recipe, data, folder), folder)


def _audit_folds(recipe: Recipe, found: _Set, folds: Path | None) -> Audited:
    """The recipe's table and images against its fold file, where there is one."""
    from melanoma.data.folds import load_folds
    from melanoma.data.leaks import LeakAudit, audit_folds, with_identities

    table, array, folder = found
    path = t.fold_file(folds, recipe)
    if folds is not None and not path.is_file():
        raise DataError(f"no fold file at {path}; make it with python -m melanoma.split")
    duplicates = None if array is None else search_duplicates(array, folder)
    pairs = [] if array is None or duplicates is None else duplicates.named(array.names)
    looked_at = f"{len(table):,} images of {table.folder}"
    if not path.is_file():
        none = None if duplicates is None else ()
        looked_at += f", no fold file ({_joined(table, array, duplicates)})"
        return Audited(LeakAudit(identical=none, near=none), pairs, looked_at, array, array, False)
    split = with_identities(load_folds(path, classes=recipe.classes), table)
    names = split.whole["image_name"].tolist()
    unseen = set(names) - set(table.names if array is None else array.names)
    if unseen:
        t.say(f"warning: {len(unseen)} images of {path} are not in {table.folder}; not compared")
    if array is not None and duplicates is not None:
        duplicates = duplicates.among(array.names, names)
    result = audit_folds(split, duplicates)
    leaking = [*(result.identical or ()), *(result.near or ())]
    pairs = [*leaking, *(pair for pair in pairs if pair not in set(leaking))]
    looked_at += f", {len(split.folds)} folds of {path} (digest {split.digest[:12]})"
    return Audited(result, pairs, looked_at, array, array)


def _joined(table: LesionTable, array: ImageArray | None, found: Duplicates | None) -> str:
    """What a split would have to keep whole."""
    from melanoma.data.groups import join_groups

    pairs = []
    if array is not None and found is not None:
        pairs = found.among(array.names, table.names).pairs
    keys = [table.frame["patient_id"].tolist(), table.frame["lesion_id"].tolist()]
    sizes = Counter(join_groups(keys, pairs))
    return (
        f"a split would keep {len(sizes):,} groups whole, of up to {max(sizes.values()):,} images"
    )


def _audit_external(ours: _Set, theirs: _Set) -> Audited:
    """A training set against a second one."""
    from melanoma.data.duplicates.search import find_shared
    from melanoma.data.leaks import audit_external

    shared = None
    if ours.array is not None and theirs.array is not None:
        t.say(f"looking for {len(theirs.array):,} images among {len(ours.array):,}")
        shared = find_shared(ours.array, theirs.array, ours.folder, progress=t.progress)
    looked_at = (
        f"{len(ours.table):,} images of {ours.table.folder}, "
        f"{len(theirs.table):,} of {theirs.table.folder}"
    )
    result = audit_external(ours.table.frame, theirs.table.frame, shared)
    return Audited(result, list(shared or ()), looked_at, ours.array, theirs.array)


def _answer(found: Audited, *, start: float, as_json: bool, allowed: bool) -> None:
    identical = [pair for pair in found.pairs if pair.relation == "identical"]
    near = [pair for pair in found.pairs if pair.relation != "identical"]
    if as_json:
        facts: dict[str, Any] = found.audit.as_facts() | {"allowed": found.audit.leaks and allowed}
        lists = {
            "shared_patients": found.audit.patients,
            "shared_lesions": found.audit.lesions,
            "shared_images": found.audit.images,
            "leaking_pairs": [*(found.audit.identical or ()), *(found.audit.near or ())],
        }
        listed = {key: [_plain(one) for one in values] for key, values in lists.items()}
        t.answer_json({**facts, **listed, "pairs": [pair._asdict() for pair in found.pairs]})
        return
    for line in found.audit.lines():
        t.answer(line if line.startswith(" ") else f"LEAK: {line}")
    if not found.audit.leaks and found.sides:
        t.answer(f"no patient, lesion or photograph {found.audit.where}")
    if found.audit.near is None:
        t.answer("photographs: not compared (no images)")
    else:
        t.answer(f"identical images: {_some(identical)}")
        t.answer(f"near-duplicates: {_some(near)}")
    t.answer(f"looked at {found.looked_at}, {t.duration(start)}")


def _plain(one: Any) -> Any:
    return one if isinstance(one, str) else one._asdict()


def _some(pairs: list[SharedImage]) -> str:
    shown = "; ".join(map(str, pairs[:5])) + ("; ..." if len(pairs) > 5 else "")
    return f"{len(pairs)} pairs" + (f" ({shown})" if pairs else "")


def _save_pictures(found: Audited, pictures: Path) -> None:
    """The pairs side by side, three pairs a row, leaks first."""
    from melanoma.data.duplicates.contact_sheet import save_contact_sheet

    path = pictures if pictures.suffix.lower() == ".png" else pictures / "duplicates.png"
    if found.array is None or found.other is None or not found.pairs:
        t.say("no pictures: there are no pairs")
        return
    tiles = [_pair_tiles(pair, found.array, found.other) for pair in found.pairs[:_PICTURED]]
    rows = [
        [tile for pair in tiles[at : at + 3] for tile in pair] for at in range(0, len(tiles), 3)
    ]
    shown = len(tiles) if len(tiles) == len(found.pairs) else f"{len(tiles)} of {len(found.pairs)}"
    save_contact_sheet(path, rows, title=f"One photograph twice: {shown} pairs")
    t.say(f"wrote {path}")


def _pair_tiles(pair: SharedImage, array: ImageArray, other: ImageArray) -> tuple[Tile, Tile]:
    from melanoma.data.duplicates.contact_sheet import Tile

    (first,) = array.rows([array.row_of[pair.first]])
    (second,) = other.rows([other.row_of[pair.second]])
    said = f"similarity {pair.similarity:.2f}"
    return (
        Tile(first, (pair.first, *pair.relation.split(", "))),
        Tile(second, (pair.second, said)),
    )


if __name__ == "__main__":
    t.run(app)
