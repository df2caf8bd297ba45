"""Explanations of what a Scorer answers: LIME and Grad-CAM, for any class, over any members.

What is explained is what is scored: the square that the members see, the mean of their calibrated
probabilities. `scorer.of_fold(N)` explains one member.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from melanoma.data.compression import compression_warnings
from melanoma.data.images import Pixels
from melanoma.devices import count_cores
from melanoma.errors import ExplanationError, RecipeError
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.explain.evidence import Evidence
from melanoma.scoring.explain.lime import (
    Segments,
    Switches,
    count_evaluations,
    draw_switches,
    drawn_part,
    find_segments,
    fit_surrogate,
    hide_segments,
    measure_coverage,
)
from melanoma.scoring.members import WatchedMembers
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer
from melanoma.types import Floats

LARGEST = 5  # superpixels in a picture
# Pixels of a block: memory does not grow with the evaluations, and a caller who leaves is noticed
# after one member's share of a block. Small squares have more steps to leave at.
_BATCH_PIXELS = 16 * 224 * 224
_BATCH_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What every explanation says. `target` is the class explained; `folds` are those asked.

    `fit` is how the photograph became the square: squash or center.
    """

    target: str
    prediction: Prediction
    folds: tuple[int, ...]
    method: ClassVar[str]
    fit: str
    seconds: float

    @property
    def details(self) -> str:
        """How it was made, for the picture's last line."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        shared: dict[str, Any] = {"class": self.target, "folds": list(self.folds)}
        return {
            **shared,
            "method": self.method,
            **self._own_values(),
            "seconds": round(self.seconds, 3),
            "prediction": self.prediction.as_dict(),
        }

    def _own_values(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LimeExplanation(Explanation):
    """`weights` (n,) are changes of the class's probability when a superpixel is shown.

    `segments` (h, w) numbers the superpixels of the scored part of the photograph; `r2` says how
    well the linear model fits: near 0, the weights mean little.
    """

    method: ClassVar[str] = "lime"
    precision: str
    evaluations: int
    seed: int
    segments: Segments
    weights: Floats
    intercept: float
    r2: float

    @property
    def areas(self) -> Floats:
        """(n,) the superpixels' shares of the picture, which add up to 1."""
        return np.bincount(self.segments.ravel(), minlength=len(self.weights)) / self.segments.size

    @property
    def details(self) -> str:
        """What the regression was fitted on, and how well it fits."""
        return (
            f"{self.evaluations} evaluations, {len(self.weights)} superpixels, "
            f"R\N{SUPERSCRIPT TWO} {self.r2:.2f}, seed {self.seed}"
        )

    def largest(self, count: int = LARGEST) -> list[int]:
        """The superpixels of the largest weights, for or against, largest first; none of zero."""
        order = np.argsort(-np.abs(self.weights), kind="stable")[:count]
        return [int(number) for number in order if self.weights[number] != 0]

    def _own_values(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "evaluations": self.evaluations,
            "seed": self.seed,
            "intercept": self.intercept,
            "r2": self.r2,
            "segments": [
                {"segment": number, "weight": float(weight), "area": float(area)}
                for number, (weight, area) in enumerate(zip(self.weights, self.areas, strict=True))
            ],
        }


@dataclass(frozen=True, kw_only=True)
class GradcamExplanation(Explanation):
    """`heat` (h, w) in [0, 1] at the feature maps' own size: the mean of the members' maps."""

    method: ClassVar[str] = "gradcam"
    heat: Floats

    @property
    def details(self) -> str:
        """The size of the map."""
        return "map of {} x {} places".format(*self.heat.shape[::-1])

    def _own_values(self) -> dict[str, Any]:
        return {"heat": self.heat.tolist()}


def explain_lime(
    scorer: Scorer,
    pixels: Pixels,
    *,
    square: Pixels | None = None,
    warnings: Sequence[str] | None = None,
    target: str | None = None,
    precision: str = "Medium",
    seed: int = 0,
    deadline: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> LimeExplanation:
    """The weights of a photograph's superpixels for a class, the predicted one by default.

    `pixels` (H, W, 3) are decoded; `square` is theirs where it was made already, `warnings` are
    their decoder's: pixels that were made smaller since do not tell any more.

    The prediction is the score, all views in float32. The regression asks the ensemble exactly
    count_evaluations(precision) times about the upright view, each member once each time: first
    about the photograph, in float32, then with superpixels hidden, in bfloat16 where the hardware
    multiplies it. Before each member, `should_stop` and the `deadline` in seconds are looked at.
    Raises ExplanationError when one ends it, RecipeError for an unknown class or precision.
    """
    start, evaluations = time.monotonic(), count_evaluations(precision)
    warnings = compression_warnings(pixels) if warnings is None else warnings
    _find_columns(scorer.bundle, target, default=0)  # an unknown class is refused before the work
    segments = find_segments(drawn_part(pixels, fit=scorer.bundle.fit), seed=seed)
    count = int(segments.max()) + 1
    switches = draw_switches(evaluations, count, rng=np.random.default_rng(seed))
    square = scorer.square(pixels) if square is None else square
    score, new = scorer.member_answers(square[None])
    upright = scorer.on(scorer.members, views=1)
    probabilities = [score if scorer.views == 1 else upright.member_probabilities(square[None])]

    def check() -> None:
        done = sum(map(len, probabilities))
        _require_time(start, deadline, should_stop, f"{done} of {evaluations} evaluations")

    hidden_by = upright.on(WatchedMembers(scorer.members.faster(), check))
    for batch in _hidden(square, segments, switches[1:], step=_batch_size(scorer)):
        probabilities.append(hidden_by.member_probabilities(batch))
    by_member = np.concatenate(probabilities)
    mean, shown = (scorer.bundle.served(each.mean(axis=1)) for each in (by_member, score))
    name, columns = _find_columns(scorer.bundle, target, default=int(shown[0].argmax()))
    surrogate = fit_surrogate(switches, mean[:, columns].sum(axis=1))
    return LimeExplanation(
        target=name,
        prediction=_answer(scorer, score[0], new, square, warnings),
        folds=scorer.members.folds,
        fit=scorer.bundle.fit,
        seconds=time.monotonic() - start,
        precision=precision,
        evaluations=len(by_member),
        seed=seed,
        segments=segments,
        weights=surrogate.weights,
        intercept=surrogate.intercept,
        r2=surrogate.r2,
    )


def explain_gradcam(
    scorer: Scorer,
    pixels: Pixels,
    *,
    square: Pixels | None = None,
    warnings: Sequence[str] | None = None,
    target: str | None = None,
) -> GradcamExplanation:
    """Where the last feature maps speak for a class, the predicted one by default.

    `pixels` (H, W, 3) are decoded; `square` and `warnings` are theirs as for explain_lime.

    The upright view is explained, whatever views the score averages; each member's map is scaled
    to [0, 1] before the mean. Raises RecipeError for an unknown class.
    """
    start, bundle = time.monotonic(), scorer.bundle
    warnings = compression_warnings(pixels) if warnings is None else warnings
    _find_columns(bundle, target, default=0)
    squares = (scorer.square(pixels) if square is None else square)[None]
    (by_member,), new = scorer.member_answers(squares)
    likeliest = int(bundle.served(by_member.mean(axis=0)).argmax())
    name, columns = _find_columns(bundle, target, default=likeliest)
    evidence = Evidence(tuple(columns))
    if bundle.outputs == 1:
        # One logit says melanoma; what speaks for the other class speaks against it.
        evidence = Evidence((0,), 1.0 if bundle.classes[columns[0]] in bundle.melanoma else -1.0)
    maps = scorer.members.heat(squares[0], evidence)
    return GradcamExplanation(
        target=name,
        prediction=_answer(scorer, by_member, new, squares[0], warnings),
        folds=scorer.members.folds,
        fit=scorer.bundle.fit,
        seconds=time.monotonic() - start,
        heat=np.mean(maps, axis=0),
    )


def _answer(
    scorer: Scorer, by_member: Floats, new: Floats | None, square: Pixels, warnings: Sequence[str]
) -> Prediction:
    novelty = None if new is None else float(new[0])
    return scorer.answer(by_member, warnings, square=square, novelty=novelty)


def _find_columns(bundle: Bundle, target: str | None, *, default: int) -> tuple[str, list[int]]:
    """The class's name and its columns; "melanoma" means all classes that count as it."""
    if target is None:
        return bundle.classes[default], [default]
    if target in bundle.classes:
        return target, [bundle.classes.index(target)]
    if target == "melanoma" and bundle.melanoma:
        return target, bundle.melanoma_columns
    raise RecipeError(f"unknown class {target!r}; the bundle's are {', '.join(bundle.classes)}")


def time_evaluation(scorer: Scorer) -> float:
    """Seconds that one of LIME's evaluations takes on this machine when nothing else runs on it,
    as explain_lime makes it."""
    size = scorer.bundle.size
    squares = np.zeros((max(1, _batch_size(scorer) // 4), size, size, 3), np.uint8)
    members = scorer.members.faster()
    members.logits(squares[:1], views=1)  # what is done once is not the cost of each
    # The processor's own time, over the threads that share it: what else a machine does while a
    # service starts would otherwise be taken for its cost ever after. A GPU's time is the clock's.
    on_cpu = scorer.device.type == "cpu"
    clock, share = (time.process_time, count_cores()) if on_cpu else (time.monotonic, 1)
    times = []
    for _ in range(3):
        start = clock()
        members.logits(squares, views=1)
        times.append(clock() - start)
    return min(times) / share / len(squares)


def _batch_size(scorer: Scorer) -> int:
    return int(min(_BATCH_IMAGES, max(1, _BATCH_PIXELS // scorer.bundle.size**2)))


def _hidden(
    square: Pixels, segments: Segments, switches: Switches, *, step: int
) -> Iterator[Pixels]:
    coverage = measure_coverage(segments, size=square.shape[0])
    for first in range(0, len(switches), step):
        yield hide_segments(square, switches[first : first + step], coverage)


def _require_time(
    start: float, deadline: float | None, should_stop: Callable[[], bool], done: str
) -> None:
    if should_stop():
        raise ExplanationError(f"the explanation was stopped after {done}")
    if deadline is not None and time.monotonic() - start > deadline:
        raise ExplanationError(
            f"the explanation's deadline of {deadline:g} s passed after {done}; "
            "ask for a lower precision or a longer deadline"
        )
