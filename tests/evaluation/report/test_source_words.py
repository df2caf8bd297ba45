"""What sources brought, in report, card and terminal; and what their teacher had seen, on top."""

from __future__ import annotations

import math
import re

import pytest
from made_content import held_out_source

from benchmarks.shipped import ROOT
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.render.text import report_lines
from melanoma.evaluation.report.assemble import with_words
from melanoma.evaluation.report.pooled_facts import pool_sources
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.source_words import describe_held_out_source, describe_source_line
from melanoma.recipe.overrides import load_recipe
from melanoma.training.run.facts import SourceFacts

# Of a run that knows no other tables.
REPORT = ROOT / "results" / "ham10000_mobilenet" / "report.json"


class Fold:
    def __init__(self, fold: int, left_out: int) -> None:
        self.fold = fold
        self.sources = [
            SourceFacts(
                name="year",
                digest="d",
                images=100 - left_out,
                left_out=left_out,
                weight=0.5,
                classes={"melanoma": 30},
                of_several=50,
                soft=20,
                unlabeled=20,
                teacher="a network that saw SIIM",
            )
        ]


def test_a_source_is_counted_once_and_what_it_lost_by_fold() -> None:
    (line,) = pool_sources([Fold(0, 3), Fold(1, 0)])
    assert line.images == 100
    assert line.left_out == {"0": 3, "1": 0}
    assert describe_source_line(line) == (
        "year: 100 images (30 melanoma; 50 of one of several classes; 20 with a teacher's "
        "probability of melanoma; 20 without a label), drawn 0.5 times an epoch; left out for "
        "showing what is held out: 3 of fold 0, 0 of fold 1"
    )


def test_report_terminal_and_warnings_tell_of_it() -> None:
    content = ReportContent.model_validate_json(REPORT.read_bytes())
    assert "Other tables in the training" not in render_html(content)
    sources = pool_sources([Fold(0, 3)])
    content = with_words(content.model_copy(update={"sources": sources}))
    assert any("a network that saw SIIM" in warning for warning in content.warnings)
    assert "Other tables in the training" in render_html(content)
    assert any(line.startswith("trained beside it: year: 100") for line in report_lines(content))


def test_what_was_held_out_of_a_source_stands_in_report_card_and_terminal() -> None:
    content = ReportContent.model_validate_json(REPORT.read_bytes())
    (line,) = pool_sources([Fold(0, 50), Fold(1, 50)])
    line = line.model_copy(update={"held_out": held_out_source()})
    assert describe_source_line(line).endswith("; held out: 50 of fold 0, 50 of fold 1")
    content = with_words(content.model_copy(update={"sources": (line,)}))
    html, recipe = render_html(content), load_recipe(REPORT.parent / "recipe.yaml")
    for text in (html, render_card(content, recipe), "\n".join(report_lines(content))):
        assert "0.753" in text
        assert "never held out" not in text
    assert "each image by the fold that held it out: 100 images" in render_card(content, recipe)
    assert "within patients" not in describe_held_out_source(line)
    ranked = held_out_source(
        within_patient_concordance=Measured(value=0.784, low=0.694, high=0.866)
    )
    words = describe_held_out_source(line.model_copy(update={"held_out": ranked}))
    assert ", AUROC 0.753 (0.700 to 0.800), within patients 0.784 (0.694 to 0.866); at the" in words
    unknown = held_out_source(within_patient_concordance=Measured(value=None))
    words = describe_held_out_source(line.model_copy(update={"held_out": unknown}))
    assert "within patients" not in words


@pytest.mark.parametrize(
    ("intercept", "words"),
    [
        (
            0.57,
            "0.097, of exact ones about 0.029 by chance; odds of melanoma said 1.8 times too low",
        ),
        (
            -0.7,
            "0.097, of exact ones about 0.029 by chance; odds of melanoma said 2.0 times too high",
        ),
        (-0.04, "0.097, of exact ones about 0.029 by chance; odds of melanoma right on average"),
        (None, "0.097, of exact ones about 0.029 by chance"),
    ],
)
def test_what_is_left_at_its_own_share_is_told_from_chance_and_by_its_side(
    intercept: float | None, words: str
) -> None:
    (line,) = pool_sources([Fold(0, 50), Fold(1, 50)])
    held_out = held_out_source(
        ece_at_own_share=Measured(value=0.0972),
        ece_if_exact=0.0288,
        intercept_at_own_share=intercept,
    )
    line = line.model_copy(update={"held_out": held_out})
    assert describe_held_out_source(line).endswith(words)
    content = ReportContent.model_validate_json(REPORT.read_bytes())
    html = render_html(content.model_copy(update={"sources": (line,)}))
    cells = re.findall(
        r"<td>([^<]*)</td>", html.split('class="name">year</th>')[2].split("</tr>")[0]
    )
    said = "\N{EN DASH}" if intercept is None else f"{math.exp(intercept):.2f}"
    assert cells[-2:] == ["0.029", said]
