"""A patient's answer: each lesion's own score, and context that only adds."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_content import context_stack

from melanoma.evaluation.report.schema_patients import ContextStack
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.patient_answer import (
    EXPERIMENTAL,
    FEW,
    PatientLesion,
    PatientResult,
    answer_patient,
    missing_context,
)

if TYPE_CHECKING:
    from tiny_bundle import TinyRun

STACK = context_stack(0.0, 1.0, {"above_median": 1.5})
PROBABILITIES = [0.02, 0.3, 0.015, 0.025, 0.001]
THRESHOLD = 0.4


def _lesion(result: PatientResult, number: int) -> PatientLesion:
    """The lesion that a photograph shows."""
    return next(lesion for lesion in result.lesions if number in lesion.images)


def _answer(
    probabilities: list[float | None] = PROBABILITIES,  # type: ignore[assignment]
    stack: ContextStack | None = STACK,
    **options: object,
) -> PatientResult:
    flagged = [value is not None and value >= THRESHOLD for value in probabilities]
    return answer_patient(
        probabilities,
        flagged,
        threshold=THRESHOLD,
        stack=stack,
        missing="" if stack else "no context: none was sealed",
        **options,  # type: ignore[arg-type]
    )


def test_the_lesion_that_stands_out_is_ranked_first_and_told_in_words() -> None:
    first = _answer().lesions[1]
    assert (first.rank_in_patient, first.outlier, first.flagged) == (1, True, False)
    assert "stands out" in first.text and "24 times" in first.text
    assert first.odds_of_others == pytest.approx((0.3 / 0.7) / np.sqrt(0.02 / 0.98 * 0.015 / 0.985))
    assert first.context_flags and "reaches the threshold" in first.text


def test_the_order_of_the_files_changes_no_bit_of_the_answer() -> None:
    ids, sites = ["a", "b", "", "a", ""], ["torso", "", "torso", "torso", "torso"]
    first = _answer(lesion_ids=ids, sites=sites)
    for order in list(permutations(range(5)))[::7]:
        found = _answer(
            [PROBABILITIES[i] for i in order],
            lesion_ids=[ids[i] for i in order],
            sites=[sites[i] for i in order],
        )
        for place, number in enumerate(order):
            ours, theirs = _lesion(found, place), _lesion(first, number)
            assert (ours.context_probability, ours.odds_of_others, ours.rank_in_patient) == (
                theirs.context_probability,
                theirs.odds_of_others,
                theirs.rank_in_patient,
            )


def test_a_site_that_is_called_unknown_is_none_and_one_with_a_space_is_the_same() -> None:
    """/predict/patient takes them as they are typed, a table's column is read before."""
    stack = context_stack(0.0, 1.0, {"site_above_median": 1.0})

    def context(*sites: str) -> list[float | None]:
        result = _answer(stack=stack, sites=sites)
        return [lesion.context_probability for lesion in result.lesions]

    assert context(*["unknown"] * 5) == context("N/A", "?", "null", "-1", " ") == context(*[""] * 5)
    assert context("torso ", " torso", *["torso"] * 3) == context(*["torso"] * 5)
    assert context(*["torso"] * 5) != context(*[""] * 5), "else it shows nothing"


def test_context_never_takes_a_flag_away() -> None:
    """All lesions high: each is unremarkable among the others, and flagged all the same."""
    found = _answer([0.41, 0.9, 0.95, 0.97])
    assert found.lesions[0].context_probability < THRESHOLD  # type: ignore[operator]
    assert all(lesion.flagged for lesion in found.lesions)


def test_a_flagged_photograph_flags_its_lesion_whatever_the_mean_of_the_others() -> None:
    found = _answer([0.45, 0.01, 0.02, 0.03], lesion_ids=["a", "a", "", ""])
    lesion = found.lesions[0]
    assert lesion.images == (0, 1) and lesion.melanoma_probability == pytest.approx(0.23)
    assert (lesion.lowest, lesion.highest, lesion.flagged) == (0.01, 0.45, True)
    assert "2 photographs, which range from 1.0 % to 45.0 %" in lesion.text


def test_a_copy_of_a_benign_lesion_changes_no_other_answer() -> None:
    first, found = _answer(), _answer([*PROBABILITIES, PROBABILITIES[0]])
    assert found.distinct == first.distinct == 5
    for ours, theirs in zip(found.lesions, first.lesions, strict=False):
        assert ours.context_probability == pytest.approx(theirs.context_probability, abs=1e-9)
        assert ours.rank_in_patient == theirs.rank_in_patient


def test_fewer_than_three_lesions_have_the_single_image_answer_and_it_is_said() -> None:
    for probabilities in ([0.3], [0.3, 0.001], [0.3, 0.001, 0.001]):  # two are one
        found = _answer(probabilities)
        assert FEW in found.notes and found.lesions[0].text == FEW
        assert found.lesions[0].context_probability == pytest.approx(0.3)
        assert found.lesions[0].rank_in_patient is found.lesions[0].outlier is None


def test_without_a_stack_there_are_ranks_and_no_probability_with_context() -> None:
    found = _answer(stack=None)
    assert EXPERIMENTAL in found.notes and "no context: none was sealed" in found.notes
    assert {lesion.context_probability for lesion in found.lesions} == {None}
    assert [lesion.rank_in_patient for lesion in found.lesions] == [3, 1, 4, 2, 5]


def test_without_a_threshold_a_lesion_is_flagged_as_its_photographs_are() -> None:
    result = answer_patient(PROBABILITIES, [False, True, *[False] * 3], threshold=None, stack=STACK)
    assert [lesion.flagged for lesion in result.lesions] == [False, True, False, False, False]
    assert not any(lesion.context_flags for lesion in result.lesions)


@pytest.mark.slow
def test_why_a_bundle_has_no_context_is_said(trained: TinyRun) -> None:
    bundle = load_bundle(trained.folder)
    stated = bundle.report.patients
    assert bundle.context is None and stated is not None and stated.stack is None
    assert missing_context(bundle) == stated.status != ""
    assert missing_context(replace(bundle, context=STACK)) == ""

    def with_patients(patients: object) -> Bundle:
        return replace(bundle, report=bundle.report.model_copy(update={"patients": patients}))

    moved = with_patients(stated.model_copy(update={"stack": STACK}))
    assert missing_context(moved) == (
        "no context: the bundle was moved to another prevalence than its stack's"
    )
    assert missing_context(with_patients(None)) == (
        "no context: this bundle was sealed without patients"
    )


def test_photographs_without_a_score_are_left_out() -> None:
    found = _answer([None, *PROBABILITIES])
    assert [lesion.images for lesion in found.lesions] == [(n,) for n in range(1, 6)]
    assert _answer([None, None]).lesions == ()


def test_two_lesions_that_are_both_unknown_are_two() -> None:
    found = _answer([0.45, 0.01, 0.02, 0.03], lesion_ids=["unknown", "Unknown", "-1", "-1"])
    assert [lesion.images for lesion in found.lesions] == [(0,), (1,), (2,), (3,)]
    assert {lesion.lesion_id for lesion in found.lesions} == {None}
