"""How far a bundle's answers lie from its report's own calibrated probabilities."""

from __future__ import annotations

from melanoma.errors import RecipeError
from melanoma.evaluation.prevalence import Move, move_between
from melanoma.evaluation.report.schema import ReportContent


def served_move(report: ReportContent) -> Move | None:
    """From the calibrated probabilities to those that the bundle answers; None where they are the
    same. A fit on another set comes first, then the prevalence that was asked for."""
    fit, there = report.recalibrated, report.retargeted
    if there is not None:
        return move_to(report, there.prevalence)
    return Move(fit.slope, fit.intercept, fit.prevalence) if fit else None


def move_to(report: ReportContent, prevalence: float) -> Move:
    """From the calibrated probabilities to those where `prevalence` are melanomas. Raises
    RecipeError where no class is melanoma, or the share is not between 0 and 1."""
    fit, trained = report.recalibrated, report.data.prevalence
    if fit is not None:
        there = move_between(fit.prevalence, prevalence)
        return Move(fit.slope, fit.intercept, fit.prevalence).then(there)
    if trained is None:
        raise RecipeError("--prevalence: the recipe names no melanoma class")
    return move_between(trained, prevalence)
