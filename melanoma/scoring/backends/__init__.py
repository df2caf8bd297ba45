"""Backends: what runs the networks of a bundle. Torch is the reference; others equal it."""
