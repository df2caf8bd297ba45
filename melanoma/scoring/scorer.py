"""Scorer: a bundle on a device. Bytes in, Prediction out; the same path for CLI and service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from melanoma.data.compression import STRONG
from melanoma.data.images import Photograph, Pixels, decode_image, make_square
from melanoma.devices import CPU, Device
from melanoma.errors import RecipeError, ScoreError
from melanoma.evaluation.measure.other_cancer import share_if_no_melanoma
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.bundle.operating import JudgedPoint
from melanoma.scoring.flagging import flagging_point, moved_point
from melanoma.scoring.frequency import Frequency, natural_frequency
from melanoma.scoring.members import MemberAnswers, Members
from melanoma.scoring.novelty import UNSCORABLE
from melanoma.scoring.other_prevalence import move_prediction
from melanoma.scoring.possible import PossibleClasses, doubt, possible_classes
from melanoma.scoring.prediction import ModelInfo, OtherCancerShare, Prediction
from melanoma.scoring.quality import judge_square
from melanoma.scoring.scorer_input import Squares, input_warnings, read_squares, require_views
from melanoma.scoring.square_statistics import square_statistics
from melanoma.scoring.verdict import Verdict, make_verdict, reason_of, sum_by_risk
from melanoma.types import Floats

if TYPE_CHECKING:
    from melanoma.models.seed_mean import Network


class Scorer:
    """The ensemble, ready when constructed. Raises WeightsError for weights that cannot be it.

    `members` run the networks; by default torch does, on `device`. `threshold` flags instead of
    the bundle's. Raises RecipeError for one that is no probability, or where no class is melanoma,
    and for `views` that are not 1 to 8.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: Device | None = None,
        views: int | None = None,
        members: Members | None = None,
        threshold: float | None = None,
    ) -> None:
        require_views(views)
        self.bundle = bundle
        self.threshold = threshold
        self._point = flagging_point(bundle, threshold)
        self.device = device or CPU
        self.views = views or bundle.views
        self.members = members or _torch_members(bundle, self.device)
        shifts = {member.fold: member.prior_shift for member in bundle.members}
        self._shifts = [np.asarray(shifts[fold]) for fold in self.members.folds]

    def score(self, data: bytes) -> Prediction:
        """The Prediction for one photograph.

        Raises ImageError when it is not acceptable, ScoreError when the model's answer is no
        finite number.
        """
        return self.score_photographs([decode_image(data)])[0]

    def score_photographs(self, photographs: Sequence[Photograph]) -> list[Prediction]:
        """Predictions for decoded photographs, scored as one batch."""
        squares = [self.square(p.pixels) for p in photographs]
        return self.score_squares(squares, [p.warnings for p in photographs])

    def score_squares(
        self, squares: Squares, warnings: Sequence[Sequence[str]] | None = None
    ) -> list[Prediction]:
        """Predictions for (B, S, S, 3) uint8 RGB, scored as one batch; `warnings` of each come
        from its decoder. Raises ScoreError, and as member_logits."""
        if len(squares) == 0:
            return []
        squares = read_squares(squares, self.bundle.size)
        answers = self.member_answers(squares)
        decoder_warnings = warnings or [()] * len(squares)
        new = [None] * len(squares) if answers.novelty is None else answers.novelty.tolist()
        asked = zip(answers.probabilities, decoder_warnings, new, squares, strict=True)
        return [self.answer(p, w, novelty=n, square=square) for p, w, n, square in asked]

    def square(self, pixels: Pixels) -> Pixels:
        """The square that is scored, as prepare makes it."""
        return make_square(pixels, size=self.bundle.size, fit=self.bundle.fit)

    def member_logits(self, squares: Squares) -> npt.NDArray[np.float64]:
        """(B, K, outputs) logits of the members as they are, the prior shift still in them. Raises
        DataError for squares of another size or type than the bundle reads."""
        return self.members.logits(read_squares(squares, self.bundle.size), views=self.views)

    def member_probabilities(self, squares: Squares) -> npt.NDArray[np.float64]:
        """(B, K, C) calibrated probabilities of the members, a class each, where their training set
        is: a bundle that was moved moves their mean. Raises ScoreError, and as member_logits."""
        return self.calibrate(self.member_logits(squares))

    def member_answers(self, squares: Squares) -> MemberAnswers:
        """member_probabilities, and the novelty, of one pass. Raises as those do."""
        if self.bundle.novelty is None:
            return MemberAnswers(self.member_probabilities(squares), None)
        squares = read_squares(squares, self.bundle.size)
        logits, embeddings = self.members.outputs(squares, views=self.views)
        plain = square_statistics(squares)
        novelty = self.bundle.novelty.scores(embeddings, self.members.folds, plain)
        if not np.isfinite(novelty).all():
            raise ScoreError("the model's novelty score is not a finite number")
        return MemberAnswers(self.calibrate(logits), novelty)

    def calibrate(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(B, K, C) probabilities of the members' logits, (B, K, outputs), not moved.

        Raises ScoreError when one is not finite.
        """
        calibration = self.bundle.calibration
        columns = [
            calibration.probabilities(logits[:, number] - shift)
            for number, shift in enumerate(self._shifts)
        ]
        probabilities = np.stack(columns, axis=1)
        if not np.isfinite(probabilities).all():
            raise ScoreError("the model's answer is not a finite number")
        return probabilities

    def flag_from(self, prediction: Prediction, threshold: float) -> Prediction:
        """The same answer, flagged from this probability on. Raises RecipeError where the
        constructor does."""
        point, score = (
            moved_point(self.bundle, threshold, prediction.prevalence),
            prediction.melanoma_probability,
        )
        flagged = score is not None and score >= threshold
        return self._with_verdict(replace(prediction, threshold=point, flagged=flagged))

    def at_prevalence(self, prediction: Prediction, prevalence: float) -> Prediction:
        """The same answer where that share of the lesions are melanomas, flagged as before.

        Raises RecipeError where no class is melanoma, or for a share that no place has.
        """
        return self._with_verdict(move_prediction(prediction, self.bundle, prevalence))

    def _with_verdict(self, prediction: Prediction) -> Prediction:
        made = self._verdict(
            prediction.flagged,
            prediction.by_class,
            prediction.other_cancer,
            prediction.set,
            # What cannot be scored cannot be scored at another threshold either.
            reason_of(prediction.verdict),
        )
        return replace(prediction, verdict=made)

    def of_fold(self, fold: int) -> Scorer:
        """The same scorer with one member alone. Raises RecipeError listing the folds."""
        folds = self.members.folds
        if fold not in folds:
            known = ", ".join(map(str, folds))
            raise RecipeError(f"--fold {fold}: the bundle's folds are {known}")
        return self.on(self.members.alone()[folds.index(fold)])

    def on(self, members: Members, *, views: int | None = None) -> Scorer:
        """The same bundle and calibration over other members, or other views."""
        return Scorer(
            self.bundle,
            device=self.device,
            views=views or self.views,
            members=members,
            threshold=self.threshold,
        )

    @property
    def classifiers(self) -> dict[int, Network]:
        """The members' networks of torch, by fold, in evaluation mode, for gradients.

        Raises WeightsError where another backend scores, and the weights have changed since.
        """
        return self.members.reference().networks

    def info(self) -> ModelInfo:
        """What scores, as every answer has it."""
        return ModelInfo(
            name=self.bundle.name,
            version=self.bundle.version,
            digest=self.bundle.digest,
            folds=len(self._shifts),
            image_type=self.bundle.image_type,
            backend=self.members.backend,
            precision=self.members.precision,
        )

    def answer(
        self,
        by_member: npt.NDArray[np.float64],
        warnings: Sequence[str] = (),
        *,
        square: Pixels | None = None,
        novelty: float | None = None,
        unscorable: str | None = None,
    ) -> Prediction:
        """The Prediction that the members' probabilities, (K, C), amount to: their mean,
        moved where the bundle is.

        `novelty` is the picture's own, where the bundle has such a score. `square` is what they
        were given, for its quality; `warnings` are its decoder's, of which strong compression is
        one of quality too. `unscorable` says in sentences why the photograph is none to be scored,
        where there is another reason. A novel picture goes before it, a poor one after.
        """
        bundle = self.bundle
        new = bundle.novelty.judge(novelty) if bundle.novelty and novelty is not None else None
        limits = bundle.quality
        quality = None
        if limits and square is not None:
            quality = judge_square(square, limits, compressed=STRONG in warnings)
        if new and new.is_novel:
            unscorable = UNSCORABLE
        unscorable = unscorable or (quality.unscorable if quality else None)
        # The mean of probabilities, not of logits: each member is calibrated by itself.
        mean = by_member.mean(axis=0)
        served = bundle.served(mean)
        likeliest = int(served.argmax())
        columns = bundle.melanoma_columns
        shown = bundle.served(by_member)[:, columns or [likeliest]].sum(axis=1)
        melanoma = float(served[columns].sum()) if columns else None
        points = [
            JudgedPoint(**vars(point), flagged=melanoma is not None and melanoma >= point.value)
            for point in bundle.points
        ]
        flags = self._point
        shares = dict(zip(bundle.classes, served.tolist(), strict=True))
        flagged = melanoma >= flags.value if flags and melanoma is not None else None
        other = self._other_cancer(mean)
        possible = possible_classes(bundle, mean, shares)
        return Prediction(
            melanoma_probability=melanoma,
            prediction=bundle.classes[likeliest],
            probability=float(served[likeliest]),
            by_class=shares,
            by_fold=shown.tolist(),
            threshold=flags,
            thresholds=points,
            flagged=flagged,
            verdict=self._verdict(flagged, shares, other, possible, unscorable),
            risk=sum_by_risk(shares, bundle.risk) if bundle.risk else None,
            other_cancer=other,
            set=possible,
            frequency=None if unscorable else self._frequency(melanoma),
            quality=quality,
            novelty=new,
            calibrated=bundle.is_calibrated,
            prevalence=bundle.prevalence,
            warnings=[*warnings, *self._input_warnings()],
            model=self.info(),
        )

    def _input_warnings(self) -> list[str]:
        return input_warnings(self.bundle, members=len(self._shifts), views=self.views)

    def _other_cancer(self, mean: Floats) -> OtherCancerShare | None:
        bundle, rule = self.bundle, self.bundle.other_cancer
        if rule is None:
            return None
        share = share_if_no_melanoma(mean, bundle.classes, bundle.melanoma, rule.classes)
        return OtherCancerShare(**vars(rule), probability_if_no_melanoma=float(share))

    def _frequency(self, melanoma: float | None) -> Frequency | None:
        prevalence = self.bundle.prevalence
        if melanoma is None or prevalence is None:
            return None
        return natural_frequency(melanoma, prevalence, self.bundle)

    def _verdict(
        self,
        flagged: bool | None,
        by_class: dict[str, float],
        other: OtherCancerShare | None,
        possible: PossibleClasses | None,
        unscorable: str | None = None,
    ) -> Verdict | None:
        if flagged is None and unscorable is None:
            return None
        return make_verdict(
            flagged=bool(flagged),
            by_class=by_class,
            other_share=other.probability_if_no_melanoma if other else None,
            rule=self.bundle.other_cancer,
            unscorable=unscorable,
            unsure=doubt(self.bundle, possible),
        )


def _torch_members(bundle: Bundle, device: Device) -> Members:
    from melanoma.scoring.backends.torch_members import load_members

    return load_members(bundle, device)
