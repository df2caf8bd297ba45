"""Evaluated runs compared: paired by image, and their mistakes."""
