"""A metric is one entry of METRICS: everything that shows metrics finds a toy one there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_content import binary, recipe_of

from melanoma.errors import RecipeError
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.metrics.spec import Card, MetricSpec
from melanoma.evaluation.metrics.weighted_sums import mean
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.render.text import report_lines
from melanoma.workflows.compare import compare_runs_in

DEMO = Path(__file__).resolve().parents[3] / "results" / "demo"


TOY = MetricSpec(
    title="Mean prediction (toy)",
    title_fr="Prédiction moyenne",
    short="mean prediction",
    explanation="Mean melanoma probability.",
    make=lambda images: mean(images.probability),
    needs="melanoma",
    unit="share",
    wins="predicts more",
    card=Card(2, lambda content: "what the toy is held against"),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(METRICS, "toy", TOY)
    return "toy"


def test_a_metric_s_entry_is_found_in_every_form_of_a_report(toy: str) -> None:
    content = binary.__wrapped__(images=300).content
    plain = json.loads(content.model_dump_json())
    shown = f"{100 * plain['metrics'][toy]['value']:.1f} %"
    page, card = render_html(content), render_card(content, recipe_of("synthetic"))
    # In the table by its title, on top without its abbreviation.
    assert f'<th scope="row">{TOY.title}</th><td>{shown}</td>' in page
    assert "what the toy is held against" in page
    assert page.count("Mean prediction<") == 1
    assert f"| {TOY.title} | {shown} |" in card
    (line,) = [line for line in report_lines(content) if line.startswith("  mean prediction ")]
    assert f"{plain['metrics'][toy]['value']:.3f} (95 % " in line


def test_two_runs_are_compared_by_it_and_it_is_listed(toy: str) -> None:
    found = compare_runs_in(DEMO, DEMO, metrics=[toy], resamples=100).metrics[toy]
    assert found.sentence == "A and B have the same mean prediction"
    with pytest.raises(RecipeError, match=r"--metric moon: unknown; known: auroc, .*, toy$"):
        compare_runs_in(DEMO, DEMO, metrics=["moon"])


def test_without_its_entry_nothing_knows_it() -> None:
    content = binary().content
    assert "toy" not in content.metrics
    assert TOY.title not in render_html(content)


@pytest.mark.parametrize("name", METRICS)
def test_every_entry_is_named_in_both_languages_and_explained(name: str) -> None:
    spec = METRICS[name]
    assert spec.title and spec.title_fr and spec.explanation.endswith(".")
    assert [s.title for s in METRICS.values()].count(spec.title) == 1
