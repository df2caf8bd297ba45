"""The part of report.json on a photograph's quality: limits, and what they stop of good ones."""

from __future__ import annotations

from melanoma.evaluation.report.schema_parts import Count, Part, Share


class QualityLimits(Part):
    """What a square must reach: melanoma.data.square_quality says what each measure is."""

    sharpness: float  # at least
    brightness: float  # at least
    white_share: float  # at most
    lesion_share: float  # at least
    lesion_offset: float  # at most
    coarse_contrast: float  # at least
    chroma: float | None = None  # at least; None in bundles from before it was measured


class StoppedClass(Part):
    """Of the `images` of a class or a set that were measured, how many a limit stops."""

    name: str
    images: Count
    stopped: Count


class CaughtSpoiled(Part):
    """Melanomas that were flagged, spoiled in one way: those that `fell` below the threshold, and
    how many of these a limit stops. Measured for the shipped bundle (benchmarks/quality.py)."""

    name: str
    melanomas: Count
    fell: Count
    caught: Count


class PictureQuality(Part):
    """Limits from the training images: each is a quantile of its measure, `images` were measured.

    `stopped` is the share of those images that any limit stops, `reasons` how many by each. They
    were learned from those same images, or, where `held_out`, without the image's own fold.
    `elsewhere` are other sets (benchmarks/quality.py, of the shipped bundle).
    """

    limits: QualityLimits
    images: Count
    stopped: Share
    by_class: tuple[StoppedClass, ...]
    reasons: dict[str, Count]
    held_out: bool = False
    spoiled: tuple[CaughtSpoiled, ...] = ()
    elsewhere: tuple[StoppedClass, ...] = ()


class PhonePhotographs(Part):
    """Phone photographs that a bundle for dermatoscope pictures was given: `refused` are those
    without a verdict, for novelty, quality or both (benchmarks/smartphone.py)."""

    source: str
    images: Count
    novel: Count
    stopped: Count
    refused: Count
