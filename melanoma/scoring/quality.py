"""quality: what an answer says of the photograph itself, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from melanoma.data.images import Pixels
from melanoma.data.square_quality import SquareMeasures, measure_square
from melanoma.evaluation.measure.picture_quality import find_reasons
from melanoma.evaluation.report.schema_quality import QualityLimits

Reason = Literal[
    "too_dark",
    "too_bright",
    "no_color",
    "not_sharp",
    "too_compressed",
    "lesion_too_small",
    "lesion_off_center",
]
# What is wrong, and what to do. Light first: without it nothing else can be judged.
ADVICE: dict[Reason, str] = {
    "too_dark": "It is too dark: use more light.",
    "too_bright": "It is too bright: use less light, or no flash.",
    "no_color": "It has hardly any color: send it in color, and wipe the lens.",
    "not_sharp": "It is not sharp: hold still, focus on the lesion, and use the original file.",
    "too_compressed": "Its file was compressed too strongly: send the original file.",
    "lesion_too_small": "The lesion is too small in it: go closer.",
    "lesion_off_center": "The lesion is not in the middle: move the square over the lesion.",
}
_AGAIN = "Take the photograph again; if that fails, have a doctor look at the lesion."


@dataclass(frozen=True)
class Quality:
    """The measures of a square, and the codes of what stops it; none where it is good enough."""

    measures: SquareMeasures
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing stops it."""
        return not self.reasons

    @property
    def unscorable(self) -> str | None:
        """Why this photograph cannot be scored, and what to do; None where it can."""
        if self.ok:
            return None
        return f"This photograph is not good enough to score. {self.advice} {_AGAIN}"

    @property
    def advice(self) -> str | None:
        """What is wrong and what to do, a sentence each; None where nothing is."""
        return " ".join(text for code, text in ADVICE.items() if code in self.reasons) or None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the measures, `ok`, `reasons` and `advice`."""
        return {
            **asdict(self.measures),
            "ok": self.ok,
            "reasons": list(self.reasons),
            "advice": self.advice,
        }


def judge_square(square: Pixels, limits: QualityLimits, *, compressed: bool = False) -> Quality:
    """The quality of (S, S, 3) uint8 RGB by a bundle's limits.

    `compressed` says that the photograph was compressed too strongly, which its square does not
    show (melanoma.data.compression).
    """
    measures = measure_square(square)
    reasons = find_reasons(measures, limits)
    return Quality(measures, (*reasons, "too_compressed") if compressed else reasons)
