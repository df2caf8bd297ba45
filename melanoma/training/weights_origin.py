"""Which images a file of weights was trained on, from the records of runs and bundles.

A fold's folder has training_images.csv from its start: image_name, digest (the first digits of the
prepared row's) and seen_by, `run` for its own images, `source` for those of data.sources, or
`start` for those that the weights it started from had seen. Of a folder from before, the fold file
or the other folds' oof.csv say it. A bundle has oof.csv, or shipped its own training_images.csv
with the fold that held an image out. A mean of several has mean.json: its sha256, and whether it
is known what all of them have seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma.data.csv_tables import read_table
from melanoma.data.folds import FoldTable
from melanoma.errors import MelanomaError
from melanoma.storage import read_text, sha256_of, write_json, write_text

TRAINING_IMAGES = "training_images.csv"
DIGITS = 16  # of a row's digest: two photographs in 10^9 sets of 10^5 would share them
_MANIFEST = "manifest.json"  # melanoma.scoring, which stands above, seals it
_MEAN = "mean.json"
_RUN, _SOURCE, _START = "run", "source", "start"

Seen = dict[str, str]  # names of images, and the digits of their digests, blank where not known


@dataclass(frozen=True)
class Origin:
    """What weights have seen. `unknown`: they may have seen more, or anything, than `seen` says.

    `by_fold` says that a file stands for one fold of several, whose held-out images it never saw;
    of `always`, the names that other folds' weights have seen too: sources' and their own start's.
    """

    seen: Seen = field(default_factory=dict)
    unknown: bool = False
    by_fold: bool = False
    always: frozenset[str] = frozenset()


UNKNOWN = Origin(unknown=True)


def write_seen(folder: Path, own: Seen, before: Seen, sources: Seen | None = None) -> None:
    """FOLDER/training_images.csv: a run's own training images, its sources' (a name that is both is
    the run's own), and those seen before it."""
    seen_by_name: dict[str, tuple[str, str]] = {}
    for seen, by in ((before, _START), (sources or {}, _SOURCE), (own, _RUN)):
        seen_by_name |= {name: (digest, by) for name, digest in seen.items()}
    rows = [(name, digest, by) for name, (digest, by) in seen_by_name.items()]
    frame = pd.DataFrame(sorted(rows), columns=["image_name", "digest", "seen_by"])
    write_text(folder / TRAINING_IMAGES, frame.to_csv(index=False, lineterminator="\n"))


def write_mean(folder: Path, origins: Iterable[Origin], *, digest: str) -> None:
    """FOLDER/training_images.csv and mean.json, of weights that are the mean of several."""
    every = list(origins)
    seen: Seen = {}
    for one in every:  # what one knows of an image's pixels is not lost to another's blank
        seen |= {name: digits or seen.get(name, "") for name, digits in one.seen.items()}
    write_seen(folder, {}, seen)
    unknown, by_fold = any(o.unknown for o in every), all(o.by_fold for o in every)
    write_json(folder / _MEAN, {"sha256": digest, "unknown": unknown, "by_fold": by_fold})


def read_seen(folder: Path) -> Seen:
    """All that FOLDER/training_images.csv names; nothing where a run is from before it."""
    path = folder / TRAINING_IMAGES
    if not path.is_file():
        return {}
    table = read_table(path, needed=["image_name", "digest", "seen_by"])
    return dict(zip(table["image_name"], table["digest"], strict=True))


def seen_before(weights: Path, fold: int | None = None) -> list[str]:
    """Names that the weights had seen which the run or bundle in `weights` started from, and those
    of its sources; of all folds, or of the member of one, as far as a shipped copy says."""
    names: set[str] = set()
    folder = "fold_*" if fold is None else f"fold_{fold}"
    for path in sorted(weights.glob(f"{folder}/{TRAINING_IMAGES}")):
        names |= _not_its_own(path)
    if (weights / TRAINING_IMAGES).is_file():
        table = read_table(weights / TRAINING_IMAGES, needed=["image_name"])
        if "fold" in table:
            names |= set(table["image_name"][table["fold"] == ""])
    return sorted(names)


def seen_in_training(weights: Path) -> list[str]:
    """Names of the folds' own training images, as the run in `weights` wrote them down."""
    paths = sorted(weights.glob(f"fold_*/{TRAINING_IMAGES}"))
    return sorted({name for path in paths for name in _seen_by(path, _RUN)})


def _not_its_own(path: Path) -> set[str]:
    """The names in a run's TRAINING_IMAGES that are of its sources, or of what it started from."""
    return _seen_by(path, _SOURCE, _START)


def _seen_by(path: Path, *how: str) -> set[str]:
    table = read_table(path, needed=["image_name", "seen_by"])
    return set(table["image_name"][table["seen_by"].isin(how)])


def find_origin(path: Path, folds: FoldTable, *, library: Path) -> Origin:
    """What the file's records say: those beside it, or where `library` holds the same file.

    `folds` is the fold file in use, which an earlier run may have been trained by; `library` is a
    folder of runs and bundles, where a copy's original is looked for by its sha256.
    """
    digest = sha256_of(path)
    for place in _places(path, digest, library):
        try:
            origin = _of_run(place, folds, digest) if (place / "run.json").is_file() else None
            origin = origin or _of_mean(place, digest) or _of_bundle(place, path, digest)
        except (MelanomaError, ValueError, KeyError, TypeError, AttributeError, OSError):
            continue  # a damaged record says nothing
        if origin is not None:
            return origin
    return UNKNOWN


def _places(path: Path, digest: str, library: Path) -> Iterator[Path]:
    home = path.resolve().parent
    yield from (home, home.parent)
    # Not the text as a whole: a run that started from the file names its sha256 too.
    runs = [(f"*/fold_*/{seed}run.json", "files") for seed in ("", "seed_*/")]
    for pattern, key in (*runs, (f"*/{_MANIFEST}", "sha256")):
        for record in sorted(library.glob(pattern)):
            if digest in _digests(record, key):
                yield record.parent


def _digests(record: Path, key: str) -> list[str]:
    try:
        return list(json.loads(read_text(record))[key].values())
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return []  # damaged, or of a run that is not finished


def _of_run(folder: Path, folds: FoldTable, digest: str) -> Origin | None:
    facts = json.loads(read_text(folder / "run.json"))
    if "fold" not in facts:
        return None  # of a committed result, whose folder holds no weights
    foreign = "files" in facts and digest not in facts["files"].values()
    unknown = foreign or _started_unknown(facts)
    seen, always = read_seen(folder), frozenset[str]()
    if seen:
        always = frozenset(_not_its_own(folder / TRAINING_IMAGES))
    else:
        names = _names_of_earlier_run(folder, facts, folds)
        if names is None:
            return UNKNOWN
        seen = dict.fromkeys(names, "")
    return Origin(seen, unknown=unknown, by_fold=True, always=always)


def _names_of_earlier_run(
    folder: Path, facts: dict[str, Any], folds: FoldTable
) -> Iterable[str] | None:
    """The names that a run trained on from before it wrote them down; None where nothing says."""
    fold = int(facts["fold"])
    if facts.get("folds_digest") == folds.digest:
        return list(folds.frame["image_name"][folds.frame["fold"] != fold])
    others = [path for path in folder.parent.glob("fold_*/oof.csv") if path.parent != folder]
    tables = [read_table(path, needed=["image_name", "fold"]) for path in sorted(others)]
    whole = folder.parent / "oof.csv"
    if whole.is_file():
        tables.append(read_table(whole, needed=["image_name", "fold"]))
    names = {n for t in tables for n in t["image_name"][t["fold"] != str(fold)]}
    return names if len(names) == facts.get("training_images") else None


def _started_unknown(facts: dict[str, Any]) -> bool:
    """Whether nobody knows what the run's own starting weights had seen."""
    stated = (facts.get("audit") or facts.get("leaks") or {}).get("starting_weights")
    if stated is not None:
        return bool(stated["unknown"])
    return not str(facts.get("pretrained")).startswith(("none", "imagenet"))


def _of_mean(folder: Path, digest: str) -> Origin | None:
    if not (folder / _MEAN).is_file():
        return None
    record = json.loads(read_text(folder / _MEAN))
    if record["sha256"] != digest:
        return None
    return Origin(read_seen(folder), unknown=record["unknown"], by_fold=record["by_fold"])


def _of_bundle(folder: Path, path: Path, digest: str) -> Origin | None:
    """What a sealed or shipped bundle says of a member; None where the file is none of them."""
    if not (folder / _MANIFEST).is_file():
        return None
    manifest = json.loads(read_text(folder / _MANIFEST))
    ours = [m for m in manifest["members"] if _is_member(m, manifest, folder, path, digest)]
    if not ours:
        return None
    source = next(
        (folder / n for n in ("oof.csv", TRAINING_IMAGES) if (folder / n).is_file()), None
    )
    report = json.loads(read_text(folder / "report.json"))
    unknown = _started_unknown({"audit": report["leaks"], "pretrained": report["pretrained"]})
    if source is None:
        return UNKNOWN
    table = read_table(source, needed=["image_name"])
    by_fold = "fold" in table
    if by_fold:
        table = table[table["fold"] != str(ours[0]["fold"])]
    always = frozenset(seen_before(folder))
    seen = dict.fromkeys([*table["image_name"], *always], "")
    return Origin(seen, unknown=unknown, by_fold=by_fold, always=always)


def _is_member(
    member: dict[str, Any], manifest: dict[str, Any], folder: Path, path: Path, digest: str
) -> bool:
    if manifest["sha256"].get(member["file"]) == digest:
        return True
    here: Path = folder / member["file"]
    return here.resolve() == path.resolve()
