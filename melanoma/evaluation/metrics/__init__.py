"""Metrics, each a Statistic over many bootstrap resamples at once."""
