"""A fold's facts, run.json: what it was started with, and once it is finished what came out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from melanoma.errors import FoldError, WeightsError
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.storage import read_text, write_json

_SHOWN = 3  # names of images in a sentence
# Fields that run.json has only where there is something to say.
_OPTIONAL = ("starting_weights", "own_files", "embeddings", "sources", "teacher", "auxiliary")


class StartingWeights(BaseModel):
    """A fold's start: `overlap` are the held-out images that its weights were trained on.

    `seen` says how many images they are known to have seen; `unknown`, that they may have seen
    others too. Held out are the fold's own images and those of a test part.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    fold: int
    seen: int = 0
    unknown: bool = False
    by_fold: bool = False
    overlap: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """The leak as a report says it; nothing where there is none."""
        if not self.overlap:
            return ()
        shown = ", ".join(self.overlap[:_SHOWN])
        more = ", ..." if len(self.overlap) > _SHOWN else ""
        return (
            f"{len(self.overlap)} held-out images of fold {self.fold} that its starting weights "
            f"were trained on ({shown}{more})",
        )

    def require_clean(self, *, allow: bool) -> StartingWeights:
        """Itself. Raises FoldError where it leaks, unless `allow`."""
        if not self.overlap or allow:
            return self
        template = re.sub(r"fold_\d+(?=[/.])", "fold_{fold}", self.source)
        advice = "start from weights that never saw them"
        if self.by_fold and template != self.source:
            advice = f"start each fold from the same fold's weights, --pretrained '{template}'"
        raise FoldError(
            f"{self.source} leaks: {self.findings[0]}; {advice}, or pass --allow-leak and the "
            "report will say so"
        )


class SourceFacts(BaseModel):
    """What a source brought to a fold: `images` that trained, and those left out because they show
    what is held out. The other counts are of its table: `classes` are the recipe's, of rows that
    are of one for certain."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    digest: str
    images: int
    left_out: int
    weight: float
    classes: dict[str, int] = {}
    of_several: int = 0  # labeled with several classes, of which each row is one
    soft: int = 0  # with a teacher's probability
    unlabeled: int = 0
    teacher: str = ""


class RunStart(BaseModel):
    """What is known before the first batch, in the order of run.json.

    What an earlier version did not write is its default here.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    fold: int
    recipe_digest: str
    folds_digest: str
    array_digest: str
    decoder: int | None = 1  # version of the decoder that made the array
    view_order: int = 1  # of the views that its held-out images were scored over
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
    starting_weights: StartingWeights | None = None
    own_files: dict[str, str] | None = None  # sha256 of the recipe's own Python files
    embeddings: str | None = None  # the file of a frozen backbone's, where there is one
    sources: tuple[SourceFacts, ...] | None = None
    teacher: str | None = None  # what taught it beside the labels, and the digest of what it said
    auxiliary: str | None = None  # sha256 of what loss.auxiliary's column says
    finished: bool = False

    def finish(self, **reached: Any) -> RunFacts:
        """The same of a finished fold, with the further fields of RunFacts."""
        return RunFacts.model_validate({**dict(self), **reached, "finished": True})

    def to_json(self) -> dict[str, Any]:
        """run.json's values; those of _OPTIONAL only where there are some, `finished` last."""
        values = self.model_dump(mode="json")
        for optional in _OPTIONAL:
            if values[optional] is None:
                del values[optional]
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
        text = read_text(folder / "run.json")
        start = RunStart.model_validate_json(text)
        return RunFacts.model_validate_json(text) if start.finished else start
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValidationError, ValueError, OSError) as error:
        raise WeightsError(
            f"{folder / 'run.json'} is damaged; --resume never starts the fold again"
        ) from error


def is_finished(folder: Path) -> bool:
    """Whether the fold in `folder` is finished. Raises WeightsError when run.json is damaged."""
    facts = read_facts(folder)
    return facts is not None and facts.finished


def write_facts(folder: Path, facts: RunStart) -> None:
    """Write FOLDER/run.json."""
    write_json(folder / "run.json", facts.to_json())
