"""A report warns of good photographs that its gates turn away wholesale, and of no others."""

from __future__ import annotations

from made_content import SEVEN, many

from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_points import NoveltyLine, NoveltySummary
from melanoma.evaluation.report.schema_quality import (
    PictureQuality,
    QualityLimits,
    StoppedClass,
)
from melanoma.evaluation.report.warnings import find_caveats

LIMITS = QualityLimits(
    sharpness=-40,
    brightness=100,
    white_share=0.01,
    lesion_share=0.02,
    lesion_offset=0.17,
    coarse_contrast=-1,
)


def judged(novel: int, stopped: int, *, images: int = 100) -> ReportContent:
    """A report whose gates turn away so many vascular lesions, and so many of another set."""
    made = many(SEVEN, ("melanoma",)).content
    line = NoveltyLine(name="vascular lesion", images=images, novel=novel)
    novelty = NoveltySummary(
        threshold=2.4,
        share=0.01,
        groups=1000,
        by_class=(line,),
        others=(NoveltyLine(name="cats", images=100, novel=100),),
    )
    quality = PictureQuality(
        limits=LIMITS,
        images=1000,
        stopped=0.02,
        by_class=(StoppedClass(name="melanoma", images=100, stopped=5),),
        reasons={},
        elsewhere=(StoppedClass(name="another camera", images=images, stopped=stopped),),
    )
    return made.model_copy(update={"novelty": novelty, "quality": quality})


def turned_away(content: ReportContent) -> list[str]:
    return [warning for warning in find_caveats(content) if "get no verdict" in warning]


def test_more_than_one_in_twenty_of_a_class_or_a_set_is_told_with_its_counts() -> None:
    novel, poor = turned_away(judged(6, 10))
    assert novel.endswith("called unlike the training's: vascular lesion 6 of 100 (6.0 %)")
    assert poor.endswith("called too poor to score: another camera 10 of 100 (10.0 %)")


def test_what_few_images_or_the_expected_share_say_is_not_told() -> None:
    assert turned_away(judged(5, 5)) == []
    assert turned_away(judged(20, 20, images=20)) == []
