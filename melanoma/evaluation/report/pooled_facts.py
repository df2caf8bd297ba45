"""What the folds' runs say, as one: their leak audits and what they started from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from melanoma.evaluation.report.schema_parts import LeakAudit, StartingWeights
from melanoma.evaluation.report.schema_sources import SourceLine


class Started(Protocol):
    """A fold's audit, and the weights that it started from."""

    @property
    def audit(self) -> LeakAudit:
        """The audit of its fold file and start."""

    @property
    def pretrained(self) -> Any:
        """What run.json says of the starting weights."""


def pool_audits(facts: Sequence[Started]) -> LeakAudit:
    """The folds' audits as one: the fold file's is the same, what each started from its own."""
    audits = [f.audit for f in facts]
    starts = [audit.starting_weights for audit in audits if audit.starting_weights]
    seen = sum(start.held_out_seen for start in starts)
    unknown = any(start.unknown for start in starts)
    pooled = StartingWeights(held_out_seen=seen, unknown=unknown) if starts else None
    return audits[0].model_copy(
        update={
            "allowed": any(audit.allowed for audit in audits),
            "findings": tuple(dict.fromkeys(line for a in audits for line in a.findings)),
            "starting_weights": pooled,
        }
    )


def pool_pretrained(facts: Sequence[Started]) -> Any:
    """The folds' starting weights in a few words."""
    first, *others = dict.fromkeys(f.pretrained for f in facts)
    return f"{first}; {len(others)} folds from other files" if others else first


class SourceCounts(Protocol):
    """What a fold's facts say of a source."""

    name: str
    images: int
    left_out: int
    weight: float
    classes: dict[str, int]
    of_several: int
    soft: int
    unlabeled: int
    teacher: str


class WithSources(Protocol):
    """A fold, and what its sources brought."""

    fold: int

    @property
    def sources(self) -> Sequence[SourceCounts] | None:
        """The facts' sources."""


def pool_sources(facts: Sequence[WithSources]) -> tuple[SourceLine, ...]:
    """The folds' sources, each once: its table is the same in all, what is left out is a fold's."""
    lines = []
    for number, source in enumerate(facts[0].sources or ()):
        by_fold = {str(f.fold): f.sources[number].left_out for f in facts if f.sources}
        lines.append(
            SourceLine(
                name=source.name,
                images=source.images + source.left_out,
                weight=source.weight,
                classes=source.classes,
                of_several=source.of_several,
                soft=source.soft,
                unlabeled=source.unlabeled,
                left_out=by_fold,
                teacher=source.teacher,
            )
        )
    return tuple(lines)
