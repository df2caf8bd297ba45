"""What a report warns of: whatever takes the ground from its numbers, each where it holds alone."""

from __future__ import annotations

import pytest
from made_content import SEVEN, binary, external, held_out_source, many

from melanoma.evaluation.measure.subgroups import HISTOLOGY, REFERENCE
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.report.schema import Recalibrated, ReportContent
from melanoma.evaluation.report.schema_parts import (
    Flow,
    Measured,
    ShortcutLine,
    Shortcuts,
    SubgroupLine,
)
from melanoma.evaluation.report.schema_points import NoveltyLine, NoveltySummary
from melanoma.evaluation.report.schema_quality import (
    PictureQuality,
    QualityLimits,
    StoppedClass,
)
from melanoma.evaluation.report.schema_sources import SourceLine
from melanoma.evaluation.report.warnings import PHANTOMS, find_caveats

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


def told(content: ReportContent, words: str) -> list[str]:
    return [warning for warning in find_caveats(content) if words in warning]


def rivalled(by: float | None, *, low: float | None = 0.84) -> ReportContent:
    """The model at .873, its interval from `low`, beside a baseline that reaches `by`."""
    line = ShortcutLine(name="file facts", inputs=("bytes",), absent=(), auroc=Measured(value=by))
    shortcuts = Shortcuts(model=Measured(value=0.873, low=low, high=low and 0.9), lines=(line,))
    return binary().content.model_copy(update={"shortcuts": shortcuts})


def test_what_reaches_the_model_without_a_look_at_the_photograph_is_told() -> None:
    assert told(rivalled(0.85), "alone reach") == [
        "file facts alone reach AUROC 0.850 without a look at the photograph, within reach of the "
        "model's 0.873"
    ]
    assert told(rivalled(0.84), "alone reach"), "the interval's own end is within it"
    assert not told(rivalled(0.83), "alone reach")
    assert not told(rivalled(None), "alone reach")
    assert not told(rivalled(0.85, low=None), "alone reach"), "without an interval nobody knows"


def proven(value: float | None, *, column: str = REFERENCE) -> ReportContent:
    """Of 900 images with an AUROC from .841, 300 by histology, 150 of them melanomas."""
    line = SubgroupLine(
        column=column,
        value=HISTOLOGY,
        images=300,
        positives=150,
        mean_predicted=0.5,
        observed=0.5,
        auroc=Measured(value=value, low=0.7, high=0.8),
        sensitivity=Measured(value=0.9),
        specificity=Measured(value=0.4),
    )
    return binary().content.model_copy(update={"subgroups": (line,)})


def test_lesions_that_needed_no_biopsy_are_told_where_histology_alone_is_worse() -> None:
    (sentence,) = told(proven(0.8), "by histology")
    assert sentence.startswith("only 150 of the 724 images without melanoma were proven by histo")
    assert "on histology alone the AUROC is" in sentence
    assert "the specificity 40.0 % (all images: 0.873 and 57.2 %)" in sentence
    assert told(proven(0.841), "by histology"), "just below the interval"
    assert not told(proven(0.842), "by histology"), "within the interval"
    assert not told(proven(None), "by histology")
    assert not told(proven(0.8, column="site"), "by histology")
    bare = proven(0.8).model_copy(update={"thresholds": ()})
    assert not told(bare, "by histology")
    unranked = proven(0.8).model_copy(update={"metrics": {"auroc": Measured(value=None)}})
    assert not told(unranked, "by histology")


def test_folds_that_were_not_trained_are_told_of_the_models_own_report_alone() -> None:
    fewer = binary().content.model_copy(update={"folds_expected": 5})
    assert told(fewer, "of 5 folds") == ["3 of 5 folds: the others were not trained"]
    assert not told(binary().content, "folds: the others")
    elsewhere = external().content.model_copy(update={"folds_expected": 5})
    assert not told(elsewhere, "folds: the others")


def test_a_copy_that_was_calibrated_on_the_set_says_so() -> None:
    content = external().content
    assert content.external is not None
    assert not told(content, "the calibration of this copy")
    assert "Nothing was fitted on them" in render_html(content)
    fitted = content.external.model_copy(update={"calibrated_here": True})
    copy = content.model_copy(update={"external": fitted})
    (found,) = told(copy, "the calibration of this copy")
    assert f"was fitted on {fitted.recipe}:" in found
    page = render_html(copy)
    assert "Nothing was fitted" not in page
    assert "Its calibration was fitted on that set" in page


@pytest.mark.parametrize(
    ("before", "models"), [(0, None), (1, "1 other model"), (2, "2 other models")]
)
def test_a_test_part_that_others_were_scored_on_says_by_how_many(
    before: int, models: str | None
) -> None:
    content = external().content
    assert content.external is not None
    part = content.external.model_copy(update={"test_part": True, "scored_before": before})
    found = told(content.model_copy(update={"external": part}), "this test part was scored by")
    assert found == (
        [
            f"this test part was scored by {models} before: whatever was chosen between them was "
            "chosen on it"
        ]
        if models
        else []
    )


def test_an_epoch_picked_by_what_scores_it_is_told_and_the_last_is_not() -> None:
    assert told(binary(keep="best").content, "which flatters it")
    assert not told(binary(keep="last").content, "which flatters it")


@pytest.mark.parametrize(
    ("positives", "images", "crowded", "few"),
    [
        (100, 1000, False, False),
        (101, 1000, True, False),
        (99, 1000, False, True),
        (99, 200, True, True),
    ],
)
def test_more_melanomas_than_a_clinic_sees_and_fewer_than_tell_much_are_told(
    positives: int, images: int, crowded: bool, few: bool
) -> None:
    content, prevalence = binary().content, positives / images
    sample = {"positives": positives, "images": images, "prevalence": prevalence}
    changed = content.model_copy(update={"data": content.data.model_copy(update=sample)})
    share = f"{100 * prevalence:.0f} % of these images are melanomas"
    assert bool(told(changed, share)) == crowded
    sentences = [f"only {positives} positives: the intervals are wide"]
    assert told(changed, "intervals are wide") == (sentences if few else [])


def test_on_another_set_probabilities_refer_to_the_share_at_home() -> None:
    content = external().content
    sample = {"positives": 500, "images": 1000, "prevalence": 0.5}
    update = {
        "data": content.data.model_copy(update=sample),
        "calibration": content.calibration.model_copy(update={"prevalence": 0.111}),
    }
    (sentence,) = told(content.model_copy(update=update), "50 % of these images")
    assert sentence.endswith(
        "predictive values refer to that share, probabilities to one of 11.1 %"
    )


def test_a_copy_for_another_place_says_which_share_its_answers_refer_to() -> None:
    content = binary().content
    sample = {"positives": 500, "images": 1000, "prevalence": 0.5}
    update = {"data": content.data.model_copy(update=sample)}
    (sentence,) = told(content.model_copy(update=update), "50 % of these images")
    assert sentence.endswith("refers to that share, answers to one of 2.0 %")
    (sentence,) = told(content.model_copy(update={**update, "retargeted": None}), "50 % of these")
    assert sentence.endswith("refer to that share (--prevalence re-targets them)")


def test_classes_of_few_images_are_named_where_there_are_more_than_two() -> None:
    content = many(SEVEN, ("melanoma",)).content
    classes = dict.fromkeys(content.data.classes, 100) | {SEVEN[5]: 29, SEVEN[6]: 30}
    data = content.data.model_copy(update={"classes": classes})
    (sentence,) = told(content.model_copy(update={"data": data}), "classes of few images")
    assert sentence.endswith(f": {SEVEN[5]} (29)")
    two = binary().content
    few = two.data.model_copy(update={"classes": {"benign": 700, "melanoma": 3}})
    assert not told(two.model_copy(update={"data": few}), "classes of few images")


@pytest.mark.parametrize(
    ("intercept", "low", "words"),
    [
        (0.57, 0.075, "say the odds of melanoma 1.8 times too low, so"),
        (-0.57, 0.075, "say the odds of melanoma 1.8 times too high, so"),
        (0.23, 0.031, "say the odds of melanoma 1.3 times too low, so"),
        (0.21, 0.075, None),  # a quarter is borne
        (0.57, 0.029, None),  # no more than what exact probabilities show
        (0.57, None, None),
        (None, 0.075, None),
    ],
)
def test_probabilities_that_no_share_of_melanomas_sets_right_are_told(
    intercept: float | None, low: float | None, words: str | None
) -> None:
    held_out = held_out_source(
        ece_at_own_share=Measured(value=0.0972, low=low, high=low and 0.12),
        ece_if_exact=0.029,
        intercept_at_own_share=intercept,
    )
    line = SourceLine(
        name="year",
        images=100,
        weight=1,
        classes={},
        of_several=0,
        soft=0,
        unlabeled=0,
        left_out={},
    )
    lines = (line, line.model_copy(update={"held_out": held_out}))
    found = told(binary().content.model_copy(update={"sources": lines}), "those of year")
    assert len(found) == (words is not None)
    assert words is None or words in found[0]
    assert told(external().content.model_copy(update={"sources": lines}), "those of year") == []
    fit = Recalibrated(external="elsewhere", slope=1, intercept=1, prevalence=0.1)
    copy = {"sources": lines, "recalibrated": fit}
    assert told(binary().content.model_copy(update=copy), "those of year") == []


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1 of this set's images is left out: it"),
        (4, "4 of this set's images are left out: they"),
    ],
)
def test_what_was_left_out_as_known_is_told(count: int, words: str) -> None:
    content = external().content
    flow = {"read": content.data.images + count, "trained_on": count}
    known = content.model_copy(update={"flow": Flow.model_validate(flow)})
    assert told(known, "left out") == [
        f"{words} show{'s' * (count == 1)} what the model was trained on"
    ]
    assert told(content, "left out") == []


def test_leaks_come_first_then_drawings_then_whatever_else() -> None:
    drawn = binary(leaky=True).content.model_copy(update={"phantoms": True})
    first, *others = find_caveats(drawn)
    assert first.startswith("LEAK: 312 patients stand in more than one fold")
    assert others[0] == "near-duplicates were not looked for: there was no array of all images"
    assert others[1] == PHANTOMS and len(others) > 2
