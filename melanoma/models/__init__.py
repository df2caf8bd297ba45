"""Backbones, the classifier on top of them, losses, and published weights."""
