"""The files of a report: report.json, report.html, MODEL_CARD.md and the figures."""

from __future__ import annotations

from pathlib import Path

from melanoma.evaluation.render.figures import save_figures
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.build import Report
from melanoma.recipe.recipe import Recipe
from melanoma.storage import write_json, write_text


def save_report(report: Report, recipe: Recipe, folder: Path, *, card: bool = True) -> list[Path]:
    """The figures of the report, which is written into `folder`.

    A model card too, unless the model has one elsewhere.
    """
    content = report.content
    write_json(folder / "report.json", content.model_dump(mode="json"))
    write_text(folder / "report.html", render_html(content))
    if card:
        write_text(folder / "MODEL_CARD.md", render_card(content, recipe))
    return save_figures(content, folder / "figures")
