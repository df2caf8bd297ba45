"""What an external set shares with all that a sealed bundle was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from melanoma.data.arrays import ImageArray, load_array
from melanoma.data.csv_tables import read_table
from melanoma.data.duplicates.search import SharedImage, find_shared
from melanoma.data.folds import load_folds
from melanoma.data.leaks import LeakAudit, as_far_as_known, audit_external
from melanoma.data.name_digests import with_known_names
from melanoma.data.readers.table import LesionTable
from melanoma.data.sources import SourceTable, load_rows
from melanoma.errors import DataError
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.training.run.facts import read_facts
from melanoma.training.weights_origin import TRAINING_IMAGES, seen_before, seen_in_training
from melanoma.workflows.fold_sources import source_folder
from melanoma.workflows.watch import Watch

_KEYS = ["image_name", "patient_id", "lesion_id"]


@dataclass(frozen=True)
class Seen:
    """What a bundle was trained on: rows of _KEYS, and the photographs that an external set shares
    with it; `whole` where all photographs were compared. `tables` are those that name its patients
    and lesions."""

    trained: pd.DataFrame
    tables: tuple[pd.DataFrame, ...]
    shared: tuple[SharedImage, ...]
    whole: bool

    def audit(self, external: pd.DataFrame) -> LeakAudit:
        """What the bundle was trained on and these rows of the set both have."""
        audit = audit_external(self.trained, external, self.shared)
        audit = as_far_as_known(audit, self.tables)
        if self.whole:
            return audit
        return replace(audit, identical=audit.identical or None, near=audit.near or None)


def find_seen(
    bundle: Bundle,
    recipe: Recipe,
    training: tuple[Path, Path],
    table: LesionTable,
    array: ImageArray,
    *,
    watch: Watch,
) -> Seen:
    """What the bundle was trained on, beside the set.

    `training` is its fold file and its arrays. Without the fold file, names, patients and lesions
    are those of the bundle's own oof.csv; of a shipped bundle, the names alone. Its sources'
    patients, lesions and photographs are those that are frozen beside its arrays; where one is not
    there, or names none, they count as looked for only if some are found.
    """
    fold_path, arrays = training
    sources = _sources(bundle, recipe, arrays, watch=watch)
    ours = _own_array(arrays, recipe)
    at_hand = [*table.names, *(ours.names if ours is not None else ())]
    trained = _trained(bundle, fold_path, watch=watch)
    trained["image_name"] = with_known_names(trained["image_name"], at_hand)
    names = {*trained["image_name"]}
    whole, shared = len(sources) == len(recipe.data.sources), list[SharedImage]()
    if ours is None or names - set(ours.names):
        whole = False
        watch.say(
            f"note: no training images in {arrays}: photographs are not compared (--arrays DIR)"
        )
    else:
        shared += _alike(ours, array, arrays, watch=watch)
    beside = _beside(bundle, names, sources, at_hand, watch=watch)
    for source in sources:
        folder = source_folder(arrays, source.source)
        shared += _alike(source.array, array, folder, watch=watch)
    tables = [trained, *(source.frame for source in sources)]
    if len(sources) < len(recipe.data.sources):
        tables.append(_by_name(()))
    trained = pd.concat([trained[_KEYS], beside], ignore_index=True)
    return Seen(trained, tuple(tables), tuple(shared), whole)


def _own_array(arrays: Path, recipe: Recipe) -> ImageArray | None:
    try:
        return load_array(arrays, recipe.image)
    except DataError:
        return None  # another recipe's


def _alike(
    ours: ImageArray, theirs: ImageArray, folder: Path, *, watch: Watch
) -> list[SharedImage]:
    watch.say(f"looking for {len(theirs):,} images among {len(ours):,}")
    return list(find_shared(ours, theirs, folder, progress=watch.progress))


def _trained(bundle: Bundle, fold_path: Path, *, watch: Watch) -> pd.DataFrame:
    """_KEYS of the bundle's own training images: of its fold file, if it is that one."""
    why, digest = f"no fold file at {fold_path}", bundle.report.digests.get("folds_digest")
    if fold_path.is_file():
        folds = load_folds(fold_path)
        if digest in (None, folds.digest):
            return folds.frame[_KEYS].copy()
        why = f"{fold_path} is not the fold file that the bundle was trained on (--folds FILE)"
    oof, listed = bundle.folder / "oof.csv", bundle.folder / TRAINING_IMAGES
    if not oof.is_file() and listed.is_file():
        watch.say(f"note: {why}: overlap by the names or their digests in {listed}")
        frame = read_table(listed, needed=["image_name"])
        if "fold" in frame:
            frame = frame[frame["fold"] != ""]
        return frame[["image_name"]].assign(patient_id="", lesion_id="")
    frame = read_table(oof, needed=["image_name", "patient_id"])
    watch.say(f"note: {why}: overlap by oof.csv's names, patients and lesions")
    if "lesion_id" not in frame:  # of an earlier version, or where no table named any
        frame = frame.assign(lesion_id="")
    # Of folds that were not trained, no image stands in oof.csv.
    more = _by_name(set(seen_in_training(bundle.folder)) - set(frame["image_name"]))
    return pd.concat([frame[_KEYS], more], ignore_index=True)


def _beside(
    bundle: Bundle,
    own: set[str],
    sources: Iterable[SourceTable],
    at_hand: list[str],
    *,
    watch: Watch,
) -> pd.DataFrame:
    """_KEYS of what the bundle's sources and starting weights had seen beside its `own` images."""
    rows = pd.concat([_by_name(()), *(source.frame[_KEYS] for source in sources)])
    names = set(with_known_names(seen_before(bundle.folder), [*at_hand, *rows["image_name"]])) - own
    # A source's photograph may be called as one of the folds', and be somebody else's.
    rows = rows[rows["image_name"].isin(names | own)]
    others = names - set(rows["image_name"])
    if others:
        watch.say(
            f"note: its starting weights or sources had seen {len(others):,} images more: overlap "
            "by name"
        )
    return pd.concat([rows, _by_name(others)], ignore_index=True)


def _by_name(names: Iterable[str]) -> pd.DataFrame:
    return pd.DataFrame({"image_name": sorted(names), "patient_id": "", "lesion_id": ""}, dtype=str)


def _sources(bundle: Bundle, recipe: Recipe, arrays: Path, *, watch: Watch) -> list[SourceTable]:
    """The sources as they are frozen beside the arrays; a note for each that is not there, or is
    another than the bundle's record has."""
    found = []
    facts = [read_facts(member.file.parent) for member in bundle.members]
    trained = {one.name: one.digest for fact in facts if fact for one in fact.sources or ()}
    for source in recipe.data.sources:
        folder, table, why = source_folder(arrays, source), None, "is not there"
        try:
            array = load_array(folder, recipe.image)
            table = None if array is None else load_rows(source, array, folder)
        except DataError as error:
            why = f"cannot be read ({error})"
        if table is not None and trained.get(source.name, table.digest) != table.digest:
            table, why = None, "is another than trained"
        if table is None:
            watch.say(
                f"note: {folder} {why}: its patients, lesions and photographs are not compared, "
                "its names alone"
            )
        else:
            found.append(table)
    return found
