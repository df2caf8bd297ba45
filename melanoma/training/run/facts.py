"""A fold's facts, run.json: what it was started with, and once it is finished what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from melanoma.errors import WeightsError
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.storage import write_json


class RunStart(BaseModel):
    """What is known before the first batch, in the order of run.json.

    What an earlier version did not write is its default here.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    fold: int
    recipe_digest: str
    folds_digest: str
    array_digest: str
    seed: int = 0
    training_images: int | None = None
    validation_images: int | None = None
    training_positives: int | None = None
    validation_positives: int | None = None
    training_classes: dict[str, int] | None = None
    validation_classes: dict[str, int] | None = None
    leaks: tuple[str, ...] = ()
    audit: LeakAudit
    device: str = "unknown"
    versions: dict[str, str] = {}
    pretrained: Any = "unknown"
    embeddings: str | None = None  # the file of a frozen backbone's, where there is one
    finished: bool = False

    def finish(self, **reached: Any) -> RunFacts:
        """The same of a finished fold, with the further fields of RunFacts."""
        return RunFacts.model_validate({**dict(self), **reached, "finished": True})

    def to_json(self) -> dict[str, Any]:
        """run.json's values; `embeddings` only where there are some, `finished` last."""
        values = self.model_dump(mode="json")
        if self.embeddings is None:
            del values["embeddings"]
        return values | {"finished": values.pop("finished")}


class RunFacts(RunStart):
    """A finished fold's: `kept` names the epoch whose weights it has, `prior_shift` what to take
    from its logits, `files` their sha256."""

    kept: Literal["best", "last"]
    best_epoch: int
    last_epoch: int
    prior_shift: float | tuple[float, ...]
    precision: str = "float32"
    seconds: float = 0.0
    skipped_steps: int = 0
    finished: bool = True
    files: dict[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        """The same; `files` after `finished`."""
        values = super().to_json()
        return values | {"files": values.pop("files")}


def read_facts(folder: Path) -> RunStart | RunFacts | None:
    """run.json; None when no run was started. Raises WeightsError when it is damaged."""
    try:
        text = (folder / "run.json").read_text()
        start = RunStart.model_validate_json(text)
        return RunFacts.model_validate_json(text) if start.finished else start
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, OSError) as error:
        raise WeightsError(
            f"{folder / 'run.json'} is damaged; --resume never starts the fold again"
        ) from error


def write_facts(folder: Path, facts: RunStart) -> None:
    """Write FOLDER/run.json."""
    write_json(folder / "run.json", facts.to_json())
