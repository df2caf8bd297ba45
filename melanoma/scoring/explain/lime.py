"""LIME for images: superpixels hidden at random, and a weighted ridge regression on the answers.

Ribeiro, Singh and Guestrin, "Why Should I Trust You?", KDD 2016. Every parameter is that of the
lime package's explainer for images, so that the same superpixels, switches and answers give the
same weights (a test compares). One thing differs, for speed: the lime package hides superpixels
in the photograph and resizes each of the results; here the photograph is resized once, and each
superpixel's share of each pixel with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse

from melanoma.data.images import Pixels, scored_part
from melanoma.data.rgb import shrink
from melanoma.errors import RecipeError
from melanoma.scoring.explain.explain_options import PRECISIONS
from melanoma.types import Floats

Segments = npt.NDArray[np.int64]
Switches = npt.NDArray[np.bool_]

KERNEL_SIZE, MAX_DIST, RATIO = 4.0, 200.0, 0.2  # quickshift's
KERNEL_WIDTH = 0.25  # of the proximity, over the cosine distance
RIDGE = 1.0
# Fifty evaluations cannot tell apart the 200 superpixels that quickshift finds in a 600 x 450
# photograph, where it takes as long as they do. At this longest side it finds about 50.
LONGEST_SIDE = 256
# Of a photograph that is kept to be drawn: three times the side of the picture. Superpixels are
# found in the same pixels by whoever keeps no more and by whoever has the whole photograph.
KEPT_SIDE = 2048


@dataclass(frozen=True)
class Surrogate:
    """The linear model: a weight a superpixel, in probability; `r2` is its weighted R squared."""

    weights: Floats
    intercept: float
    r2: float


def count_evaluations(precision: str) -> int:
    """How often the classifier is asked. Raises RecipeError listing the precisions."""
    if precision not in PRECISIONS:
        known = ", ".join(f"{name} ({count})" for name, count in PRECISIONS.items())
        raise RecipeError(f"unknown precision {precision!r}; known, with evaluations: {known}")
    return PRECISIONS[precision]


def drawn_part(pixels: Pixels, *, fit: str) -> Pixels:
    """The scored part of a photograph, of KEPT_SIDE at most as a service keeps it."""
    return scored_part(shrink(pixels, KEPT_SIDE), fit=fit)


def find_segments(part: Pixels, *, seed: int) -> Segments:
    """Superpixels, 0 to n - 1, of `part` (H, W, 3) at LONGEST_SIDE, in its own proportions.

    Smaller photographs grow to that side, so that a superpixel is about the same share of each.
    """
    from skimage.segmentation import quickshift  # a tenth of a second, which no score needs

    height, width = part.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(part, size, interpolation=method)
    labels = quickshift(resized, kernel_size=KERNEL_SIZE, max_dist=MAX_DIST, ratio=RATIO, rng=seed)
    numbers: Segments = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    return numbers


def draw_switches(evaluations: int, segments: int, *, rng: np.random.Generator) -> Switches:
    """(evaluations, segments): shown or hidden, even odds; the first row shows everything."""
    switches = rng.integers(0, 2, (evaluations, segments)).astype(bool)
    switches[0] = True
    return switches


def measure_coverage(segments: Segments, *, size: int) -> sparse.csr_array:
    """(n, size * size): each superpixel's share of each pixel of the model's square, summing to 1.

    Resizing by area is linear, so these shares do what resizing every perturbed image would.
    """
    method = cv2.INTER_AREA if size < min(segments.shape) else cv2.INTER_LINEAR
    rows = []
    for number in range(int(segments.max()) + 1):
        mask = (segments == number).astype(np.float32)
        rows.append(sparse.csr_array(cv2.resize(mask, (size, size), interpolation=method).ravel()))
    return sparse.csr_array(sparse.vstack(rows))


def hide_segments(square: Pixels, switches: Switches, coverage: sparse.csr_array) -> Pixels:
    """(B, S, S, 3): `square` (S, S, 3) with the superpixels that are switched off made black."""
    shown = (switches.astype(np.float32) @ coverage).reshape(-1, *square.shape[:2], 1)
    hidden: npt.NDArray[np.float32] = square * shown
    return np.rint(hidden, out=hidden).astype(np.uint8)


def fit_surrogate(switches: Switches, probabilities: Floats) -> Surrogate:
    """The ridge regression of `probabilities` (n,) on `switches` (n, segments).

    A row counts sqrt(exp(-d^2 / KERNEL_WIDTH^2)), d its cosine distance to the row of ones.
    """
    data = switches.astype(np.float64)
    # The cosine of k ones among n and n ones is k / (sqrt(k) sqrt(n)).
    distance = 1 - np.sqrt(data.mean(axis=1))
    proximity = np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2))
    share = proximity / proximity.sum()
    inputs, answers = data - share @ data, probabilities - share @ probabilities
    weighted = inputs.T * proximity
    penalty = RIDGE * np.eye(data.shape[1])
    weights = np.linalg.solve(weighted @ inputs + penalty, weighted @ answers)
    intercept = float(share @ (probabilities - data @ weights))
    left, spread = share @ (answers - inputs @ weights) ** 2, share @ answers**2
    # Answers that are all one are explained by the intercept.
    r2 = 1.0 if left <= 1e-24 else float(1 - left / spread)
    return Surrogate(weights, intercept, r2)
