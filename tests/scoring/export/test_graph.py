"""A bundle as one graph: views, calibration, prior shift and classes are inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from melanoma.errors import MelanomaError
from melanoma.evaluation.prevalence import Move
from melanoma.scoring.bundle.bundle import Bundle, Member
from melanoma.scoring.export import graph
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # together they take many seconds


def test_the_calibration_the_prior_shift_and_the_views_are_in_the_graph(bundle: Bundle) -> None:
    assert any(np.any(np.asarray(member.prior_shift)) for member in bundle.members)
    squares = torch.from_numpy(graph.check_squares(bundle.size))
    found = {}
    for views in (1, 6):
        with torch.inference_mode():
            found[views] = graph.make_graph(bundle, views)(squares)[1].numpy()
        expected = Scorer(bundle, views=views).member_probabilities(squares.numpy())
        assert np.abs(found[views] - expected).max() < 1e-6
    assert np.abs(found[6] - found[1]).max() > 1e-5


def test_several_classes_are_a_softmax(of_classes: Bundle) -> None:
    squares = torch.from_numpy(graph.check_squares(of_classes.size))
    with torch.inference_mode():
        mean, by_member = graph.make_graph(of_classes, 2)(squares)
    expected = Scorer(of_classes, views=2).member_probabilities(squares.numpy())
    assert np.abs(by_member.numpy() - expected).max() < 1e-6
    assert np.abs(mean.numpy() - expected.mean(axis=1)).max() < 1e-6


def _apart(bundle: Bundle) -> tuple[Member, ...]:
    """The members, as if each had been trained where melanoma is rarer than for the one before."""
    shifts = [np.zeros(bundle.outputs) for _ in bundle.members]
    for number, shift in enumerate(shifts):
        shift[-1] = 2 * number
    return tuple(
        replace(member, prior_shift=tuple(shift) if bundle.outputs > 1 else float(shift[0]))
        for member, shift in zip(bundle.members, shifts, strict=True)
    )


@pytest.mark.parametrize("kind", ["bundle", "of_classes"])
def test_a_moved_bundle_moves_the_mean_in_the_graph(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """And each member for its own sake: the mean of those is another number."""
    here: Bundle = request.getfixturevalue(kind)
    # One of the classes, so that a softmax has a melanoma too.
    move, melanoma = Move(1.7, -2.0, 0.02), here.classes[1:2]
    there = replace(here, melanoma=melanoma, move=move, members=_apart(here))
    squares = torch.from_numpy(graph.check_squares(here.size))
    with torch.inference_mode():
        mean, by_member = graph.make_graph(there, 1)(squares)
    scorer = Scorer(there, views=1)
    answers = [scorer.answer(row) for row in scorer.member_probabilities(squares.numpy())]
    expected = np.array([[*answer.by_class.values()] for answer in answers])
    assert np.abs(mean.numpy() - expected).max() < 1e-6
    shown = by_member.numpy()[..., there.melanoma_columns].sum(axis=-1)
    assert np.abs(shown - [answer.by_fold for answer in answers]).max() < 1e-6
    found = graph.require_equal(by_member.numpy(), there, squares.numpy(), views=1, what="it")
    assert found < 1e-6
    assert np.abs(mean.numpy() - by_member.numpy().mean(axis=1)).max() > 1e-4


def test_what_differs_from_the_bundle_is_refused(bundle: Bundle) -> None:
    squares = graph.check_squares(bundle.size)
    found = Scorer(bundle, views=1).member_probabilities(squares)
    same = graph.require_equal(found + 5e-5, bundle, squares, views=1, what="the file")
    assert same == pytest.approx(5e-5)
    with pytest.raises(MelanomaError, match=r"the file differs from the bundle by 0\.0002"):
        graph.require_equal(found + 2e-4, bundle, squares, views=1, what="the file")
    with pytest.raises(MelanomaError, match="by nan"):
        graph.require_equal(found * np.nan, bundle, squares, views=1, what="the file")
