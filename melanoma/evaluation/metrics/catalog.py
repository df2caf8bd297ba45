"""Every metric under one name: of the order, of decisions, and of probabilities.

Each factory returns a Statistic, weights (R, N) -> (R,): the metric for many bootstrap resamples
at once. With all weights 1 it equals scikit-learn's, ties included; NaN is undefined.
"""

from __future__ import annotations

from melanoma.evaluation.metrics.decisions import (
    accuracy,
    accuracy_at,
    balanced_accuracy,
    balanced_accuracy_at,
    class_f1,
    class_precision,
    class_recall,
    confusion_matrix,
    macro_f1,
    negative_predictive_value_at,
    positive_predictive_value_at,
    sensitivity_at,
    specificity_at,
    top_k_accuracy,
)
from melanoma.evaluation.metrics.probability_scores import (
    brier_score,
    calibration_line,
    class_brier_score,
    class_log_loss,
    expected_calibration_error,
    log_loss,
    reliability_bins,
)
from melanoma.evaluation.metrics.ranking import (
    auroc,
    average_precision,
    macro_auroc,
    macro_average_precision,
    partial_auroc,
    sensitivity_at_specificity,
    threshold_at_sensitivity,
    threshold_at_specificity,
)

__all__ = [
    "accuracy",
    "accuracy_at",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "balanced_accuracy_at",
    "brier_score",
    "calibration_line",
    "class_brier_score",
    "class_f1",
    "class_log_loss",
    "class_precision",
    "class_recall",
    "confusion_matrix",
    "expected_calibration_error",
    "log_loss",
    "macro_auroc",
    "macro_average_precision",
    "macro_f1",
    "negative_predictive_value_at",
    "partial_auroc",
    "positive_predictive_value_at",
    "reliability_bins",
    "sensitivity_at",
    "sensitivity_at_specificity",
    "specificity_at",
    "threshold_at_sensitivity",
    "threshold_at_specificity",
    "top_k_accuracy",
]
