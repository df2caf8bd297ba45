"""The flow of images: every box adds up, and what no record tells is said to be unknown."""

from __future__ import annotations

import re

import pytest
from made_content import binary, changed, many
from pydantic import ValidationError

from melanoma.evaluation.number_format import in_percent, threshold
from melanoma.evaluation.render.chart_words import ENGLISH
from melanoma.evaluation.render.charts import draw_charts
from melanoma.evaluation.render.flow import draw_flow
from melanoma.evaluation.report.schema import ReportContent


def boxes(content: ReportContent) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", draw_flow(content, ENGLISH))


def test_every_image_that_was_read_is_left_out_or_scored_and_called() -> None:
    content = binary().content
    images, point = content.data.images, content.thresholds[0]
    flow = {"read": images + 12, "unreadable": 5, "in_test_part": 7, "never_held_out": 0}
    told = boxes(changed(content, flow={**flow, "untrained": 0}))
    assert told[0] == f"images read: {images + 12:,}"
    assert told[1:5] == ["not readable: 5", "excluded: 7", "test part: 7", f"scored: {images:,}"]
    for line in (
        f"flagged: {point.flagged:,}",
        f"melanomas, missed: {point.false_negatives:,}",
        f"others: {point.true_negatives:,}",
    ):
        assert line in told


def test_what_an_external_set_shares_with_the_training_is_counted_among_the_excluded() -> None:
    content = binary().content
    flow = {"read": content.data.images + 9, "unreadable": 5, "trained_on": 4}
    told = boxes(changed(content, flow=flow))
    assert told[1:4] == ["not readable: 5", "excluded: 4", "known from training: 4"]


def test_what_no_record_tells_is_not_known() -> None:
    told = boxes(changed(binary().content, flow=None))
    assert {"images read: not known", "not readable: not known", "excluded: not known"} <= set(told)
    assert told[told.index("reference standard") + 1] == "not recorded"


def test_without_a_threshold_images_are_called_right_or_wrong() -> None:
    content = many(("a", "b", "c")).content
    right = sum(row[i] for i, row in enumerate(content.confusion.counts))
    assert boxes(content)[-2:] == [
        f"called right: {right:,}",
        f"called wrong: {content.data.images - right:,}",
    ]


def test_a_flow_that_loses_an_image_is_refused() -> None:
    content = binary().content
    with pytest.raises(ValidationError, match="flow: what was read does not end in"):
        changed(content, flow={"read": content.data.images + 1, "unreadable": 0})


def test_the_part_up_to_ten_percent_is_drawn_where_the_threshold_lies_there() -> None:
    content = binary().content
    value = content.thresholds[0].value
    assert value < 0.1
    drawn = draw_charts(content)
    for name in ("after", "after_low", "benefit", "benefit_low"):
        assert f"threshold {threshold(value)}</text>" in drawn[name], name
        assert 'class="reference"' in drawn[name]
    assert "before" in drawn
    assert 'class="reference"' not in drawn["before"], "its probabilities are not the bundle's"
    assert ">100 %</text>" not in drawn["after_low"]
    high = content.thresholds[0].model_copy(update={"value": 0.4})
    rest = content.thresholds[1:]
    found = draw_charts(content.model_copy(update={"thresholds": (high, *rest)}))
    assert not {"after_low", "benefit_low"} & set(found)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.03317, "3.3 %"), (0.178, "17.8 %"), (0.00034, "0.034 %"), (0.5, "50.0 %"), (0.0, "0.0 %")],
)
def test_a_threshold_is_a_percentage_that_small_ones_keep_their_digits_in(value, shown) -> None:
    assert threshold(value) == shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("sensitivity 0.95", "sensitivity 95 %"),
        ("sensitivity 0.95 for other cancers", "sensitivity 95 % for other cancers"),
        (
            "melanoma_probability >= 0.0417 (specificity 0.9)",
            "melanoma_probability >= 4.2 % (specificity 90 %)",
        ),
        ("youden", "youden"),
        ("version 0.2.1", "version 0.2.1"),
    ],
)
def test_shares_within_words_are_percentages(words, shown) -> None:
    assert in_percent(words) == shown
