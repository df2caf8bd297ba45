"""Experiment trackers that follow a run; their failure never stops it."""
