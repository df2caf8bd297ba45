"""Novelty: how far a photograph lies from what the members know, by their embeddings.

Two halves. A member's held-out embeddings are described by a Gaussian whose covariance is of low
rank plus an even rest (probabilistic PCA, Tipping and Bishop 1999). An image's distance is
Mahalanobis' under it, as in Lee et al. 2018 (arXiv 1807.03888): its logarithm, in standard
deviations of the member's own held-out images; the half is the mean over the members. Embeddings
alone let through what no network was trained to tell apart (faces, textures, an even color), so the
other half is the same distance of plain statistics of the square, the mean over their groups (see
square_statistics).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from melanoma.scoring.square_statistics import GROUPS
from melanoma.types import Floats

Embeddings: TypeAlias = npt.NDArray[np.floating[Any]]
RANK = 32
SHARE = 0.01  # of the held-out lesions that the threshold calls novel
PARTS = 5  # of the lesions: each is judged by what was fitted to the others
MINIMUM = 200  # lesions: of fewer, one in a hundred is no share to go by
UNSCORABLE = (
    "This picture does not look like the photographs that this model learned from, so its score "
    "means nothing. Send a sharp picture of one lesion that fills the middle of the frame, taken "
    "as the model's training pictures were (see the model card). If this is such a picture, have a "
    "doctor look at the lesion soon: some melanomas look unlike all others."
)


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,), the r widest directions (r, D), their variances (r,), and that of the rest."""

    center: Floats
    directions: Floats
    variances: Floats
    rest: float

    def distances(self, embeddings: Embeddings) -> Floats:
        """(B,) squared Mahalanobis distances of (B, D), above 0."""
        away = np.asarray(embeddings, np.float64) - self.center
        # Not by BLAS, whose second thread would wait here for whoever has the other core.
        along = np.einsum("bd,rd->br", away, self.directions)
        whole = np.einsum("bd,bd->b", away, away)
        beside = np.maximum(whole - np.einsum("br,br->b", along, along), 1e-12)
        return np.asarray((along**2 / self.variances).sum(axis=1) + beside / self.rest)


@dataclass(frozen=True)
class Whitened:
    """Mean (F,) and the square root of the inverse covariance (F, F)."""

    center: Floats
    factor: Floats

    def distances(self, statistics: Floats) -> Floats:
        """(B,) squared Mahalanobis distances of (B, F), above 0."""
        white = (statistics - self.center) @ self.factor
        return np.asarray(np.maximum(np.einsum("bf,bf->b", white, white), 1e-12))


@dataclass(frozen=True)
class PictureNovelty:
    """A picture's score, and whether it is like none of the training's: `score` >= `threshold`."""

    score: float
    threshold: float
    is_novel: bool


@dataclass(frozen=True)
class Novelty:
    """A Gaussian a member and one a group of the plain statistics, and the threshold at or above
    which a picture is novel. `means` and `spreads`, (K + groups,), are those of the logarithms of
    held-out images' distances, the members' first."""

    folds: tuple[int, ...]
    gaussians: tuple[Gaussian, ...]
    plain: tuple[Whitened, ...]
    means: Floats
    spreads: Floats
    threshold: float

    def scores(self, embeddings: Embeddings, folds: Sequence[int], statistics: Floats) -> Floats:
        """(B,) of the embeddings, (B, K, D), by the members of these folds, in their order, and
        the squares' statistics, (B, F)."""
        seen = [self.member_scores(embeddings[:, n], fold) for n, fold in enumerate(folds)]
        return np.asarray((np.mean(seen, axis=0) + self.plain_scores(statistics)) / 2)

    def plain_scores(self, statistics: Floats) -> Floats:
        """(B,) of the squares' statistics, (B, F): the other half of the score."""
        scores, first = [], 0
        for number, group in enumerate(self.plain, start=len(self.folds)):
            last = first + len(group.center)
            logs = np.log(group.distances(statistics[:, first:last]))
            scores.append((logs - self.means[number]) / self.spreads[number])
            first = last
        return np.asarray(np.mean(scores, axis=0))

    def member_scores(self, embeddings: Embeddings, fold: int) -> Floats:
        """(B,) of one member's embeddings, (B, D): its half of the score."""
        number = self.folds.index(fold)
        logs = np.log(self.gaussians[number].distances(embeddings))
        return np.asarray((logs - self.means[number]) / self.spreads[number])

    def judge(self, score: float) -> PictureNovelty:
        """The score as an answer has it."""
        return PictureNovelty(float(score), self.threshold, bool(score >= self.threshold))


def fit_gaussian(embeddings: Embeddings, *, rank: int = RANK) -> Gaussian:
    """Of (n, D), n of 8 or more. The directions are rounded to half precision, as they are kept."""
    from scipy.sparse.linalg import eigsh

    points = np.asarray(embeddings, np.float64)
    count, width = points.shape
    center = points.mean(axis=0)
    away = points - center
    rank = max(1, min(rank, count // 4, width // 2))
    # The smaller of the two products: either has the same widest directions.
    wide = width <= count
    product = (away.T @ away if wide else away @ away.T) / count
    start = np.ones(len(product))  # else it is drawn at random
    variances, vectors = eigsh(product, k=rank, v0=start)
    directions = vectors.T if wide else (vectors.T @ away)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rest = (float(np.trace(product)) - float(variances.sum())) / (width - rank)
    floor = max(rest, 1e-9)
    return Gaussian(
        center.astype(np.float32).astype(np.float64),
        directions.astype(np.float16).astype(np.float64),
        np.maximum(variances, floor),
        floor,
    )


def fit_whitened(statistics: Floats) -> Whitened:
    """Of (n, F), n above F."""
    covariance = np.cov(statistics.T)
    width = len(covariance)
    # Fields add up to nothing: one direction of each plane has no width.
    covariance += (1e-3 * np.trace(covariance) / width + 1e-9) * np.eye(width)
    return Whitened(statistics.mean(axis=0), np.linalg.cholesky(np.linalg.inv(covariance)))


@dataclass(frozen=True)
class HeldOutNovelty:
    """What was fitted, and the held-out images' own scores, (N,), each by its own fold's member and
    by Gaussians of other lesions than its own."""

    novelty: Novelty
    scores: Floats


def fit_novelty(
    embeddings: Embeddings,
    statistics: Floats,
    folds: npt.NDArray[np.int64],
    groups: npt.NDArray[Any],
    *,
    rank: int = RANK,
    share: float = SHARE,
    columns: Sequence[int] = GROUPS,
    seed: int,
) -> HeldOutNovelty | None:
    """Of the held-out images' embeddings, (N, D), and statistics, (N, F), their folds and what
    they share, such as a lesion, (N,).

    `columns` counts those of each group of statistics. The threshold leaves `share` of the groups
    (lesions) at or above it, each counting once. None with fewer than MINIMUM of them.
    """
    if len(np.unique(groups)) < MINIMUM:
        return None
    numbers = [int(fold) for fold in np.unique(folds)]
    part = _parts(groups, rng=np.random.default_rng(seed))
    scores = np.zeros(len(folds))
    gaussians, means, spreads = [], [], []
    for fold in numbers:
        held = np.flatnonzero(folds == fold)
        fit = partial(fit_gaussian, rank=rank)
        logs = _crossfit_logs(fit, embeddings[held], part[held])
        means.append(logs.mean())
        spreads.append(max(logs.std(), 1e-6))
        scores[held] = (logs - means[-1]) / spreads[-1]
        gaussians.append(fit(embeddings[held]))
    plain, halves = [], []
    for group in np.split(statistics, np.cumsum(columns)[:-1], axis=1):
        logs = _crossfit_logs(fit_whitened, group, part)
        means.append(logs.mean())
        spreads.append(max(logs.std(), 1e-6))
        halves.append((logs - means[-1]) / spreads[-1])
        plain.append(fit_whitened(group))
    scores = (scores + np.mean(halves, axis=0)) / 2
    threshold = upper_quantile(scores, groups, share)
    fitted = Novelty(
        tuple(numbers),
        tuple(gaussians),
        tuple(plain),
        np.array(means),
        np.array(spreads),
        threshold,
    )
    return HeldOutNovelty(fitted, scores)


def upper_quantile(scores: Floats, groups: npt.NDArray[Any], share: float) -> float:
    """The lowest score at or above which at most `share` of the groups lie, each weighing 1."""
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(-scores, kind="stable")
    reached = np.cumsum(1 / sizes[number[order]]) / len(sizes)
    # Sums of shares, such as of 1 + 1 of 100, are a little off.
    last = int(np.searchsorted(reached, share + 1e-9, side="right"))
    ranked = scores[order]
    while 0 < last < len(ranked) and ranked[last] == ranked[last - 1]:
        last -= 1  # equal scores are novel together
    return float(ranked[last - 1] if last else np.nextafter(ranked[0], np.inf))


def _parts(groups: npt.NDArray[Any], *, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(N,) 0 to PARTS - 1, a group in one part."""
    names, number = np.unique(groups, return_inverse=True)
    parts: npt.NDArray[np.int64] = rng.permutation(len(names))[number] % PARTS
    return parts


def _crossfit_logs(
    fit: Callable[[Any], Gaussian | Whitened], points: Any, part: npt.NDArray[np.int64]
) -> Floats:
    """Each image's logarithm of the distance under what is fitted to the other parts."""
    logs = np.zeros(len(points))
    for one in range(PARTS):
        here = part == one
        if here.any():
            logs[here] = np.log(fit(points[~here]).distances(points[here]))
    return logs
