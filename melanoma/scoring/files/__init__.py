"""Scoring many files, in this process or by a service."""
