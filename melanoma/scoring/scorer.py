"""Scorer: a bundle on a device. Bytes in, Prediction out; the same path for CLI and service."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from melanoma.data.images import Photograph, Pixels, decode_image, make_square
from melanoma.data.transforms import to_tensor
from melanoma.errors import RecipeError, ScoreError, WeightsError
from melanoma.evaluation.scored_images import by_class
from melanoma.models.classifier import Classifier, make_classifier, make_faster
from melanoma.scoring.bundle.bundle import Bundle, Member
from melanoma.training.epoch import predict_logits

DISCLAIMER = "Research software, not a medical device: a score is no diagnosis."


@dataclass(frozen=True)
class Prediction:
    """An answer. Probabilities are in [0, 1]; `flagged` is melanoma_probability >= threshold.

    `thresholds` are all of the bundle's operating points, the one that flags first. Where the
    bundle names no melanoma class, melanoma_probability, threshold and flagged are None, and
    `by_fold` holds the members' probabilities of the predicted class. `prevalence` is the share of
    melanomas that the probabilities refer to.
    """

    melanoma_probability: float | None
    prediction: str
    probability: float
    by_class: dict[str, float]
    by_fold: list[float]
    threshold: dict[str, Any] | None
    thresholds: list[dict[str, Any]]
    flagged: bool | None
    calibrated: bool
    prevalence: float | None
    warnings: list[str]
    model: dict[str, Any]
    disclaimer: str = DISCLAIMER

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


class Scorer:
    """The ensemble, ready when constructed. Raises WeightsError for weights that cannot be it."""

    _before_member: Callable[[], None] = staticmethod(lambda: None)  # see `watched`
    _precision = torch.float32  # see `faster`

    def __init__(
        self, bundle: Bundle, *, device: torch.device | None = None, views: int | None = None
    ) -> None:
        self.bundle = bundle
        self.device = device or torch.device("cpu")
        self.views = views or bundle.views
        self._members = [(_load_member(bundle, m).to(self.device), m) for m in bundle.members]

    def score(self, data: bytes) -> Prediction:
        """The Prediction for one photograph.

        Raises ImageError when it is not acceptable, ScoreError when the model's answer is no
        finite number.
        """
        return self.score_photographs([decode_image(data)])[0]

    def score_photographs(self, photographs: Sequence[Photograph]) -> list[Prediction]:
        """Predictions for decoded photographs, scored as one batch."""
        squares = np.stack([self.square(p.pixels) for p in photographs])
        probabilities = self.member_probabilities(squares)
        return [
            self.answer(by_member, photograph.warnings)
            for by_member, photograph in zip(probabilities, photographs, strict=True)
        ]

    def score_squares(self, squares: Pixels) -> list[Prediction]:
        """Predictions for rows of an array, (B, S, S, 3) uint8 RGB."""
        return [self.answer(by_member, ()) for by_member in self.member_probabilities(squares)]

    def square(self, pixels: Pixels) -> Pixels:
        """The square that is scored, as prepare makes it."""
        return make_square(pixels, size=self.bundle.size, fit=self.bundle.fit)

    def member_logits(self, squares: Pixels) -> npt.NDArray[np.float64]:
        """(B, K, outputs) logits of the members as they are, the prior shift still in them."""
        images = to_tensor(squares, normalize=self.bundle.normalize, device=self.device)
        images = images.to(self._precision)
        found = []
        for model, _ in self._members:
            self._before_member()
            found.append(predict_logits(model, images, views=self.views))
        return torch.stack(found, dim=1).cpu().numpy().astype(np.float64)

    def member_probabilities(self, squares: Pixels) -> npt.NDArray[np.float64]:
        """(B, K, C) calibrated probabilities of the members, a class each. Raises ScoreError."""
        return self.calibrate(self.member_logits(squares))

    def calibrate(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(B, K, C) probabilities of the members' logits, (B, K, outputs).

        Raises ScoreError when one is not finite.
        """
        calibration = self.bundle.calibration
        columns = [
            by_class(calibration.probabilities(logits[:, number] - np.asarray(member.prior_shift)))
            for number, (_, member) in enumerate(self._members)
        ]
        probabilities = np.stack(columns, axis=1)
        if not np.isfinite(probabilities).all():
            raise ScoreError("the model's answer is not a finite number")
        return probabilities

    def of_fold(self, fold: int) -> Scorer:
        """The same scorer with one member alone. Raises RecipeError listing the folds."""
        chosen = copy.copy(self)
        chosen._members = [pair for pair in self._members if pair[1].fold == fold]
        if not chosen._members:
            known = ", ".join(str(member.fold) for _, member in self._members)
            raise RecipeError(f"--fold {fold}: the bundle's folds are {known}")
        return chosen

    def faster(self, precision: torch.dtype) -> Scorer:
        """The same scorer with faster networks of that precision: for many questions, not scores.

        Its answers are equal up to rounding, not bit for bit.
        """
        faster = copy.copy(self)
        faster._precision = precision
        faster._members = [(make_faster(network, precision), m) for network, m in self._members]
        return faster

    def watched(self, check: Callable[[], None]) -> Scorer:
        """The same scorer, which calls `check` before each member: what it raises ends the work."""
        watched = copy.copy(self)
        watched._before_member = check
        return watched

    @property
    def classifiers(self) -> dict[int, Classifier]:
        """The members' networks, by fold, in evaluation mode."""
        return {member.fold: classifier for classifier, member in self._members}

    def info(self) -> dict[str, Any]:
        """Name, version, digest and number of folds, as every answer carries them."""
        return {
            "name": self.bundle.name,
            "version": self.bundle.version,
            "digest": self.bundle.digest,
            "folds": len(self._members),
        }

    def answer(
        self, by_member: npt.NDArray[np.float64], warnings: Sequence[str] = ()
    ) -> Prediction:
        """The Prediction that the members' probabilities, (K, C), amount to."""
        bundle = self.bundle
        # The mean of probabilities, not of logits: each member is calibrated by itself.
        mean = by_member.mean(axis=0)
        likeliest = int(mean.argmax())
        columns = [bundle.classes.index(name) for name in bundle.melanoma]
        shown = by_member[:, columns or [likeliest]].sum(axis=1)
        melanoma = float(shown.mean()) if columns else None
        points = [
            {**asdict(point), "flagged": melanoma is not None and melanoma >= point.value}
            for point in bundle.thresholds
        ]
        return Prediction(
            melanoma_probability=melanoma,
            prediction=bundle.classes[likeliest],
            probability=float(mean[likeliest]),
            by_class=dict(zip(bundle.classes, mean.tolist(), strict=True)),
            by_fold=shown.tolist(),
            threshold=asdict(bundle.threshold) if bundle.threshold else None,
            thresholds=points,
            flagged=points[0]["flagged"] if points else None,
            calibrated=True,
            prevalence=bundle.calibration.prevalence,
            warnings=[*warnings, *self._own_warnings()],
            model=self.info(),
        )

    def _own_warnings(self) -> list[str]:
        found = []
        if len(self._members) < self.bundle.folds_expected:
            found.append(f"fewer_folds: {len(self._members)} of {self.bundle.folds_expected}")
        if self.views != self.bundle.views:
            found.append(f"views: scored with {self.views}, evaluated with {self.bundle.views}")
        return found


def _load_member(bundle: Bundle, member: Member) -> Classifier:
    classifier = make_classifier(bundle.backbone, outputs=bundle.outputs, head=bundle.head)
    try:
        weights = load_file(member.file)
        classifier.load_state_dict(weights)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WeightsError(
            f"{member.file} does not hold a {bundle.backbone}: {' '.join(str(error).split())[:200]}"
        ) from error
    if not all(bool(torch.isfinite(w).all()) for w in weights.values()):
        raise WeightsError(f"{member.file} holds weights that are not finite")
    return classifier.eval().to(memory_format=torch.channels_last)
