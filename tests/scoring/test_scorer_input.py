"""What a scorer is given: squares and views that its bundle was evaluated with, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from melanoma.errors import DataError, RecipeError
from melanoma.scoring.scorer import Scorer

WRONG_SQUARES = {
    "scaled already": np.zeros((1, 32, 32, 3), np.float32),
    "of another network": np.zeros((1, 48, 48, 3), np.uint8),
    "one without a batch": np.zeros((32, 32, 3), np.uint8),
    "channels first": np.zeros((1, 3, 32, 32), np.uint8),
}


@pytest.mark.parametrize("squares", WRONG_SQUARES.values(), ids=WRONG_SQUARES)
def test_squares_that_the_bundle_does_not_read_get_no_answer(scorer: Scorer, squares: Any) -> None:
    """A network answers any size and any scaling, with a number that nobody evaluated."""
    for ask in (scorer.score_squares, scorer.member_answers, scorer.member_logits):
        with pytest.raises(DataError, match=r"the bundle reads \(B, 32, 32, 3\) uint8 RGB"):
            ask(squares)


@pytest.mark.parametrize("views", [-1, 0, 9])
def test_views_that_a_square_has_not_are_refused(scorer: Scorer, views: int) -> None:
    with pytest.raises(RecipeError, match="1 to 8 symmetries"):
        Scorer(scorer.bundle, views=views, members=scorer.members)


def test_no_photographs_have_no_answers(scorer: Scorer) -> None:
    assert scorer.score_photographs([]) == []
    assert scorer.score_squares(np.zeros((0, 32, 32, 3), np.uint8)) == []


@pytest.mark.parametrize("kind", [list, tuple, torch.from_numpy, np.asfortranarray])
def test_a_batch_may_be_a_list_or_a_view(scorer: Scorer, kind: Any) -> None:
    squares = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = scorer.member_probabilities(squares)
    for given, answers in ((kind(squares), expected), (squares[::-1], expected[::-1])):
        assert scorer.member_probabilities(given) == pytest.approx(answers, abs=1e-6)
        scored = [one.by_fold for one in scorer.score_squares(given)]
        assert scored == [one.by_fold for one in scorer.score_squares(np.array(given))]
