"""One patient's lesions: relative, in any order, and copies count once."""

from __future__ import annotations

import numpy as np
import pytest

from melanoma.scoring.patient import (
    COPY_DISTANCE,
    OF_EMBEDDINGS,
    OF_LOGITS,
    PatientFeatures,
    lesion_features,
)
from melanoma.types import Floats

SITES = ["torso", "", "torso", "arm", "torso", "arm", "leg"]


def _patient(seed: int = 0, lesions: int = 7) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.normal(-3, 1.5, lesions), rng.normal(size=(lesions, 12))


def _rows(found: PatientFeatures) -> list[tuple[float, ...]]:
    return [
        tuple(values[row] for values in found.values.values()) for row in range(len(found.rank))
    ]


def test_rank_percentile_and_distance_to_the_median_are_those_by_hand() -> None:
    found = lesion_features(np.array([-4.0, 0.0, -3.0, -2.0]))
    assert found.rank.tolist() == [4, 1, 3, 2]
    assert found.values["percentile"] == pytest.approx([-0.5, 0.5, -1 / 6, 1 / 6])
    assert found.values["above_median"] == pytest.approx([-2.0, 3.0, -1.0, 1.0])
    assert found.outlier.tolist() == [False, True, False, False]  # e^3 is above 10


def test_the_order_of_the_lesions_changes_no_bit() -> None:
    logits, embeddings = _patient()
    first = lesion_features(logits, embeddings=embeddings, sites=SITES)
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(7)
        found = lesion_features(
            logits[order], embeddings=embeddings[order], sites=[SITES[i] for i in order]
        )
        assert _rows(found) == [_rows(first)[i] for i in order]
        assert found.rank.tolist() == first.rank[order].tolist()


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("times", [1, 4])
def test_a_copy_of_a_benign_lesion_changes_nothing(embedded: bool, times: int) -> None:
    logits, embeddings = _patient()
    copied = np.concatenate([logits, np.repeat(logits[:1], times)])
    more = np.concatenate([embeddings, np.repeat(embeddings[:1], times, axis=0)])
    sites = [*SITES, *([SITES[0]] * times)]
    first = lesion_features(logits, embeddings=embeddings if embedded else None, sites=SITES)
    found = lesion_features(copied, embeddings=more if embedded else None, sites=sites)
    assert found.others == first.others and found.rank[:7].tolist() == first.rank.tolist()
    for name, values in first.values.items():
        assert found.values[name][:7] == pytest.approx(values, abs=1e-9)
        assert found.values[name][7:] == pytest.approx(values[0], abs=1e-9)


def test_a_copy_saved_anew_moves_a_median_by_half_of_what_its_score_moved_at_most() -> None:
    logits, embeddings = _patient()
    moved = 0.2
    near = embeddings[0] * (1 + 1e-5)
    near[0] += 0.3 * np.sqrt(COPY_DISTANCE)
    first = lesion_features(logits, embeddings=embeddings)
    found = lesion_features(
        np.append(logits, logits[0] + moved), embeddings=np.vstack([embeddings, near])
    )
    assert found.others == first.others
    shift = np.abs(found.values["above_median"][1:7] - first.values["above_median"][1:7])
    assert shift.max() <= moved / 2 + 1e-9


def test_an_unrecognized_copy_moves_a_percentile_by_one_place_at_most() -> None:
    logits, _ = _patient()
    first = lesion_features(logits)
    found = lesion_features(np.append(logits, logits.min() + 0.001))
    shift = np.abs(found.values["percentile"][:7] - first.values["percentile"])
    assert shift.max() <= 1 / first.others


def test_what_moves_all_lesions_moves_no_feature() -> None:
    logits, embeddings = _patient()
    first = lesion_features(logits, embeddings=embeddings, sites=SITES)
    found = lesion_features(logits + 2.5, embeddings=3 * embeddings, sites=SITES)
    for name in (*OF_LOGITS, *OF_EMBEDDINGS):
        assert found.values[name] == pytest.approx(first.values[name], abs=1e-9)


def test_many_like_lesions_are_no_evidence() -> None:
    for count in (3, 30):
        found = lesion_features(np.linspace(-3.0, -2.999, count))
        assert np.abs(found.values["above_median"]).max() < 1e-3
        assert found.others == count - 1
    assert lesion_features(np.zeros(30)).others == 0  # copies of one


def test_a_lesion_unlike_the_others_has_the_largest_distances() -> None:
    logits, embeddings = _patient(3)
    embeddings = np.abs(embeddings)
    embeddings[4] = -embeddings[4]
    found = lesion_features(logits, embeddings=embeddings)
    for name in ("to_centroid", "to_nearest", "outlier_factor"):
        assert found.values[name].argmax() == 4 and found.values[name][4] > 0


def test_a_site_with_fewer_than_three_lesions_has_no_features_of_its_own() -> None:
    logits, embeddings = _patient()
    found = lesion_features(logits, embeddings=embeddings, sites=SITES)
    own = np.array([site == "torso" for site in SITES])
    for name in ("site_percentile", "site_above_median", "site_to_nearest"):
        assert not found.values[name][~own].any()
    assert found.values["site_percentile"][own].any()


def test_two_lesions_are_not_compared() -> None:
    found = lesion_features(np.array([0.0, -9.0]))
    assert not found.comparable and not found.outlier.any()
