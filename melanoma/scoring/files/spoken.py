"""A row of predict as lines for a person: what is said of an image, and of all of them once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from melanoma.evaluation.disclaimer import DISCLAIMER, PICTURES_ONLY
from melanoma.evaluation.number_format import prevalence, short_source, threshold, told_apart
from melanoma.scoring.files.score_files import likeliest_classes
from melanoma.scoring.files.score_rows import Row

_AGAIN = "take another photograph, or have a doctor look at the lesion"
VERDICT_LINES = {
    "unscorable": "unscorable: this picture is none that the model can judge; its probabilities "
    f"mean nothing: {_AGAIN}",
    "other_cancer_likely": "perhaps another skin cancer or a precursor of one: have a doctor look "
    "at it",
    "unsure": "unsure: the model cannot tell what this is; have a doctor look at it",
}
_NEXT = {
    "flagged": "have a doctor look at it soon",
    "not_flagged": "this is no all-clear: have a doctor look at a lesion that is new, changes, "
    "bleeds or worries you",
}
_BELOW = "below the threshold"
NOVEL = (
    "unscorable: this picture does not look like the photographs that the model learned from; "
    f"its probabilities mean nothing: {_AGAIN}"
)


def image_lines(row: Row, melanoma: Collection[str]) -> list[str]:
    """The prediction, whether it is flagged, and why where the two seem to disagree.

    `melanoma` are the classes that count as it.
    """
    if row["error"]:
        return [f"error: {row['error']}"]
    warnings = [f"warning: {row['warnings']}"] if row.get("warnings") else []
    lines = [f"prediction: {row['prediction']} - {row['probability']:.1%}"]
    if row["melanoma_probability"] is not None:
        side = _side(row)
        probability, mark = _told_apart(row)
        bound = f"of {mark}" if side == _BELOW else f"(threshold {mark})"
        lines.append(f"melanoma {probability}, {side} {bound}")
        lines += _disagreement(row, melanoma)
        lines += [_NEXT[code] for code in (row.get("verdict"),) if code in _NEXT]
        if row.get("frequency"):
            lines.append(row["frequency"].rstrip("."))
    if row.get("set"):
        lines.append(f"it may be: {row['set'].replace('; ', ', ')}")
    # First of all: whoever reads one line reads this one.
    notice = NOVEL if row.get("is_novel") else VERDICT_LINES.get(row.get("verdict") or "")
    return [*warnings, *([notice] if notice else []), *lines]


def _side(row: Row) -> str:
    """On which side of the threshold: "not flagged" is said only where that is the verdict."""
    if row["flagged"]:
        return "flagged"
    calm = (row.get("verdict") or "not_flagged") == "not_flagged"
    return "not flagged" if calm else _BELOW


def _told_apart(row: Row) -> tuple[str, str]:
    probability, mark = told_apart(row["melanoma_probability"], row["threshold"])
    return _close(probability), _close(mark)


def _close(text: str) -> str:
    return text.replace(" %", "%")


def ranked_lines(row: Row, count: int) -> list[str]:
    """`NAME 12.34 %` of the `count` likeliest classes."""
    ranked = likeliest_classes(row["by_class"] or {}, count)
    return [f"{name} {100 * probability:.2f} %" for name, probability in ranked]


def common_lines(row: Row, elsewhere: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What holds for all images of a bundle: what pictures it is for, what its threshold reaches,
    here and `elsewhere` (see FileScorer), what its probabilities refer to, and the disclaimer.
    `row` is one of them that has a score."""
    only = PICTURES_ONLY.get(row.get("image_type") or "")
    return [
        *([only.rstrip(".")] if only else []),
        *_reached(row),
        *_elsewhere(elsewhere),
        *probability_lines(row),
        *_unchecked(row),
    ]


def _elsewhere(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line, whatever the number of results."""
    by_source = []
    for result in results:
        source = short_source(result["source"] or result["name"])
        figures = [
            f"{name} {reached['value']:.1%}"
            for name in ("sensitivity", "specificity")
            if (reached := result[name]) and reached["value"] is not None
        ]
        auroc = result["auroc"]["value"]
        figures += [] if auroc is None else [f"AUROC {auroc:.3f}"]
        # An earlier service does not say.
        less = result.get("without")
        by_source.append(
            f"{', '.join(figures) or 'undefined'} on {result['images']:,} images of {source}"
            + (f" (by the same training without {less})" if less else "")
        )
    return [f"elsewhere, at the model's own threshold: {'; '.join(by_source)}"] if by_source else []


def _unchecked(row: Row) -> list[str]:
    if row.get("novelty") is not None:
        return []
    return ["no picture is called unlike the model's own: this bundle has no novelty score"]


def probability_lines(answer: Mapping[str, Any]) -> list[str]:
    """What the probabilities of a row, or of a Prediction's fields, refer to."""
    return [_calibrated(answer), str(answer.get("disclaimer") or DISCLAIMER)]


def _disagreement(row: Row, melanoma: Collection[str]) -> list[str]:
    """Why an image is flagged although another class is likelier, or the other way round."""
    likeliest = row["prediction"]
    if bool(row["flagged"]) == (likeliest in melanoma):
        return []
    _, mark = _told_apart(row)
    rule = f"the threshold ({mark})"
    if row["flagged"]:
        return [
            f"flagged although {likeliest} is the likeliest class: {rule} decides, which lies low "
            "so that few melanomas are missed"
        ]
    return [f"{_side(row)} although {likeliest} is the likeliest class: {rule} decides"]


def _reached(row: Row) -> list[str]:
    if row["threshold"] is None:
        return []
    which = f"threshold {_close(threshold(row['threshold']))} ({row['threshold_at']})"
    if row["sensitivity"] is None or row["specificity"] is None:
        return [f"{which}: its sensitivity and specificity are not known (no curve in the bundle)"]
    return [
        f"{which}: sensitivity {_share(row['sensitivity'])}, specificity "
        f"{_share(row['specificity'])}, on the bundle's held-out images"
    ]


def _share(reached: Mapping[str, float | None]) -> str:
    value, low, high = (reached.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    if low is None or high is None:  # read off the curve, which has some hundred points
        return f"about {value:.1%}"
    return f"{value:.1%} (95 % interval {low:.1%} to {high:.1%})"


def _calibrated(answer: Mapping[str, Any]) -> str:
    known, share = answer.get("calibrated"), answer.get("prevalence")
    if known is None:
        return "whether the probabilities are calibrated is not known"
    text = "probabilities are calibrated" if known else "probabilities are not calibrated"
    if share is None:
        return text
    return f"{text}, for a place where {prevalence(share)} of the images are melanomas"
