"""An answer at another prevalence: numbers and sentences move together, flags and sets stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.errors import RecipeError
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.evaluation.report.schema_points import NearScores
from melanoma.evaluation.report.served_move import served_move
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.operating import served_near_scores
from melanoma.scoring.frequency import natural_frequency, share_of
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def shipped() -> Scorer:
    return Scorer(load_bundle(SHIPPED))


def _answers(scorer: Scorer, count: int = 60) -> list[Prediction]:
    members = np.random.default_rng(4).dirichlet([0.3, 0.4, 0.5, 0.1, 0.2, 2.0, 0.1], (count, 5))
    return [scorer.answer(one) for one in members]


@pytest.mark.parametrize("wanted", [0.001, 0.02, 0.6])
def test_probabilities_and_thresholds_move_and_flags_and_sets_stay(
    shipped: Scorer, wanted: float
) -> None:
    trained = shipped.bundle.prevalence
    shift = logit(wanted) - logit(trained)
    for before in _answers(shipped):
        after = shipped.at_prevalence(before, wanted)
        assert before.melanoma_probability is not None and after.threshold is not None
        expected = expit(logit(before.melanoma_probability) + shift)
        assert after.melanoma_probability == pytest.approx(expected)
        assert after.by_class["melanoma"] == pytest.approx(expected)
        assert sum(after.by_class.values()) == pytest.approx(1)
        assert after.flagged == before.flagged
        assert after.flagged == (after.melanoma_probability >= after.threshold.value)
        assert [p.flagged for p in after.thresholds] == [p.flagged for p in before.thresholds]
        assert before.verdict is not None and after.verdict is not None
        assert after.verdict.code == before.verdict.code
        assert before.set is not None and after.set is not None
        assert {*after.set.classes} == {*before.set.classes, after.prediction}
        assert after.prevalence == wanted
        assert after.frequency is not None
        assert f"where {share_of(wanted)} are" in after.frequency.text
        assert after.probability == max(after.by_class.values()) == after.by_class[after.prediction]
    there_and_back = shipped.at_prevalence(after, trained or 0.0)
    assert there_and_back.by_class == pytest.approx(before.by_class)


def test_a_copy_that_was_moved_says_of_whole_lesions_what_a_moved_answer_says(
    shipped: Scorer,
) -> None:
    report = retarget_report(shipped.bundle.report, 0.02)
    there = replace(
        shipped.bundle, move=served_move(report), near_scores=served_near_scores(report)
    )
    told = set()
    for before in _answers(shipped):
        found = shipped.at_prevalence(before, 0.02)
        assert found.melanoma_probability is not None
        assert natural_frequency(found.melanoma_probability, 0.02, there) == found.frequency
        further = shipped.at_prevalence(before, 0.3)
        assert further.melanoma_probability is not None
        assert natural_frequency(further.melanoma_probability, 0.3, there) == further.frequency
        assert found.frequency is not None
        told.add((found.frequency.low, found.frequency.high))
    assert len(told) > 5


def test_a_threshold_that_was_asked_for_stands_at_the_answers_prevalence(shipped: Scorer) -> None:
    answer = next(a for a in _answers(shipped) if a.flagged)
    moved = shipped.at_prevalence(answer, 0.01)
    asked = shipped.flag_from(moved, moved.melanoma_probability or 0.0)
    assert asked.flagged and asked.threshold is not None
    assert asked.threshold.value == moved.melanoma_probability
    same = shipped.flag_from(answer, answer.melanoma_probability or 0.0).threshold
    assert same is not None  # what it reaches is that of the same photographs
    assert asked.threshold.sensitivity == same.sensitivity


@pytest.mark.parametrize("wanted", [0.0, 5e-324, 1 - 1e-16, 1.0, -1.0, float("nan")])
def test_what_is_no_share_is_refused(shipped: Scorer, wanted: float) -> None:
    with pytest.raises(RecipeError, match=r"a share from 0\.000001 to 0\.999999"):
        shipped.at_prevalence(_answers(shipped, 1)[0], wanted)


def test_a_bundle_without_melanoma_has_no_prevalence_to_move(shipped: Scorer) -> None:
    bare = replace(shipped.bundle, melanoma=(), thresholds=(), other_cancer=None)
    calibration = replace(bare.calibration, prevalence=None)
    scorer = Scorer(replace(bare, calibration=calibration), members=shipped.members)
    answer = _answers(scorer, 1)[0]
    assert answer.frequency is None
    with pytest.raises(RecipeError, match="names no melanoma class"):
        scorer.at_prevalence(answer, 0.1)


@pytest.mark.parametrize(
    ("probability", "of", "said"),
    [
        (0.031, 100, "Of 100 lesions with such a score about 3 are melanomas ("),
        (0.0102, 100, "about 1 is a melanoma ("),
        (0.004, 1000, "Of 1,000 lesions with such a score about 4 are melanomas ("),
        (0.0001, 1000, "fewer than 1 is a melanoma ("),
        (0.998, 100, "more than 99 are melanomas ("),
    ],
)
def test_a_probability_is_said_in_whole_lesions_within_what_was_found(
    shipped: Scorer, probability: float, of: int, said: str
) -> None:
    prevalence = shipped.bundle.prevalence or 0.0
    found = natural_frequency(probability, prevalence, shipped.bundle)
    assert found.low is not None and found.high is not None
    assert found.of == of
    assert said in found.text
    assert found.text.endswith("), where 11 in 100 are.")
    assert found.low / of <= probability <= found.high / of
    near = [b for b in shipped.bundle.near_scores if b.start <= probability][-1]
    assert found.low / of <= near.low + 1e-9 and found.high / of >= near.high - 1e-9
    older = natural_frequency(probability, prevalence, replace(shipped.bundle, near_scores=()))
    assert (older.low, older.high) == (None, None)
    assert "(" not in older.text


def test_the_page_says_that_ends_reach_to_the_answer_s_own_number(shipped: Scorer) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/how-to/prevalence.md"
    *_, near, above = shipped.bundle.near_scores
    found = natural_frequency(0.63, shipped.bundle.prevalence or 0.0, shipped.bundle)
    said = (
        f"as from {near.start:.2f} to {above.start:.2f} of the shipped model, where "
        f"{100 * near.low:.0f} to {100 * near.high:.0f} of 100 were melanomas and an answer of "
        f'63 % says "{found.low} to {found.high}"'
    ).replace("0.", ".")
    assert said in " ".join(page.read_text().split())


def test_ends_that_are_whole_are_not_rounded_outwards(shipped: Scorer) -> None:
    # 0.07 * 100 is a hair above 7, 0.29 * 100 a hair below 29.
    for low, high in ((0.05, 0.07), (0.29, 0.31)):
        near = NearScores(start=0.0, groups=100, share=low, low=low, high=high)
        bundle = replace(shipped.bundle, near_scores=(near,))
        found = natural_frequency(low + 0.01, bundle.prevalence or 0.0, bundle)
        assert (found.low, found.high) == (round(100 * low), round(100 * high))


def test_what_is_unscorable_has_no_frequency(shipped: Scorer) -> None:
    members = np.full((5, 7), 1 / 7)
    assert shipped.answer(members).frequency is not None
    assert shipped.answer(members, unscorable="No lesion.").frequency is None
