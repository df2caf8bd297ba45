"""The picture shows what the explanation holds: the right places in the right colors."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_scorer import Box, draw_marked_photograph, make_scorer, read_boxes

from melanoma.scoring.explain.explainers import LimeExplanation, explain_gradcam, explain_lime
from melanoma.scoring.explain.pictures import (
    draw_explanation,
    lay_out_explanation,
    tint_segments,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("superpixels_once")]

CHECKOUT = Path(__file__).resolve().parents[3]
PATCH = Box(0.55, 0.60, 0.67, 0.70)
PHOTOGRAPH = draw_marked_photograph(PATCH)


def _lime(target: str, pixels: np.ndarray = PHOTOGRAPH) -> LimeExplanation:
    return explain_lime(make_scorer([read_boxes([PATCH])]), pixels, target=target)


@pytest.mark.parametrize(("target", "sign"), [("melanoma", 1), ("benign", -1)])
def test_the_read_square_is_blue_for_its_class_and_orange_for_the_other(
    target: str, sign: int
) -> None:
    tinted = tint_segments(PHOTOGRAPH, _lime(target)).astype(int)
    change = (tinted - PHOTOGRAPH)[PATCH.mask(*PHOTOGRAPH.shape[:2])]
    inner = np.median(change, axis=0)
    # Towards blue and away from red, or the other way round.
    assert sign * (inner[2] - inner[0]) > 10


def test_only_the_five_largest_are_tinted_and_each_has_an_edge_of_two_lines() -> None:
    pixels = draw_marked_photograph(PATCH, height=192, width=256)  # the superpixels' own size
    explanation = _lime("melanoma", pixels)
    tinted = tint_segments(pixels, explanation)
    touched = (tinted != pixels).any(axis=2)
    assert len(explanation.largest()) == 5
    chosen = np.isin(explanation.segments, explanation.largest())
    assert touched[chosen].mean() > 0.95
    light, dark = (tinted == 255).all(axis=2), (tinted == 0).all(axis=2)
    assert not (touched & ~chosen & ~light).any()
    assert (light & ~chosen).any()
    for number in explanation.largest():
        assert dark[explanation.segments == number].any()


def test_the_cells_of_a_map_are_drawn_as_large_as_they_are() -> None:
    explanation = explain_gradcam(make_scorer([read_boxes([PATCH])]), PHOTOGRAPH, target="melanoma")
    (half,) = (explanation.heat.shape[0] // 2,)
    heat = np.zeros_like(explanation.heat)
    heat[:half] = 1.0
    flat = np.full((300, 300, 3), 128, np.uint8)
    drawn = draw_explanation(dataclasses.replace(explanation, heat=heat), flat)
    with Image.open(io.BytesIO(drawn)) as image:
        right = np.asarray(image.convert("RGB"), int)[63 : 63 + 506, 572 : 572 + 506]
    # Between two lines of the grid a column has two colors and nothing between them.
    column = right[:, 5, :].sum(axis=1)
    high, low = np.median(column[20:60]), np.median(column[-60:-20])
    assert abs(high - low) > 30
    between = (np.abs(column - high) > 6) & (np.abs(column - low) > 6)
    assert between[8:-8].sum() <= 3 * max(heat.shape)


def test_a_picture_is_as_wide_for_any_shape_and_keeps_the_photograph_s_proportions() -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    heights = []
    for shape in ((240, 320), (320, 240)):
        pixels = draw_marked_photograph(PATCH, height=shape[0], width=shape[1])
        explanation = explain_gradcam(scorer, pixels, target="melanoma")
        with Image.open(io.BytesIO(draw_explanation(explanation, pixels))) as image:
            assert image.width == 1100
            heights.append(image.height)
    assert heights[1] - heights[0] == pytest.approx(506 * (4 / 3 - 3 / 4), abs=2)


@pytest.mark.parametrize("shape", [(240, 320), (320, 240), (300, 300)])
def test_the_panels_lie_where_the_page_cuts_them_out(shape: tuple[int, int]) -> None:
    source = (CHECKOUT / "api/page/explained_picture.js").read_text()
    stated = source.split("PICTURE = {")[1].split("}")[0]
    at = {name: int(number) for name, number in re.findall(r"(\w+): (\d+)", stated)}
    pixels = np.full((*shape, 3), (200, 120, 90), np.uint8)
    explanation = explain_gradcam(make_scorer([read_boxes([PATCH])]), pixels, target="melanoma")
    flat = dataclasses.replace(explanation, heat=np.ones_like(explanation.heat))
    with Image.open(io.BytesIO(draw_explanation(flat, pixels))) as image:
        drawn = np.asarray(image.convert("RGB"))
    assert drawn.shape[1] == at["width"]
    bottom = at["top"] + len(drawn) - at["rest"]
    for left in (at["left"], at["right"]):
        right = left + at["panel"]
        assert not (drawn[at["top"] : bottom, left:right] == 255).all(axis=2).any()
        for row in (at["top"] - 1, bottom):
            assert (drawn[row, left:right] == 255).all()
        for column in (left - 1, right):
            assert (drawn[at["top"] : bottom, column] == 255).all()


def test_a_flat_photograph_and_a_map_of_nothing_are_drawn_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    scorer = make_scorer([read_boxes([PATCH])])
    flat = np.full((90, 120, 3), 127, np.uint8)
    for explanation in (
        explain_lime(scorer, flat, precision="Low"),
        explain_gradcam(scorer, flat, target="benign"),
    ):
        assert draw_explanation(explanation, flat).startswith(b"\x89PNG")
    assert [str(w.message) for w in recwarn] == []


def test_the_same_explanation_gives_the_same_file() -> None:
    explanation = _lime("melanoma")
    assert draw_explanation(explanation, PHOTOGRAPH) == draw_explanation(explanation, PHOTOGRAPH)


def test_a_center_bundle_s_picture_shows_the_centre_square_alone() -> None:
    pixels = np.pad(PHOTOGRAPH, ((200, 200), (0, 0), (0, 0)))
    explanation = explain_gradcam(make_scorer([read_boxes([PATCH])], fit="center"), pixels)
    with Image.open(io.BytesIO(draw_explanation(explanation, pixels))) as image:
        assert image.height - (0.46 * image.width) == pytest.approx(1.75 * 110, abs=2)


@pytest.mark.parametrize(("score", "told"), [(0.0002, "0.02%"), (0.00153, "0.15%"), (0.4, "40.0%")])
def test_a_small_probability_is_told_as_predict_tells_it(score: float, told: str) -> None:
    """Where melanoma is rare all of them were 0.0 or 0.2 %, on either side of the threshold."""
    explanation = explain_gradcam(make_scorer([read_boxes([PATCH])]), PHOTOGRAPH)
    point = explanation.prediction.threshold
    assert point is not None
    small = {"melanoma_probability": score, "threshold": dataclasses.replace(point, value=0.00168)}
    answer = dataclasses.replace(explanation.prediction, **small)
    shown = dataclasses.replace(explanation, prediction=answer)
    figure, _ = lay_out_explanation(shown, PHOTOGRAPH)
    assert any(f"melanoma probability {told}" in text.get_text() for text in figure.texts)


def test_a_picture_says_which_share_of_melanomas_its_probability_is_for() -> None:
    """Beside predict's row for another prevalence it gave the bundle's own without a word."""
    explanation = explain_gradcam(make_scorer([read_boxes([PATCH])]), PHOTOGRAPH)
    answer = dataclasses.replace(explanation.prediction, prevalence=0.0025)
    shown = dataclasses.replace(explanation, prediction=answer)
    figure, _ = lay_out_explanation(shown, PHOTOGRAPH)
    assert any(
        "%, where 0.25% are melanomas    explained" in text.get_text() for text in figure.texts
    )


LONG = "Actinic Keratosis Basal Cell Carcinoma and other Malignant Lesions, such as $1 and $2 ones"


@pytest.mark.parametrize("method", [explain_lime, explain_gradcam])
def test_a_long_class_name_stays_inside_the_picture(method: Any) -> None:
    scorer = make_scorer([read_boxes([PATCH])], classes=("benign", LONG), melanoma=(LONG,))
    figure, _ = lay_out_explanation(method(scorer, PHOTOGRAPH, target=LONG), PHOTOGRAPH)
    figure.draw_without_rendering()
    assert any(LONG[:30] in text.get_text() for text in figure.texts)
    boxes = [text.get_window_extent() for text in figure.texts]
    for text, box in zip(figure.texts, boxes, strict=True):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width, text.get_text()
    # Nor does one text lie over another.
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
