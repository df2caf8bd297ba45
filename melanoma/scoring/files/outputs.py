"""What predict writes in the end: the table, or the submission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from melanoma.errors import DataError
from melanoma.scoring.files.score_rows import save_rows
from melanoma.scoring.files.submission import write_submission


def save_outputs(
    rows: Sequence[dict[str, Any]],
    errors: list[dict[str, Any]],
    *,
    submission: Path | None,
    target: Path | None,
    melanoma: Sequence[str] = (),
) -> None:
    """Write the submission, or the table, or nothing where there is no target. `melanoma` names the
    classes that count as it.

    Raises StorageError; DataError where a submission would lack the images of `errors`.
    """
    if target is None:
        return
    if submission is not None:
        refuse_errors(errors)
        probabilities = {row["image_name"]: row["melanoma_probability"] for row in rows}
        by_class = {row["image_name"]: row["by_class"] for row in rows}
        write_submission(submission, probabilities, target, by_class=by_class, melanoma=melanoma)
        return
    save_rows(rows, target)


def refuse_errors(errors: list[dict[str, Any]]) -> None:
    """Raise DataError where images have no score."""
    if errors:
        shown = "; ".join(f"{row['image_name']}: {row['error']}" for row in errors[:3])
        count = f"{len(errors)} images have" if len(errors) > 1 else "1 image has"
        raise DataError(f"{count} no score ({shown})")
