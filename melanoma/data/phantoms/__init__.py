"""Procedural images in SIIM's layout, for the demo and the tests."""
