"""MODEL_CARD.md: the run's own files in the order of TRIPOD+AI.

TRIPOD+AI: Collins et al., BMJ 2024;385:e078378. Nothing is typed by hand: a value stands in
report.json or in the recipe, or the card says that these files do not record it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jinja2

from melanoma.evaluation.render.html import (
    environment,
    grouped,
    leak_rows,
    shortcut_alarm,
    spoken_time,
)
from melanoma.evaluation.report.schema import ReportContent
from melanoma.recipe.recipe import Recipe

_MARKDOWN = re.compile(r"([\\`*\[\]|])")


def render_card(content: ReportContent, recipe: Recipe) -> str:
    """The card in Markdown, items in TRIPOD+AI's order and by its numbers."""
    card = (
        _cards()
        .get_template("model_card.md.j2")
        .render(
            c=content,
            r=recipe,
            made=spoken_time(content.created),
            loss=_loss(recipe),
            steps=[_step(step) for step in recipe.augment],
            leak_rows=leak_rows(content),
            alarm=shortcut_alarm(content.shortcuts),
            subgroups=grouped(content.subgroups),
            unrecorded="not recorded in this run's files",
        )
    )
    # Paragraphs are apart by one empty line, whichever parts were left out between them.
    return re.sub(r"\n{3,}", "\n\n", card)


@cache
def _cards() -> jinja2.Environment:
    """The page's environment for Markdown: what a value says cannot become markup."""
    return environment().overlay(autoescape=False, finalize=_plain)


def _plain(value: Any) -> Any:
    """Text as itself in Markdown, in a cell of a table too; numbers as they are."""
    if not isinstance(value, str):
        return value
    one_line = _MARKDOWN.sub(r"\\\1", " ".join(value.split()))
    # Spaces at its ends are the template's own: a separator keeps them.
    spaces = value[: len(value) - len(value.lstrip(" "))], value[len(value.rstrip(" ")) :]
    return f"{spaces[0]}{one_line.replace('<', '&lt;')}{spaces[1]}" if one_line else value


def _step(step: dict[str, dict[str, Any]]) -> str:
    """`flip_horizontal (p 0.5)` of an augmentation as the recipe writes it."""
    ((name, options),) = step.items()
    arguments = ", ".join(f"{key} {value:g}" for key, value in options.items() if _is_number(value))
    return f"{name} ({arguments})" if arguments else name


def _loss(recipe: Recipe) -> str:
    """`focal (gamma 2)`."""
    parameters = ", ".join(f"{name} {value:g}" for name, value in recipe.loss.parameters.items())
    return f"{recipe.loss.name} ({parameters})" if parameters else recipe.loss.name


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
