"""What a bundle answers beside its report: a fit elsewhere first, then the prevalence asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_content import SEVEN, binary, many
from scipy.special import expit, logit

from melanoma.errors import RecipeError
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.evaluation.report.schema import Recalibrated, ReportContent
from melanoma.evaluation.report.served_move import move_to, served_move

FIT = Recalibrated(external="there", slope=0.8, intercept=-0.6, prevalence=0.3)
P = np.array([0.01, 0.4, 0.95])


def _report(**changes: Any) -> ReportContent:
    return binary().content.model_copy(update={"retargeted": None, **changes})


def test_a_report_that_nothing_was_done_to_moves_nothing() -> None:
    assert served_move(_report()) is None


def test_another_prevalence_is_one_factor_of_the_odds() -> None:
    report = retarget_report(_report(), 0.02)
    move, trained = served_move(report), report.data.prevalence
    assert move is not None and trained is not None
    assert move.of(P) == pytest.approx(expit(logit(P) + logit(0.02) - logit(trained)))
    assert move.prevalence == 0.02


def test_the_prevalence_after_a_fit_is_counted_from_the_fit_s_own() -> None:
    fitted = _report(recalibrated=FIT)
    alone = served_move(fitted)
    assert alone is not None and alone.prevalence == 0.3
    assert alone.of(P) == pytest.approx(expit(0.8 * logit(P) - 0.6))
    both = served_move(retarget_report(fitted, 0.02))
    assert both is not None and both.prevalence == 0.02
    assert both.of(P) == pytest.approx(expit(0.8 * logit(P) - 0.6 + logit(0.02) - logit(0.3)))


def test_a_report_without_melanoma_has_no_prevalence_to_be_moved_to() -> None:
    with pytest.raises(RecipeError, match="names no melanoma class"):
        move_to(many(SEVEN, ()).content, 0.02)
