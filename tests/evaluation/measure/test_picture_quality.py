"""Limits of quality: quantiles of training images, and which side of them stops what."""

import numpy as np

from melanoma.data.square_quality import MEASURES, SquareMeasures
from melanoma.evaluation.measure.picture_quality import (
    FEWEST,
    LIMITS,
    find_reasons,
    fit_quality,
)

MIDDLE = SquareMeasures(-30.0, 170.0, 0.0, 0.3, 0.05, 6.0, 20.0)
SPREAD = (3.0, 10.0, 0.001, 0.05, 0.02, 1.0, 3.0)


def draw(count: int) -> np.ndarray:
    """Measures of `count` good photographs."""
    noise = np.random.default_rng(0).normal(size=(count, len(MEASURES)))
    return np.array(MIDDLE.as_row()) + noise * SPREAD


def test_the_limits_stop_few_of_the_images_that_they_were_learned_from():
    found = fit_quality(draw(4000), ["nevus"] * 3000 + ["melanoma"] * 1000)
    assert 0 < found.stopped <= sum(limit.share for limit in LIMITS) <= 0.02
    assert [line.images for line in found.by_class] == [1000, 3000]
    assert sum(line.stopped for line in found.by_class) == round(found.stopped * 4000)


def test_too_few_images_teach_no_limits():
    assert fit_quality(draw(FEWEST - 1), ["nevus"] * (FEWEST - 1)) is None


def test_each_measure_stops_on_its_own_side_alone():
    limits = fit_quality(draw(1000), ["nevus"] * 1000).limits
    assert find_reasons(MIDDLE, limits) == ()
    for limit in LIMITS:
        place = MEASURES.index(limit.measure)
        for sign, side in ((-1, "least"), (1, "most")):
            row = list(MIDDLE.as_row())
            row[place] += sign * 200 * SPREAD[place]
            stopped = find_reasons(SquareMeasures(*row), limits)
            assert stopped == ((limit.reason,) if side == limit.side else ())


def test_a_reflection_stops_no_photograph_where_training_had_none():
    measures = draw(1000)
    measures[:, MEASURES.index("white_share")] = 0
    limits = fit_quality(measures, ["nevus"] * 1000).limits
    assert limits.white_share == 0.01
