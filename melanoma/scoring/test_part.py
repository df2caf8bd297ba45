"""The test part of a fold file: scored once by the sealed ensemble, reported like any external set.

WEIGHTS/test/  member_logits.npy  scored.json          what each member said, and who they are
               report.json  report.html  scores.csv    by the bundle's calibration and thresholds
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from melanoma.data.arrays import ImageArray
from melanoma.data.folds import FoldTable
from melanoma.data.leaks import LeakAudit
from melanoma.data.readers.table import LesionTable
from melanoma.errors import DataError
from melanoma.evaluation.render.report_files import save_report
from melanoma.evaluation.report.build import Report
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema_parts import LeakAudit as Overlap
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.external_set import (
    ExternalScores,
    build_external_report,
    external_rows,
    score_external,
)
from melanoma.scoring.scorer import Scorer
from melanoma.storage import digest_of, read_text, sha256_of, write_atomic, write_json, write_text
from melanoma.types import Floats, Progress

LOGITS, RECORD = "member_logits.npy", "scored.json"


@dataclass(frozen=True)
class HoldoutScores:
    """The members' logits for the test part; `reused` where an earlier evaluate had scored it.

    `earlier` counts other models that it was scored by from the same folder.
    """

    scores: ExternalScores
    reused: bool
    earlier: int


def score_holdout(
    scorer: Scorer,
    folds: FoldTable,
    array: ImageArray,
    recipe: Recipe,
    folder: Path,
    *,
    progress: Progress,
) -> HoldoutScores:
    """Every member's logits for the test part, from `folder` when these members gave them before.

    Calibration and thresholds may have changed since: they are not in the logits. Raises DataError
    when the array lacks an image of the test part, or was not what the members were trained from.
    """
    _require_its_array(scorer, folds, array)
    table = LesionTable(folds.test, array.path.parent)
    named = recipe.model_copy(update={"name": f"{recipe.name}, test part"})
    key = _key(scorer, folds, array)
    record = _read_record(folder)
    earlier = [other for other in record.tested if other != key]
    logits = _read_logits(folder, record, key)
    reused = logits is not None
    if logits is None:
        logits = score_external(scorer, table, array, named, progress=progress).member_logits
        _write(folder, logits, _Record(key, [*earlier, key], ""))
    return HoldoutScores(ExternalScores(table, named, array.digest, logits), reused, len(earlier))


def report_holdout(
    scorer: Scorer,
    holdout: HoldoutScores,
    recipe: Recipe,
    folder: Path,
    *,
    audit: LeakAudit,
    by: tuple[str, ...] = (),
    seed: int,
    names: bool = False,
) -> Report:
    """The test part's report by the bundle as it is, written to `folder` with scores.csv.

    `audit` is of what stands in the test part and in training.
    """
    report = build_external_report(
        scorer,
        holdout.scores,
        overlap=Overlap.model_validate(audit.as_facts()),
        by=by,
        resamples=recipe.evaluation.resamples,
        seed=seed,
        scored_before=holdout.earlier,
    )
    rows = external_rows(holdout.scores, report)
    text = rows.to_csv(index=False, float_format="%.17g", lineterminator="\n")
    write_text(folder / "scores.csv", text)
    if not names:
        report = replace(report, content=without_names(report.content))
    save_report(report, recipe, folder, card=False)
    return report


def _require_its_array(scorer: Scorer, folds: FoldTable, array: ImageArray) -> None:
    trained = scorer.bundle.report.digests["array_digest"]
    if array.digest != trained:
        raise DataError(
            f"{array.path} (digest {array.digest[:12]}) is not the array that the folds were "
            f"trained from ({trained[:12]}), so its test part is not theirs; name theirs with "
            "--arrays DIR"
        )
    absent = [name for name in folds.test["image_name"] if name not in array.row_of]
    if absent:
        raise DataError(f"{array.path} lacks {len(absent)} images of the test part: {absent[0]}")


class _Record(NamedTuple):
    """Which members gave the logits, all that ever did, and the file's sha256."""

    key: str
    tested: list[str]
    sha256: str


def _key(scorer: Scorer, folds: FoldTable, array: ImageArray) -> str:
    """Of all that decides a member's logit of an image, and of the images."""
    bundle = scorer.bundle
    return digest_of(
        [
            [(member.fold, sha256_of(member.file)) for member in bundle.members],
            [bundle.backbone, bundle.normalize, scorer.views],
            [folds.digest, array.digest],
        ]
    )


def _read_record(folder: Path) -> _Record:
    try:
        return _Record(**json.loads(read_text(folder / RECORD)))
    except FileNotFoundError:
        return _Record("", [], "")
    except (ValueError, TypeError) as error:
        # What it counted is lost, and a count that begins anew would be a lie.
        raise DataError(
            f"{folder / RECORD} is damaged: it says which models the test part was scored by; "
            f"remove {folder} to score it again"
        ) from error


def _read_logits(folder: Path, record: _Record, key: str) -> Floats | None:
    """The logits of these members; None where there are none, or a file that is not as written."""
    path = folder / LOGITS
    if record.key != key or not path.is_file() or sha256_of(path) != record.sha256:
        return None
    logits: Floats = np.load(path, allow_pickle=False)
    return logits


def _write(folder: Path, logits: Floats, record: _Record) -> None:
    buffer = io.BytesIO()
    np.save(buffer, logits, allow_pickle=False)
    write_atomic(folder / LOGITS, lambda file: file.write(buffer.getvalue()))
    record = record._replace(sha256=sha256_of(folder / LOGITS))
    write_json(folder / RECORD, record._asdict())
