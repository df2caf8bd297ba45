"""A picture that is like none of the training's is told from one that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from melanoma.errors import WeightsError
from melanoma.scoring.bundle.novelty_file import load_novelty, save_novelty
from melanoma.scoring.explain.explainers import explain_gradcam
from melanoma.scoring.novelty import (
    MINIMUM,
    UNSCORABLE,
    HeldOutNovelty,
    fit_novelty,
    upper_quantile,
)
from melanoma.scoring.scorer import Scorer
from melanoma.scoring.square_statistics import COUNT, GROUPS, square_statistics

IMAGES, WIDTH = 600, 24


@pytest.fixture(scope="module")
def fitted() -> HeldOutNovelty:
    """Two members of 24 features on 600 images of 300 lesions."""
    rng = np.random.default_rng(0)
    found = fit_novelty(
        _embeddings(IMAGES, rng),
        rng.normal(size=(IMAGES, COUNT)),
        np.arange(IMAGES) % 2,
        np.arange(IMAGES) // 2,
        rank=4,
        seed=0,
    )
    assert found is not None
    return found


def _embeddings(count: int, rng: np.random.Generator) -> np.ndarray:
    wide = np.r_[np.full(4, 5.0), np.full(WIDTH - 4, 0.2)]
    return (3 + wide * rng.normal(size=(count, WIDTH))).astype(np.float16)


def test_the_threshold_leaves_one_lesion_in_a_hundred_above_it(fitted: HeldOutNovelty) -> None:
    novel = fitted.scores >= fitted.novelty.threshold
    share = np.mean([novel[n : n + 2].mean() for n in range(0, IMAGES, 2)])
    assert 0 < share <= 0.01
    above = fitted.scores[fitted.scores < fitted.novelty.threshold].max()
    assert np.mean(fitted.scores.reshape(-1, 2) >= above) > share


def test_what_leaves_the_narrow_directions_is_novel_and_what_leaves_the_wide_ones_is_not(
    fitted: HeldOutNovelty,
) -> None:
    novelty, rng = fitted.novelty, np.random.default_rng(1)
    usual = _embeddings(200, rng).astype(np.float64)
    plain = rng.normal(size=(200, COUNT))

    def scores(moved: np.ndarray, statistics: np.ndarray = plain) -> np.ndarray:
        return novelty.scores(np.stack([moved, moved], axis=1), novelty.folds, statistics)

    assert np.mean(scores(usual) >= novelty.threshold) < 0.05
    wide, narrow = np.eye(WIDTH)[0], np.eye(WIDTH)[-1]
    assert np.mean(scores(usual + 4 * wide) >= novelty.threshold) < 0.05
    assert np.all(scores(usual + 4 * narrow) >= novelty.threshold)
    assert np.all(scores(usual, plain + 4) >= novelty.threshold)


def test_members_are_taken_by_their_fold_and_not_by_their_place(fitted: HeldOutNovelty) -> None:
    novelty, rng = fitted.novelty, np.random.default_rng(2)
    both = np.stack([_embeddings(5, rng), 9 + _embeddings(5, rng)], axis=1)
    plain = rng.normal(size=(5, COUNT))
    here = novelty.scores(both, (0, 1), plain)
    assert np.allclose(novelty.scores(both[:, ::-1], (1, 0), plain), here)
    assert not np.allclose(novelty.scores(both, (1, 0), plain), here)


def test_each_group_of_statistics_counts_alike(fitted: HeldOutNovelty) -> None:
    novelty, rng = fitted.novelty, np.random.default_rng(6)
    assert [len(group.center) for group in novelty.plain] == [*GROUPS]
    plain = rng.normal(size=(50, COUNT))
    usual = novelty.plain_scores(plain).mean()
    for first, width in zip(np.cumsum([0, *GROUPS]), GROUPS, strict=False):
        moved = plain.copy()
        moved[:, first : first + width] += 4
        assert novelty.plain_scores(moved).mean() > usual + 2


def test_a_file_from_before_the_groups_is_read_with_its_one(
    fitted: HeldOutNovelty, tmp_path: Path
) -> None:
    path, first = tmp_path / "novelty.safetensors", fitted.novelty.plain[0]
    old = replace(
        fitted.novelty,
        plain=(first,),
        means=fitted.novelty.means[:3],
        spreads=fitted.novelty.spreads[:3],
    )
    save_novelty(old, path)
    arrays = load_file(path)
    for name in ("center", "factor"):
        arrays[f"plain.{name}"] = arrays.pop(f"plain.0.{name}")
    save_file(arrays, path)
    plain = np.random.default_rng(7).normal(size=(5, COUNT))
    again = load_novelty(path, [0, 1])
    assert np.array_equal(again.plain_scores(plain), old.plain_scores(plain))


def test_each_lesion_counts_once_however_many_images_it_has() -> None:
    scores = np.r_[np.full(50, 10.0), np.arange(99) / 100]
    groups = np.r_[np.zeros(50), np.arange(1, 100)]
    assert upper_quantile(scores, groups, 0.01) == 10.0
    assert upper_quantile(scores, groups, 0.02) == 0.98
    assert upper_quantile(scores, groups, 0.005) > 10.0, "equal scores are novel together"


def test_few_lesions_have_no_score() -> None:
    count = MINIMUM - 1
    found = fit_novelty(
        np.zeros((count, WIDTH)),
        np.zeros((count, COUNT)),
        np.zeros(count, np.int64),
        np.arange(count),
        seed=0,
    )
    assert found is None


def test_the_file_gives_the_same_scores_and_refuses_what_is_none(
    fitted: HeldOutNovelty, tmp_path: Path
) -> None:
    path, rng = tmp_path / "novelty.safetensors", np.random.default_rng(3)
    save_novelty(fitted.novelty, path)
    again = load_novelty(path, [1, 0])
    both, plain = _embeddings(8, rng).reshape(4, 2, WIDTH), rng.normal(size=(4, COUNT))
    assert np.array_equal(
        again.scores(both, (0, 1), plain), fitted.novelty.scores(both, (0, 1), plain)
    )
    assert again.threshold == fitted.novelty.threshold
    with pytest.raises(WeightsError, match="is of the folds"):
        load_novelty(path, [0, 1, 2])
    spoiled = replace(fitted.novelty, means=np.full(5, np.nan))
    save_novelty(spoiled, path)
    with pytest.raises(WeightsError, match="not finite"):
        load_novelty(path, [0, 1])
    path.write_bytes(b"spoiled")
    with pytest.raises(WeightsError, match="holds no novelty score"):
        load_novelty(path, [0, 1])


def test_a_novel_picture_is_unscorable_and_keeps_its_probability(
    trained: Any, scorer: Scorer
) -> None:
    rng = np.random.default_rng(4)
    outputs = scorer.members.outputs(trained.array.rows(np.arange(80)), views=1)
    statistics = square_statistics(trained.array.rows(np.arange(80)))
    embeddings = np.tile(outputs.embeddings[:, 0], (4, 1))
    found = fit_novelty(
        embeddings + rng.normal(0, 0.01, embeddings.shape),
        np.tile(statistics, (4, 1)) + rng.normal(0, 0.01, (320, COUNT)),
        np.arange(320) % 2,
        np.arange(320),
        seed=0,
    )
    assert found is not None
    noise = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    squares = np.concatenate([trained.array.rows([3]), noise])
    knowing = Scorer(replace(scorer.bundle, novelty=found.novelty))
    scores = knowing.member_answers(squares).novelty
    assert scores is not None and scores[1] > scores[0] + 5
    # Of images this few, none of which is another lesion, no share is a threshold.
    between = replace(found.novelty, threshold=float(scores.mean()))
    knowing = Scorer(replace(scorer.bundle, novelty=between))
    known, new = knowing.score_squares(squares)
    before, plain = scorer.score_squares(squares)
    assert before.novelty is None
    assert known.novelty is not None
    assert not known.novelty.is_novel
    assert known.verdict == before.verdict
    assert new.novelty is not None
    assert new.novelty.is_novel
    assert new.novelty.score >= new.novelty.threshold
    assert new.verdict is not None
    assert new.verdict.code == "unscorable"
    assert new.verdict.text.startswith(UNSCORABLE)
    assert new.melanoma_probability == pytest.approx(plain.melanoma_probability)
    assert new.flagged == plain.flagged
    explained = explain_gradcam(knowing, noise[0]).prediction
    assert explained.verdict == new.verdict


def test_statistics_do_not_hang_on_a_files_resolution_and_tell_a_gray_page(trained: Any) -> None:
    squares = trained.array.rows([0, 1, 2])
    found = square_statistics(squares)
    assert found.shape == (3, COUNT)
    turned = square_statistics(squares[:, ::-1, ::-1])
    colors, fields = slice(0, GROUPS[0]), slice(-GROUPS[2], None)
    assert np.allclose(found[:, colors], turned[:, colors], atol=0.05)
    # What is where turns with it: the fields of each plane in the other order.
    planes = [found[:, fields].reshape(3, 3, -1), turned[:, fields].reshape(3, 3, -1)[..., ::-1]]
    assert np.allclose(*planes, atol=1e-4)
    gray = np.repeat(squares.mean(axis=3, keepdims=True), 3, axis=3).astype(np.uint8)
    assert np.abs(square_statistics(gray) - found).max() > 1
