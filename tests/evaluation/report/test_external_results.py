"""What a report on another set comes to in the model's own report."""

from __future__ import annotations

from typing import Any

import pytest
from made_content import NO_LEAK, SEVEN, binary, external, many

from melanoma.errors import RecipeError
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.assemble import with_words
from melanoma.evaluation.report.external_results import external_result, with_external
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema_parts import LeakAudit, Measured


def test_a_result_is_what_the_first_threshold_reaches_there() -> None:
    content = external().content
    assert content.external is not None
    told = content.model_copy(
        update={
            "external": content.external.model_copy(
                update={"members_sensitivity": 0.81, "members_specificity": 0.52}
            )
        }
    )
    found, first = external_result(told, source="a clinic"), content.thresholds[0]
    assert (found.name, found.source) == ("ham10000_melanoma", "a clinic")
    assert (found.at, found.threshold) == (first.at, first.value)
    assert len(content.thresholds) > 1 and content.thresholds[1].at != first.at
    assert (found.sensitivity, found.specificity) == (first.sensitivity, first.specificity)
    assert (found.members_sensitivity, found.members_specificity) == (0.81, 0.52)
    assert found.auroc == content.metrics["auroc"]
    assert (found.images, found.positives, found.patients) == (
        content.data.images,
        content.data.positives,
        content.data.patients,
    )
    assert found.date == content.created[:10]


def test_of_a_model_without_a_threshold_nothing_is_known_there() -> None:
    found = external_result(external().content.model_copy(update={"thresholds": ()}))
    assert found.at is None and found.threshold is None
    assert found.sensitivity == found.specificity == Measured(value=None)


def test_the_models_own_report_and_that_of_a_test_part_are_no_results_elsewhere() -> None:
    with pytest.raises(RecipeError, match="no report on an external set"):
        external_result(binary().content)
    content = external().content
    assert content.external is not None
    part = content.external.model_copy(update={"test_part": True})
    with pytest.raises(RecipeError, match="no report on an external set"):
        external_result(content.model_copy(update={"external": part}))


def test_a_later_result_takes_the_place_of_an_earlier_one_and_of_no_training_without() -> None:
    result = external_result(external().content)
    without = result.model_copy(update={"without": ("siim2020",)})
    other = result.model_copy(update={"name": "another"})
    before = binary().content.model_copy(update={"external_results": (result, without, other)})
    newer = result.model_copy(update={"date": "2030-01-01"})
    assert with_external(before, newer).external_results == (without, other, newer)


@pytest.mark.parametrize(
    ("without", "own", "another"),
    [((None,), True, False), (("a",), False, True), ((None, "a"), True, True)],
)
def test_report_and_card_say_whose_results_these_are(
    without: tuple[str | None, ...], own: bool, another: bool
) -> None:
    result, made = external_result(external().content), binary()
    measured = {"members_sensitivity": 0.7, "members_specificity": 0.6, "warnings": ()}
    results = tuple(result.model_copy(update={**measured, "without": one}) for one in without)
    content = made.content.model_copy(update={"external_results": results})
    for page in (render_html(content), render_card(content, made.recipe)):
        assert ("on sets that it was not trained on" in page) == own
        assert ("The finished model has trained on pictures of" in page) == another
    told = render_html(content)
    assert ("specificity 60.0 % at the threshold in use, their mean" in told) == own
    assert ("specificity 60.0 % at the threshold of that model, their mean" in told) == another
    assert (", by a model that had none of them" in told) == another  # in the tile, too


def test_a_result_on_images_that_were_trained_on_is_called_no_test_above_all_figures() -> None:
    result = external_result(external().content, source="a clinic")
    (warning,) = [
        one
        for one in with_external(binary().content, result).warnings
        if one.startswith("what was reached elsewhere, on a clinic, is no test: ")
    ]
    content = with_external(binary().content, result)
    card, page = render_card(content, binary().recipe), render_html(content)
    assert warning in card
    for told in (card, page):
        assert "photographs of a clinic: no test of it." in told
        assert "it was not trained on" not in told
    assert "This is what to expect at another clinic" not in page
    clean = result.model_copy(update={"warnings": ("only 7 positives",)})
    assert "is no test" not in str(with_external(binary().content, clean).warnings)


def test_a_model_without_a_threshold_is_given_none_elsewhere() -> None:
    made = many(SEVEN)
    result = external_result(external().content).model_copy(update={"warnings": ()})
    content = with_external(made.content, result)
    for told in (render_card(content, made.recipe), render_html(content)):
        assert "nothing fitted on them." in told
        assert "at the threshold in use" not in told


@pytest.mark.parametrize("sealed", [lambda content: content, without_names])
def test_a_leak_between_the_model_s_own_folds_is_none_of_a_set_from_elsewhere(sealed: Any) -> None:
    """Trained by --allow-leak: such a set is the one honest test of it."""
    own, elsewhere = binary(leaky=True).content, external().content
    assert elsewhere.external is not None
    clean = elsewhere.external.model_copy(update={"overlap": LeakAudit.model_validate(NO_LEAK)})
    update = {"external": clean, "leaks": own.leaks}
    result = external_result(with_words(elsewhere.model_copy(update=update)))
    assert any(warning.startswith("LEAK") for warning in result.warnings)
    assert "is no test" not in str(with_external(sealed(own), result).warnings)
