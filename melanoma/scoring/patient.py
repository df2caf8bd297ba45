"""One patient's lesions together: how each stands among the others (the "ugly duckling").

Pure: numbers in, numbers out. Everything is relative to the patient's own other lesions, and copies
of one photograph count as one lesion. The order of the lesions changes no bit of any number. How
many lesions there are is never evidence, only how far the relative numbers are trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melanoma.types import Flags, Floats, Integers

FEWEST = 3  # distinct lesions; with fewer there are no others to compare with
OF_LOGITS = ("percentile", "above_median", "site_percentile", "site_above_median")
OF_EMBEDDINGS = ("to_centroid", "to_nearest", "outlier_factor", "site_to_nearest")
HALF_TRUSTED = 2.0  # other lesions with which the relative numbers count half
OUTLIER_ODDS = 10.0  # times the odds of the others' median
# Cosine distance, and logits where there are no embeddings: closer photographs are copies.
COPY_DISTANCE = 1e-3
COPY_LOGIT = 1e-5
_NEIGHBORS = 5


@dataclass(frozen=True)
class PatientFeatures:
    """What each of a patient's n lesions is among the others; arrays in the order given.

    `values` has (n,) a name: OF_LOGITS, and OF_EMBEDDINGS where there were embeddings. `percentile`
    is the share of others below, less a half; `above_median` the logit less the others' median;
    distances and the logarithm of the local outlier factor (Breunig 2000) are less the others'
    median; `site_*` are among lesions of the same site, 0 with fewer than two of them. `others` is
    the number of other distinct lesions, the same for all, `rank` 1 for the highest logit (equal
    ones share the best place), `copies` numbers the distinct lesions.
    """

    values: dict[str, Floats]
    others: int
    rank: Integers
    copies: Integers

    @property
    def comparable(self) -> bool:
        """Whether there are enough lesions to compare."""
        return self.others + 1 >= FEWEST

    @property
    def trust(self) -> float:
        """How far the relative numbers count, in [0, 1): a half with HALF_TRUSTED others."""
        return self.others / (self.others + HALF_TRUSTED)

    @property
    def outlier(self) -> Flags:
        """(n,) whether it is the patient's highest, its odds OUTLIER_ODDS times the others'."""
        far = self.values["above_median"] >= np.log(OUTLIER_ODDS)
        marked: Flags = far & (self.rank == 1) & self.comparable
        return marked


def lesion_features(
    logits: Floats,
    *,
    embeddings: Floats | None = None,
    sites: Sequence[str | None] | None = None,
) -> PatientFeatures:
    """The features of one patient's lesions: (n,) logits of the melanoma probability, (n, D)
    embeddings, and sites, "" or None where it is not known."""
    named = [site or "" for site in sites] if sites is not None else [""] * len(logits)
    order = _canonical_order(logits, embeddings, named)
    sorted_logits = logits[order]
    directions = _directions(embeddings[order]) if embeddings is not None else None
    place = _copies(sorted_logits, directions)
    count = int(place.max()) + 1
    means = np.array([sorted_logits[place == one].mean() for one in range(count)])
    where = [named[order[np.flatnonzero(place == one)[0]]] for one in range(count)]
    features = _of_logits(means, where)
    if directions is not None:
        middles = np.stack([directions[place == one].mean(axis=0) for one in range(count)])
        features |= _of_embeddings(_directions(middles), where)
    back = np.argsort(order)
    ranks = 1 + (means[None] > means[:, None]).sum(axis=1)
    return PatientFeatures(
        {name: values[place][back] for name, values in features.items()},
        count - 1,
        ranks[place][back],
        place[back],
    )


def _canonical_order(logits: Floats, embeddings: Floats | None, sites: list[str]) -> Integers:
    """By what they are: sums then add in one order, whatever the order of the files."""
    rows = embeddings if embeddings is not None else np.zeros((len(logits), 0))
    keys = [
        (z, row.tobytes(), site)
        for z, row, site in zip(logits.tolist(), np.ascontiguousarray(rows), sites, strict=True)
    ]
    return np.array(sorted(range(len(keys)), key=lambda i: keys[i]), dtype=np.int64)


def _copies(logits: Floats, directions: Floats | None) -> Integers:
    """(n,) numbers of the distinct lesions; copies of copies are copies."""
    from scipy.sparse.csgraph import connected_components

    if directions is None:
        near = np.abs(logits[:, None] - logits[None]) <= COPY_LOGIT
    else:
        near = _distances(directions) <= COPY_DISTANCE
    numbers: Integers = connected_components(near, directed=False)[1].astype(np.int64)
    return numbers


def _of_logits(logits: Floats, sites: Sequence[str]) -> dict[str, Floats]:
    every = ~np.eye(len(logits), dtype=bool)
    alike = _same_site(sites)
    return {
        "percentile": _percentile(logits, every),
        "above_median": _above_median(logits, every),
        "site_percentile": _percentile(logits, alike),
        "site_above_median": _above_median(logits, alike),
    }


def _of_embeddings(directions: Floats, sites: Sequence[str]) -> dict[str, Floats]:
    from sklearn.neighbors import LocalOutlierFactor

    count = len(directions)
    every, alike = ~np.eye(count, dtype=bool), _same_site(sites)
    apart = _distances(directions)
    if count < FEWEST:
        return {name: np.zeros(count) for name in OF_EMBEDDINGS}
    centers = (directions.sum(axis=0) - directions) / (count - 1)
    centroid = 1 - (directions * _directions(centers)).sum(axis=1)
    factor = LocalOutlierFactor(n_neighbors=min(_NEIGHBORS, count - 1), metric="precomputed")
    factor.fit(apart)
    return {
        "to_centroid": _above_median(centroid, every),
        "to_nearest": _above_median(_nearest(apart, every), every),
        "outlier_factor": _above_median(np.log(-factor.negative_outlier_factor_), every),
        "site_to_nearest": _above_median(_nearest(apart, alike), alike),
    }


def _same_site(sites: Sequence[str]) -> Flags:
    """(n, n) which other lesions are of one's own site; none where fewer than two are."""
    names = np.asarray(sites)
    alike = (names[:, None] == names[None]) & (names != "")[:, None]
    np.fill_diagonal(alike, False)
    alike[alike.sum(axis=1) < FEWEST - 1] = False
    flags: Flags = alike
    return flags


def _percentile(values: Floats, others: Flags) -> Floats:
    """Share of the others that are lower, ties a half, less a half; 0 without others."""
    signs = np.sign(values[:, None] - values[None]) * others
    counted = others.sum(axis=1)
    shares: Floats = np.divide(
        signs.sum(axis=1), 2 * counted, out=np.zeros(len(values)), where=counted > 0
    )
    return shares


def _above_median(values: Floats, others: Flags) -> Floats:
    rows = zip(values, others, strict=True)
    return np.array([own - np.median(values[row]) if row.any() else 0.0 for own, row in rows])


def _nearest(apart: Floats, others: Flags) -> Floats:
    return np.array(
        [row[mask].min() if mask.any() else 0.0 for row, mask in zip(apart, others, strict=True)]
    )


def _distances(directions: Floats) -> Floats:
    """(n, n) cosine distances."""
    from scipy.spatial.distance import pdist, squareform

    distances: Floats = squareform(pdist(directions, "sqeuclidean")) / 2
    return distances


def _directions(embeddings: Floats) -> Floats:
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    directions: Floats = embeddings / np.where(lengths > 0, lengths, 1.0)
    return directions
