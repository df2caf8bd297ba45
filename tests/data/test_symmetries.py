"""Symmetries without torch: as those with it, and an order that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from melanoma.data.symmetries import VIEW_ORDER, dihedral_squares, require_view_order
from melanoma.data.transforms import dihedral_views
from melanoma.errors import WeightsError


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_squares_have_the_views_of_tensors_in_their_order(views: int) -> None:
    squares = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), np.uint8)
    tensors = dihedral_views(torch.from_numpy(squares).permute(0, 3, 1, 2), views)
    found = dihedral_squares(squares, views)
    assert len(found) == views
    for ours, theirs in zip(found, tensors, strict=True):
        assert np.array_equal(ours, theirs.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("views", [2, 4])
def test_views_of_another_order_are_refused_where_they_are_others(views: int) -> None:
    with pytest.raises(WeightsError, match=rf"weights/old was .* {views} views were mirror images"):
        require_view_order(1, views, "weights/old")
    require_view_order(VIEW_ORDER, views, "weights/new")


@pytest.mark.parametrize("views", [1, 8])
def test_one_view_and_all_eight_are_the_same_in_any_order(views: int) -> None:
    require_view_order(1, views, "weights/old")
