"""The paragraph on top: what it says of a report, and when."""

from __future__ import annotations

from typing import Any

import pytest
from made_content import SEVEN, TWENTY_TWO, binary, changed, external, many, undefined

from melanoma.evaluation.number_format import of_hundred, threshold
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.evaluation.report.schema_parts import Measured


def _measured(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def test_it_is_one_paragraph_of_whole_sentences() -> None:
    for made in (binary(), many(SEVEN, ("melanoma",)), many(TWENTY_TWO), external(), undefined()):
        summary = made.content.summary
        assert "\n" not in summary
        assert summary.endswith(".")
        assert "None" not in summary
        assert "  " not in summary
        assert 60 <= len(summary.split()) <= 190


def test_it_counts_images_patients_and_melanomas() -> None:
    content = binary().content
    data = content.data
    assert content.summary.startswith(
        f"{data.images:,} images of {data.patients:,} patients, {data.positives:,} of them mel"
    )
    nameless = data.model_dump() | {"patients": None}
    said = changed(content, data=nameless).summary
    assert f"of {data.groups:,} independent groups of images" in said


@pytest.mark.parametrize(
    ("prevalence", "said"), [(0.51, "51 of 100 images"), (0.018, "18 of 1,000 images")]
)
def test_a_rare_melanoma_is_counted_in_thousands(prevalence: float, said: str) -> None:
    content = binary().content
    calibration = content.calibration.model_dump(mode="json") | {"prevalence": prevalence}
    assert f"where {said} are melanomas" in changed(content, calibration=calibration).summary


def test_a_threshold_is_of_these_images_or_was_set_beforehand() -> None:
    assert "chosen on these images" in binary().content.summary
    assert "chosen beforehand" in external().content.summary


def test_it_says_what_the_threshold_in_use_means() -> None:
    content = binary().content
    point = content.thresholds[0]
    wrongly = Measured(value=1 - (point.specificity.value or 0.0))
    assert f"it flags about {of_hundred(point.sensitivity.value)} (" in content.summary
    assert f"it also flags about {of_hundred(wrongly.value)} (" in content.summary
    # The ends change places: few spared is many flagged.
    low, high = (
        of_hundred(1 - (v or 0.0)) for v in (point.specificity.high, point.specificity.low)
    )
    assert f"({low} to {high})" in content.summary


def test_the_threshold_is_the_one_that_a_moved_bundle_holds_answers_against() -> None:
    content = binary().content
    moved = retarget_report(content, 0.02)
    assert moved.retargeted is not None
    there = moved.retargeted.thresholds[0].value
    assert f"At its threshold of {threshold(there)}, " in moved.summary
    assert threshold(there) != threshold(content.thresholds[0].value)


def test_a_leak_is_told_before_any_score_and_other_warnings_last() -> None:
    leaky = binary(leaky=True).content
    assert leaky.summary.index("Gravest warning: 312 patients") < leaky.summary.index("Shown one")
    quiet = changed(binary().content, warnings=["only 12 positives: the intervals are wide"])
    assert quiet.summary.endswith("Gravest warning: only 12 positives: the intervals are wide.")
    assert "warning" not in changed(quiet, warnings=[]).summary


def test_an_auroc_that_chance_reaches_is_called_that() -> None:
    content = binary().content
    metrics = {k: m.model_dump() for k, m in content.metrics.items()}
    for low, guess in ((0.48, True), (0.52, False)):
        weak = metrics | {"auroc": _measured(0.55, low, 0.62)}
        assert ("no better than guessing" in changed(content, metrics=weak).summary) == guess


@pytest.mark.parametrize(
    ("off", "said"),
    [
        (0, "can be read as the chance of melanoma"),
        (4, "are only roughly the chance of melanoma"),
        (8, "should not be read as the chance of melanoma"),
    ],
)
def test_probabilities_are_judged_by_how_many_bins_agree(off: int, said: str) -> None:
    content = binary().content
    calibration = content.calibration.model_dump(mode="json")
    bins = [
        b
        | {"predicted": 0.5, "observed": 0.5 if i >= off else 0.1}
        | ({"low": 0.4, "high": 0.6} if i >= off else {"low": 0.05, "high": 0.2})
        for i, b in enumerate(calibration["after"]["bins"])
    ]
    calibration["after"]["bins"] = bins
    summary = changed(content, calibration=calibration).summary
    assert said in summary
    assert f"in {len(bins) - off} of {len(bins)} groups" in summary


def test_a_difference_of_a_percentage_point_is_none_however_many_images_there_are() -> None:
    content = binary().content
    calibration = content.calibration.model_dump(mode="json")
    count = len(calibration["after"]["bins"])
    for observed, said in ((0.041, "can be read as"), (0.039, "should not be read as")):
        near = {"predicted": 0.05, "observed": observed, "low": observed, "high": observed}
        calibration["after"]["bins"] = [b | near for b in calibration["after"]["bins"]]
        summary = changed(content, calibration=calibration).summary
        assert f"Its probabilities {said} the chance of melanoma" in summary
        assert f"in {count if observed > 0.04 else 0} of {count} groups" in summary


def test_few_melanomas_leave_calibration_unsaid() -> None:
    assert "cannot be said from so few images" in external().content.summary


def test_without_a_melanoma_class_it_speaks_of_classes_and_flags_nothing() -> None:
    summary = many(TWENTY_TWO).content.summary
    assert "No class of this model is melanoma" in summary
    assert "guessing would reach 5" in summary
    assert "flags about" not in summary


def test_an_external_set_is_not_called_held_out() -> None:
    summary = external().content.summary
    assert "trained on another set" in summary
    assert "had not been trained on that image" not in summary


def test_nothing_defined_is_said_in_words() -> None:
    summary = undefined().content.summary
    assert "cannot be said from these images" in summary
    assert "undefined" not in summary


def test_a_share_is_whole_only_where_it_is() -> None:
    shares = (0.9532, 0.9961, 1.0, 0.0049, 0.0, 0.5)
    assert [of_hundred(v) for v in shares] == [
        "95",
        "more than 99",
        "100",
        "fewer than 1",
        "0",
        "50",
    ]
