"""The model card: TRIPOD+AI's order, and nothing but what the run's files say."""

from __future__ import annotations

import re

import pytest
from made_content import SEVEN, TWENTY_TWO, Made, binary, changed, external, many, undefined

from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.number_format import bounded, threshold
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.assemble import retarget_report

NOTHING = "\u2013"  # in a cell
MADE = {
    "binary": binary,
    "leaky": lambda: binary(leaky=True),
    "seven": lambda: many(SEVEN, ("melanoma",)),
    "twenty-two": lambda: many(TWENTY_TWO),
    "external": external,
    "undefined": undefined,
}


@pytest.fixture(params=MADE, ids=str)
def made(request: pytest.FixtureRequest) -> Made:
    return MADE[request.param]()


def test_items_stand_in_the_order_and_by_the_numbers_of_tripod_ai(made: Made) -> None:
    card = render_card(*made)
    assert [int(n) for n in re.findall(r"^\*\*(\d+)[ *]", card, re.M)] == list(range(1, 28))
    assert re.findall(r"^## (.+)$", card, re.M) == [
        "Title and abstract",
        "Introduction",
        "Methods",
        "Open science",
        "Patient and public involvement",
        "Results",
        "Discussion",
    ]


def test_every_metric_and_threshold_of_the_card_is_the_contents(made: Made) -> None:
    content, card = made.content, render_card(*made).replace("&lt;", "<")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", card, re.M)
    told = {(value, interval) for _, value, interval in rows}
    for key, metric in content.metrics.items():
        form = METRICS[key].form
        assert (form(metric.value), bounded(metric, form) or NOTHING) in told, key
    for point in content.thresholds:
        assert f"| {threshold(point.value)} |" in card
    for row in content.subgroups:
        assert f"| {row.column}: {row.value} | {row.images:,} | {row.positives:,} |" in card
    for fold in content.folds:
        assert f"| {fold.fold} | {fold.images:,} |" in card
    for digest in content.digests.values():
        assert f"`{digest[:12]}`" in card


def test_the_card_repeats_the_summary_and_every_warning_on_top(made: Made) -> None:
    card = render_card(*made)
    top = card[: card.index("## Title")]
    for warning in made.content.warnings:
        assert f"> - {warning}" in top
    assert "not a medical device" in top
    assert made.content.summary in card


def test_what_the_files_cannot_say_is_said_to_be_unrecorded(made: Made) -> None:
    card = render_card(*made).lower()
    for matter in ("ethical approval", "funding", "registration", "licence", "skin tone"):
        assert re.search(rf"{matter}[^\n]*not recorded in this run's files", card), matter
    involvement = card[card.index("## patient and public") :]
    assert involvement.splitlines()[2] == "**19** not recorded in this run's files."


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head(made: Made) -> None:
    columns = 0
    for line in render_card(*made).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert cells in (0, columns) or columns == 0, line
        columns = cells


def test_names_cannot_become_markup() -> None:
    card = render_card(*many(TWENTY_TWO))
    assert "<script" not in card
    assert r"vascular \| lesion" in card
    assert r"\`code\` \*star\* \[link\](x)" in card


def test_the_recipes_own_words_are_in_the_card() -> None:
    made = many(TWENTY_TWO)
    card = render_card(*made)
    recipe = made.recipe
    for word in (recipe.model.backbone, recipe.loss.name, recipe.optimizer.name, "sqrt"):
        assert word in card
    assert f"{recipe.training.epochs} epochs of batches of {recipe.training.batch_size}" in card
    assert "flip_horizontal (p 0.5)" in card
    assert "22 outputs" in card


def test_ungrouped_folds_are_named_a_fault() -> None:
    made = binary()
    folds = made.recipe.folds.model_copy(update={"group_by": "none"})
    loose = made.recipe.model_copy(update={"folds": folds})
    assert "not grouped (images of one patient may be on both sides)" in render_card(
        made.content, loose
    )
    assert "not grouped" not in render_card(*made)


def test_an_update_of_the_model_is_named() -> None:
    made = binary()
    assert "Re-targeted to a prevalence of 2.0 %" in render_card(*made)
    plain = changed(made.content, retargeted=None)
    assert "**24 Model updating.** None." in render_card(plain, made.recipe)
    moved = {"external": "clinic_b", "slope": 0.7, "intercept": -1.2, "prevalence": 0.03}
    card = render_card(changed(made.content, recalibrated=moved), made.recipe)
    assert "Recalibrated on clinic_b: slope 0.700, intercept -1.200." in card


def test_a_moved_copy_says_where_it_answers_and_what_it_flags_from() -> None:
    made = binary()
    there = made.content.retargeted
    assert there is not None
    moved = threshold(there.thresholds[0].value)
    said = f"where 2.0 % of images are melanomas, and a flag at {moved} "
    assert said in render_card(*made)
    own = threshold(made.content.thresholds[0].value)
    assert f"and a flag at {own} " in render_card(
        changed(made.content, retargeted=None), made.recipe
    )


def test_a_rare_melanoma_s_prevalence_is_not_rounded_to_another() -> None:
    made = binary()
    content = retarget_report(made.content, 0.0025)
    assert "answers to one of 0.25 %" in " ".join(content.warnings)
    for page in (render_card(content, made.recipe), render_html(content)):
        assert "0.25 %" in page
        assert "0.3 % of images" not in page and "prevalence of 0.3 %" not in page
