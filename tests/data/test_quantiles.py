"""Quantiles: numpy's, sooner."""

from __future__ import annotations

import numpy as np
import pytest

from melanoma.data.quantiles import quantiles

SHARES = (0.0, 0.02, 0.25, 0.5, 0.7, 0.998, 1.0)


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 7), (2, 5, 1000)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_they_are_numpys_default(shape: tuple[int, ...], kind: type) -> None:
    drawn = np.random.default_rng(0).normal(size=shape).round(1).astype(kind)  # some are equal
    before = drawn.copy()
    expected = np.moveaxis(np.quantile(drawn, SHARES, axis=-1), 0, -1)
    assert quantiles(drawn, SHARES) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(drawn, before)
