"""Scorer: a bundle on a device. Bytes in, Prediction out; the same path for CLI and service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from melanoma.data.images import Photograph, Pixels, decode_image, make_square
from melanoma.data.transforms import to_tensor
from melanoma.errors import ScoreError, WeightsError
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.scoring.bundle import Bundle, Member
from melanoma.training.engine import predict_logits

DISCLAIMER = "Research software, not a medical device: a score is no diagnosis."


@dataclass(frozen=True)
class Prediction:
    """An answer. Probabilities are in [0, 1]; `flagged` is melanoma_probability >= threshold."""

    melanoma_probability: float
    prediction: str
    probability: float
    by_class: dict[str, float]
    by_fold: list[float]
    threshold: dict[str, Any]
    flagged: bool
    calibrated: bool
    warnings: list[str]
    model: dict[str, Any]
    disclaimer: str = DISCLAIMER

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


class Scorer:
    """The ensemble, ready when constructed. Raises WeightsError for weights that cannot be it."""

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
            self._answer(by_fold, photograph.warnings)
            for by_fold, photograph in zip(probabilities, photographs, strict=True)
        ]

    def score_squares(self, squares: Pixels) -> list[Prediction]:
        """Predictions for rows of an array, (B, S, S, 3) uint8 RGB."""
        return [self._answer(by_fold, ()) for by_fold in self.member_probabilities(squares)]

    def square(self, pixels: Pixels) -> Pixels:
        """The square that is scored, as prepare makes it."""
        return make_square(pixels, size=self.bundle.size, fit=self.bundle.fit)

    def member_probabilities(self, squares: Pixels) -> npt.NDArray[np.float64]:
        """(B, K) calibrated probabilities of the members."""
        images = to_tensor(squares, normalize=self.bundle.normalize, device=self.device)
        columns = []
        for classifier, member in self._members:
            logits = predict_logits(classifier, images, views=self.views)[:, 0]
            corrected = logits.cpu().numpy().astype(np.float64) - member.prior_shift
            columns.append(self.bundle.calibration.probabilities(corrected))
        probabilities = np.stack(columns, axis=1)
        if not np.isfinite(probabilities).all():
            raise ScoreError("the model's answer is not a finite number")
        return probabilities

    def info(self) -> dict[str, Any]:
        """Name, version, digest and number of folds, as every answer carries them."""
        return {
            "name": self.bundle.name,
            "version": self.bundle.version,
            "digest": self.bundle.digest,
            "folds": len(self._members),
        }

    def _answer(self, by_fold: npt.NDArray[np.float64], warnings: Sequence[str]) -> Prediction:
        bundle = self.bundle
        # The mean of probabilities, not of logits: each member is calibrated by itself.
        melanoma = float(by_fold.mean())
        by_class = dict(zip(bundle.classes, (1 - melanoma, melanoma), strict=True))
        likeliest = max(by_class, key=lambda name: by_class[name])
        return Prediction(
            melanoma_probability=melanoma,
            prediction=likeliest,
            probability=by_class[likeliest],
            by_class=by_class,
            by_fold=[float(p) for p in by_fold],
            threshold=asdict(bundle.threshold),
            flagged=melanoma >= bundle.threshold.value,
            calibrated=True,
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
    classifier = make_classifier(bundle.backbone, outputs=1)
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
