"""The golden image: one picture whose score is stored at sealing and asked for again at a start.

It tells whether this machine, with its versions of the decoder, of torch and of the rest, gives
the scores that were evaluated: from the bytes of a file to the logits of every member.
"""

from __future__ import annotations

import copy
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from melanoma.data.images import Pixels, decode_image
from melanoma.devices import CPU, Device
from melanoma.errors import ScoreError, WeightsError
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.backends.open_members import open_members
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.manifest import GOLDEN, GoldenScore
from melanoma.scoring.scorer import Scorer

# Of a logit, as a share of it where it is above 1: kinds of CPU differ in the sixth digit, and a
# GPU multiplies in TF32, which has three.
TOLERANCE = {"cpu": 1e-3, "cuda": 2e-2}
# Eight bits of each factor, and layer upon layer of them: the second digit of a logit.
BFLOAT16_TOLERANCE = 0.25


@dataclass(frozen=True)
class GoldenCheck:
    """What came of it. `largest` is the largest difference of a logit, None with none stored."""

    holds: bool
    largest: float | None
    says: str


def draw_golden(size: int) -> Pixels:
    """(2 * size, 2 * size, 3) uint8 RGB: a dark blot on skin, the same on every machine.

    Whole numbers only; halving it by area averages whole blocks, which rounds alike everywhere.
    """
    side = 2 * size
    y, x = np.mgrid[:side, :side].astype(np.int64)
    # Squares of distances, in 1/4096 of the picture's area.
    radius = (4 * (x - side * 11 // 24) ** 2 + 5 * (y - side * 13 // 24) ** 2) * 1024 // side**2
    depth = np.clip(700 - radius - 120 * ((x * 9 // side + y * 7 // side) % 3), 0, 500)
    skin = np.stack([210 - 25 * x // side, 165 - 20 * y // side, 150 - 15 * (x + y) // side], -1)
    pixels = skin * (1000 - depth[..., None] * np.array([1200, 1700, 1800]) // 1000) // 1000
    drawn: Pixels = pixels.astype(np.uint8)
    return drawn


def score_golden(scorer: Scorer) -> tuple[str, npt.NDArray[np.float64]]:
    """The sha256 of the square that the members see, and their logits of it, (K, outputs).

    Raises ScoreError when they make no finite probabilities.
    """
    file = io.BytesIO()
    Image.fromarray(draw_golden(scorer.bundle.size)).save(file, "PNG")
    square = scorer.square(decode_image(file.getvalue()).pixels)
    logits = scorer.member_logits(square[None])
    scorer.calibrate(logits)
    return hashlib.sha256(square.tobytes()).hexdigest(), logits[0]


def golden_score(bundle: Bundle) -> GoldenScore:
    """What is stored at sealing: scored on the CPU, as every machine can."""
    scorer = Scorer(bundle)
    image, logits = score_golden(scorer)
    # Logits and not probabilities: a bundle that is recalibrated keeps its golden score.
    rows = zip(scorer.members.folds, logits.tolist(), strict=True)
    return GoldenScore(image, dict(rows))


def check_golden(scorer: Scorer) -> GoldenCheck:
    """Whether the golden image gives its stored score, every member's.

    Raises ScoreError when the answer is not finite. A bundle that was made by hand and never loaded
    may have none: then a finite answer is all that is asked.
    """
    evaluated = copy.copy(scorer)
    evaluated.views = scorer.bundle.views  # as it was sealed, however many are asked for
    image, logits = score_golden(evaluated)
    stored = scorer.bundle.golden
    if stored is None:
        return GoldenCheck(True, None, "finite; the bundle was sealed without a golden score")
    if stored.image != image:
        return GoldenCheck(False, None, "the golden image is decoded into other pixels")
    try:
        rows = [stored.logits[fold] for fold in scorer.members.folds]
        expected = np.array(rows, dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ScoreError(f"{GOLDEN} has no logits of every fold ({error!r})") from error
    if expected.shape != logits.shape:
        raise ScoreError(f"the golden score has shape {expected.shape}, not {logits.shape}")
    difference = np.abs(logits - expected)
    largest = float(difference.max())
    share = difference / np.maximum(1, np.abs(expected))
    # Not "any above": what is no number is above nothing.
    exact = scorer.members.precision == "float32"
    if not (share <= (TOLERANCE[scorer.device.type] if exact else BFLOAT16_TOLERANCE)).all():
        return GoldenCheck(False, largest, f"the golden logits differ by up to {largest:.2g}")
    return GoldenCheck(True, largest, f"the golden score holds, to {largest:.1g} of a logit")


def require_golden(scorer: Scorer) -> GoldenCheck:
    """The check that held. Raises WeightsError when it did not, for whatever reason: then no score
    of this scorer is one that was evaluated."""
    try:
        check = check_golden(scorer)
    except ScoreError as error:
        raise WeightsError(
            f"{scorer.bundle.folder}: the golden image cannot be scored: {error}"
        ) from error
    if not check.holds:
        raise WeightsError(
            f"{scorer.bundle.folder} does not give the scores that it was sealed with here: "
            f"{check.says}"
        )
    return check


def open_scorer(
    folder: Path,
    *,
    device: Device | None = None,
    views: int | None = None,
    threshold: float | None = None,
    engine: Engine | None = None,
) -> Scorer:
    """The scorer of the bundle in `folder`, every file verified and the golden score given.

    `threshold` flags instead of the bundle's own; `engine` runs the networks, float32 and the
    fastest that is installed by default.

    Raises WeightsError, and RecipeError for an engine that this machine has not. Whatever scores
    photographs outside a service comes through here; a service is up before, and asks the same of
    its scorers before it answers.
    """
    bundle, device = load_bundle(folder), device or CPU
    members = open_members(bundle, device, engine or Engine())
    scorer = Scorer(bundle, device=device, views=views, threshold=threshold, members=members)
    require_golden(scorer)
    return scorer
