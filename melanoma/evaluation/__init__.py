"""From out-of-fold scores to a report: metrics, intervals, calibration, thresholds."""
