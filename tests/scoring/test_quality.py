"""quality in an answer: a poor photograph is unscorable, with what to do; its score stays."""

from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

from melanoma.data.compression import STRONG
from melanoma.evaluation.report.schema_quality import QualityLimits
from melanoma.scoring.quality import ADVICE, judge_square
from melanoma.scoring.scorer import Scorer
from tests.data.test_square_quality import SIZE, draw_lesion
from tests.support.toy_scorer import Box, make_scorer, read_boxes

LIMITS = QualityLimits(
    sharpness=-40, brightness=100, white_share=0.01, lesion_share=0.05, lesion_offset=0.15,
    coarse_contrast=0, chroma=5,
)  # fmt: skip
SPOILED = {
    "not_sharp": cv2.GaussianBlur(draw_lesion(), (0, 0), 4.0),
    "too_dark": (draw_lesion() * 0.3).astype("uint8"),
    "no_color": (0.15 * draw_lesion() + 170).astype("uint8"),
    "lesion_too_small": draw_lesion(radius=0.03),
    "lesion_off_center": draw_lesion(right=-0.3, down=0.25),
}


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    toy = make_scorer([read_boxes([Box(0, 0, 1, 1)], size=SIZE)], size=SIZE)
    return Scorer(replace(toy.bundle, quality=LIMITS), members=toy.members)


def test_a_good_photograph_is_scored(scorer):
    answer = scorer.score_squares(draw_lesion()[None])[0]
    assert answer.quality.ok
    assert answer.quality.reasons == ()
    assert answer.quality.advice is None
    assert answer.verdict.code != "unscorable"


@pytest.mark.parametrize("reason", SPOILED)
def test_a_poor_photograph_is_unscorable_with_what_to_do(scorer, reason):
    answer = scorer.score_squares(SPOILED[reason][None])[0]
    assert not answer.quality.ok
    assert answer.quality.reasons == (reason,)
    assert answer.verdict.code == "unscorable"
    assert ADVICE[reason] in answer.verdict.text
    assert answer.melanoma_probability is not None
    asked = scorer.flag_from(answer, 0.0)
    assert asked.flagged
    assert asked.verdict.code == "unscorable"


def test_what_was_compressed_too_strongly_is_unscorable_and_warned_of(scorer):
    answer, good = scorer.score_squares(np.stack([draw_lesion()] * 2), [[STRONG], ["multi_frame"]])
    assert (answer.quality.reasons, answer.warnings) == (("too_compressed",), [STRONG])
    assert answer.verdict.code == "unscorable"
    assert ADVICE["too_compressed"] in answer.verdict.text
    assert good.quality.ok and good.verdict.code != "unscorable"


def test_what_is_no_lesion_is_said_before_its_quality(scorer):
    square = SPOILED["not_sharp"]
    probabilities = scorer.member_probabilities(square[None])[0]
    answer = scorer.answer(probabilities, square=square, unscorable="Not a lesion.")
    assert answer.verdict.text.startswith("Not a lesion.")
    assert not answer.quality.ok


def test_a_bundle_without_limits_says_no_quality(scorer):
    plain = Scorer(replace(scorer.bundle, quality=None), members=scorer.members)
    answer = plain.score_squares(SPOILED["not_sharp"][None])[0]
    assert answer.quality is None
    assert answer.verdict.code != "unscorable"


def test_every_measure_stands_in_the_answer():
    found = judge_square(draw_lesion(), LIMITS)
    assert asdict(found.measures).items() <= found.as_dict().items()
