"""Verdict: what a score comes to for a person who reads nothing else, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.number_format import percent
from melanoma.recipe.sections import Risk

# In the order in which they go before each other, where several hold.
Code = Literal["unscorable", "flagged", "other_cancer_likely", "unsure", "not_flagged"]
_SEE = "have a doctor look at it"
# Some melanomas are unlike all others, and so are blurred ones: such a score is kept in sight.
_FLAGGED_ALL_THE_SAME = f"Its score would flag it as a possible melanoma: {_SEE} soon."
_NO_ALL_CLEAR = (
    "This is no all-clear: have a doctor look at a lesion that is new, changes, bleeds or worries "
    "you."
)


@dataclass(frozen=True)
class Verdict:
    """`code` is for programs, `text` one or two plain sentences with the next step."""

    code: Code
    text: str


def reason_of(verdict: Verdict | None) -> str | None:
    """Why a picture is unscorable, as make_verdict was told; None of any other verdict."""
    if verdict is None or verdict.code != "unscorable":
        return None
    return verdict.text.removesuffix(f" {_FLAGGED_ALL_THE_SAME}")


def sum_by_risk(by_class: Mapping[str, float], risk: Mapping[str, Risk]) -> dict[str, float]:
    """The calibrated probability of each risk, over its classes; in the order of the recipe."""
    sums: dict[str, float] = {}
    for name, share in by_class.items():
        sums[risk[name]] = sums.get(risk[name], 0.0) + share
    return sums


def make_verdict(
    *,
    flagged: bool,
    by_class: Mapping[str, float],
    other_share: float | None,
    rule: OtherCancer | None,
    unscorable: str | None = None,
    unsure: str | None = None,
) -> Verdict:
    """The verdict of an answer whose bundle names a melanoma class.

    `other_share` is melanoma.evaluation.measure.other_cancer's share, None without a `rule`.
    `unscorable` and `unsure` are the reasons, in sentences that say what to do, where they hold: no
    score counts of a picture that cannot be scored, but a flag is told all the same; no doubt takes
    a flag away.
    """
    if unscorable is not None:
        return Verdict(
            "unscorable", f"{unscorable} {_FLAGGED_ALL_THE_SAME}" if flagged else unscorable
        )
    if flagged:
        return Verdict("flagged", f"Flagged as a possible melanoma: {_SEE} soon.")
    if rule is not None and other_share is not None and other_share >= rule.value:
        return Verdict(
            "other_cancer_likely",
            "Not flagged for melanoma, but it may be another skin cancer or a precursor of one "
            f"({_likeliest(by_class, rule.classes)}): {_SEE} soon.",
        )
    if unsure is not None:
        return Verdict("unsure", unsure)
    if rule is None:
        return Verdict(
            "not_flagged",
            "Not flagged for melanoma; of other skin cancers this model says nothing. "
            + _NO_ALL_CLEAR,
        )
    return Verdict(
        "not_flagged", f"Not flagged, neither for melanoma nor for other cancers. {_NO_ALL_CLEAR}"
    )


def _likeliest(by_class: Mapping[str, float], classes: Sequence[str]) -> str:
    name = max(classes, key=lambda one: by_class[one])
    return f"{name} {percent(by_class[name])}"
