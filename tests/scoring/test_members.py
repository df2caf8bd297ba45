"""The seam between a bundle and whatever runs its networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from melanoma.models import seed_mean
from melanoma.scoring.backends import torch_members
from melanoma.scoring.members import Outputs, WatchedMembers
from melanoma.scoring.scorer import Scorer


class Table:
    """A backend of its own: it looks the logits up by the squares' mean brightness."""

    backend, folds, precision = "table", (1, 0), "float32"

    def logits(self, squares: np.ndarray, *, views: int) -> np.ndarray:
        bright = squares.mean(axis=(1, 2, 3)) / 255
        return np.stack([views * bright, 1 - bright], axis=1)[..., None]

    def outputs(self, squares: np.ndarray, *, views: int) -> Outputs:
        bright = squares.mean(axis=(1, 2, 3), dtype=np.float32)
        return Outputs(self.logits(squares, views=views), np.tile(bright[:, None, None], (1, 2, 3)))

    def alone(self) -> list[Any]:
        raise NotImplementedError

    def faster(self) -> Table:
        return self


def test_another_backend_answers_through_the_same_scorer(trained: Any, scorer: Scorer) -> None:
    shifted = replace(
        scorer.bundle,
        members=tuple(replace(m, prior_shift=10.0 * m.fold) for m in scorer.bundle.members),
    )
    squares = trained.array.rows([0, 1])
    answers = Scorer(shifted, members=Table()).score_squares(squares, [["a"], []])
    bright = squares.mean(axis=(1, 2, 3)) / 255
    # In the order of the backend's folds, each with the shift of its own fold.
    logits = np.stack([shifted.views * bright - 10.0, 1 - bright], axis=1)
    for answer, row in zip(answers, logits, strict=True):
        expected = [shifted.calibration.probabilities(np.array([one]))[1] for one in row]
        assert answer.by_fold == pytest.approx(expected, abs=1e-9)
    assert "a" in answers[0].warnings
    assert "a" not in answers[1].warnings


def test_watched_members_give_the_same_bits_and_are_asked_one_by_one(
    trained: Any, scorer: Scorer
) -> None:
    squares, seen = trained.array.rows([0, 1, 2]), []
    watched = WatchedMembers(scorer.members, lambda: seen.append(1))
    found = watched.logits(squares, views=2)
    assert np.array_equal(found, scorer.members.logits(squares, views=2))
    assert len(seen) == len(scorer.members.folds)
    assert watched.folds == scorer.members.folds

    def stop() -> None:
        if len(seen) > 2:
            raise InterruptedError
        seen.append(1)

    with pytest.raises(InterruptedError):
        WatchedMembers(scorer.members, stop).logits(squares, views=1)
    assert len(seen) == 3, "it went on after the check had raised"


def test_the_faster_ones_are_made_once_and_leave_the_scores_alone(
    trained: Any, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares, made = trained.array.rows([0, 1]), []
    before = scorer.members.logits(squares, views=1)
    make = seed_mean.make_faster
    fresh = Scorer(scorer.bundle).members
    monkeypatch.setattr(seed_mean, "make_faster", lambda *a: (made.append(1), make(*a))[1])
    first = fresh.faster()
    assert fresh.faster() is first
    assert len(made) == len(fresh.folds)
    assert np.array_equal(scorer.members.logits(squares, views=1), before)
    assert np.allclose(first.logits(squares, views=1), before, atol=0.1, rtol=0.1)


def test_one_pass_gives_the_logits_to_the_bit_and_the_embeddings_of_the_upright_view(
    trained: Any, scorer: Scorer
) -> None:
    squares, seen = trained.array.rows([0, 1, 2]), []
    for members in (scorer.members, WatchedMembers(scorer.members, lambda: seen.append(1))):
        found = members.outputs(squares, views=2)
        assert np.array_equal(found.logits, members.logits(squares, views=2))
        upright = members.outputs(squares, views=1)
        assert np.array_equal(found.embeddings, upright.embeddings)
        network = next(iter(scorer.classifiers.values()))
        head = network.classify(torch.from_numpy(found.embeddings[:, 0])).detach().numpy()
        assert np.allclose(head, upright.logits[:, 0], atol=1e-6)
    assert len(seen) == 3 * len(scorer.members.folds)


def test_networks_of_several_seeds_embed_side_by_side(scorer: Scorer) -> None:
    one, other = list(scorer.classifiers.values())[:2]
    mean = seed_mean.SeedMean([one, other])
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = mean.embed(images)
        assert torch.equal(found, torch.cat([one.embed(images), other.embed(images)], dim=1))
        assert torch.equal(mean(images), (one(images) + other(images)) / 2)


def test_weights_whose_sum_is_too_large_are_finite_all_the_same() -> None:
    large = torch.full((4,), 3e38)
    assert torch_members._is_finite(large)
    for value in (torch.nan, torch.inf, -torch.inf):
        large[2] = value
        assert not torch_members._is_finite(large)
