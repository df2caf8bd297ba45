"""A bundle as one graph: views, calibration, prior shift and classes are inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from melanoma.errors import MelanomaError
from melanoma.scoring.bundle.bundle import Bundle
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


def test_what_differs_from_the_bundle_is_refused(bundle: Bundle) -> None:
    squares = graph.check_squares(bundle.size)
    found = Scorer(bundle, views=1).member_probabilities(squares)
    same = graph.require_equal(found + 5e-5, bundle, squares, views=1, what="the file")
    assert same == pytest.approx(5e-5)
    with pytest.raises(MelanomaError, match=r"the file differs from the bundle by 0\.0002"):
        graph.require_equal(found + 2e-4, bundle, squares, views=1, what="the file")
    with pytest.raises(MelanomaError, match="by nan"):
        graph.require_equal(found * np.nan, bundle, squares, views=1, what="the file")
