"""report.html: one self-contained page from report.json's content. No script, no request."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from melanoma.evaluation import number_format
from melanoma.evaluation.disclaimer import PICTURES_ONLY
from melanoma.evaluation.metrics.metric_catalog import METRICS, metric_form, metric_title
from melanoma.evaluation.metrics.spec import Card as MetricCard
from melanoma.evaluation.metrics.spec import MetricSpec
from melanoma.evaluation.number_format import (
    bounded,
    in_percent,
    percent,
    plural,
    share,
    short_source,
)
from melanoma.evaluation.render.charts import LETTERS, draw_charts
from melanoma.evaluation.report.rounding_words import describe_rounding
from melanoma.evaluation.report.schema import Mistake, ReportContent
from melanoma.evaluation.report.schema_parts import (
    Confusion,
    Measured,
    NetBenefit,
    Shortcuts,
    SubgroupLine,
)
from melanoma.evaluation.report.source_words import (
    describe_held_out_source,
    describe_source_line,
    no_tests,
    whose_results,
)

_TEMPLATES = Path(__file__).parent / "templates"
_AFTER_RANKING = 7  # of the cards' ranks: operating points stand there
STUDY = {
    "source": "Images",
    "context": "Intended use",
    "setting": "Setting",
    "dates": "Dates",
    "eligibility": "Eligibility",
    "reference_standard": "Reference standard",
    "ethics": "Ethics",
    "funding": "Funding and interests",
}
_CHANCES = (0.01, 0.02, 0.05, 0.1)  # where a clinic's threshold lies
_MANY = 9  # classes from which a confusion matrix is set small, its headings upright


class Card(NamedTuple):
    """A key number: its name, its value, its interval, and what to hold it against."""

    name: str
    value: str
    interval: str
    note: str


def render_html(content: ReportContent) -> str:
    """The page, whole: styles and figures inline, nothing loaded, every name escaped."""
    css = "".join(
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "charts.css")
    )
    charts = {name: Markup(drawn) for name, drawn in draw_charts(content).items()}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            c=content,
            css=Markup(css),
            charts=charts,
            title=page_title(content),
            made=spoken_time(content.created),
            cards=_cards(content),
            leak_rows=leak_rows(content),
            alarm=shortcut_alarm(content.shortcuts),
            heat=_heat,
            letters=LETTERS,
            subgroups=grouped(content.subgroups),
            benefit_rows=benefit_rows(
                content.net_benefit, content.thresholds[0].value if content.thresholds else None
            ),
            errors=missed_first(content),
            confusion_heat=_confusion_heat(content.confusion),
            study=study_rows(content),
            many=len(content.confusion.classes) >= _MANY,
        )
    )


@cache
def environment() -> Environment:
    """Jinja with the words of `number_format` as filters; a name that is not given is an error."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for word in (
        "number",
        "share",
        "percent",
        "measured",
        "bounded",
        "threshold",
        "listed",
        "points",
        "odds_ratio",
        "in_percent",
    ):
        made.filters[word] = getattr(number_format, word)
    made.filters |= {
        "plural": plural,
        "metric_name": metric_title,
        "count": "{:,}".format,
        "source_line": describe_source_line,
        "held_out_source": describe_held_out_source,
        "rounding": describe_rounding,
        "whose_results": whose_results,
        "no_tests": no_tests,
    }
    made.globals |= {
        "share": share,
        "percent": percent,
        "form_of": metric_form,
        "number": number_format.number,
    }
    made.globals |= {"points": number_format.points, "pictures_only": PICTURES_ONLY}
    return made


def page_title(content: ReportContent) -> str:
    """What the page is about: finding melanoma, or telling classes apart."""
    if content.data.positives is None:
        return f"{content.recipe}: how well it tells {len(content.classes)} classes apart"
    return f"{content.recipe}: how well it finds melanoma"


def spoken_time(created: str) -> str:
    """`2026-11-21 10:23 UTC` of an ISO time; as it stands where it is none."""
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return created


def study_rows(content: ReportContent) -> list[tuple[str, str]]:
    """(field of the recipe's study section, its text or blank), all of them."""
    return [(title, content.study.get(name, "")) for name, title in STUDY.items()]


def leak_rows(content: ReportContent) -> list[tuple[str, int | None]]:
    """What was looked for on both sides of the split, and how often it was found."""
    audit = content.leaks if content.external is None else content.external.overlap
    return [
        ("patients", audit.patients),
        ("lesions", audit.lesions),
        ("groups (what the folds keep together)", audit.groups),
        ("identical images", audit.identical),
        ("near-duplicate images", audit.near_duplicates),
    ]


def grouped(lines: tuple[SubgroupLine, ...]) -> list[tuple[str, list[SubgroupLine]]]:
    """(column, its lines), in the order of the content."""
    return [
        (column, list(own_lines)) for column, own_lines in groupby(lines, key=lambda x: x.column)
    ]


def shortcut_alarm(shortcuts: Shortcuts | None) -> str:
    """A sentence where something that needs no photograph ranks nearly as well; else empty.

    Nearly: within 0.05 of the model's AUROC, or with an interval that reaches the model's.
    """
    if shortcuts is None or shortcuts.model.value is None:
        return ""
    rivals = [row for row in shortcuts.lines if row.auroc.value is not None]
    if not rivals:
        return ""
    best = max(rivals, key=lambda row: row.auroc.value or 0.0)
    name = best.name[:1].upper() + best.name[1:]
    lowest = shortcuts.model.low if shortcuts.model.low is not None else shortcuts.model.value
    reach = max(best.auroc.high or 0.0, (best.auroc.value or 0.0) + 0.05)
    if reach < lowest:
        return ""
    beats = (best.auroc.value or 0.0) >= shortcuts.model.value
    return (
        f"{name} alone, without any photograph, reaches an AUROC of "
        f"{share(best.auroc.value)} on these images; the model reaches "
        f"{share(shortcuts.model.value)}. "
        + ("It ranks better than the model" if beats else "It ranks nearly as well")
        + ", so how the images were collected may explain much of the model's score."
    )


def benefit_rows(
    curve: NetBenefit | None, threshold: float | None = None
) -> list[tuple[float, float, float]]:
    """(threshold probability, model, treat all) at 1, 2, 5, 10 % and at the threshold in use, as
    far as the decision curve reaches, and at its end."""
    if curve is None or not curve.thresholds:
        return []
    first, last = curve.thresholds[0], curve.thresholds[-1]
    chances = {*_CHANCES, last, *([threshold] if threshold is not None else [])}
    return [
        (
            chance,
            float(np.interp(chance, curve.thresholds, curve.model)),
            float(np.interp(chance, curve.thresholds, curve.treat_all)),
        )
        for chance in sorted(chances)
        if first <= chance <= last
    ]


def missed_first(content: ReportContent) -> list[Mistake]:
    """The largest errors, missed melanomas before all others."""
    return sorted(
        content.largest_errors,
        key=lambda row: not (row.label in content.melanoma and row.predicted != row.label),
    )


def _cards(content: ReportContent) -> list[Card]:
    """The metrics that have a card, operating points between ranking and calibration."""
    data = content.data
    cards = [
        (spec.card.rank, _metric_card(spec, spec.card.note(content), content.metrics[name]))
        for name, spec in METRICS.items()
        if spec.card and name in content.metrics and _is_shown(spec.card, content)
    ]
    for point in content.thresholds[:1]:
        for name, metric, note in (
            ("Sensitivity", point.sensitivity, f"threshold for {in_percent(point.at)}"),
            ("Specificity", point.specificity, "at the same threshold"),
        ):
            shown = Card(name, percent(metric.value), bounded(metric, percent), note)
            cards.append((_AFTER_RANKING, shown))
    for result in content.external_results:
        where = short_source(result.source or result.name)
        note = f"on {plural(result.images, 'image')} of {where}"
        if result.without:
            note += ", by a model that had none of them"
        elsewhere = Card("AUROC elsewhere", share(result.auroc.value), bounded(result.auroc), note)
        cards.append((_AFTER_RANKING, elsewhere))
    melanomas = "" if data.positives is None else plural(data.positives, "melanoma")
    owners = (
        plural(data.patients, "patient")
        if data.patients is not None
        else plural(data.groups, "group")
    )
    ordered = [card for _, card in sorted(cards, key=lambda pair: pair[0])]
    return [*ordered, Card("Images", f"{data.images:,}", melanomas, owners)]


def _metric_card(spec: MetricSpec, note: str, metric: Measured) -> Card:
    name = spec.title.split(" (")[0]  # an abbreviation is for the table
    return Card(name, spec.form(metric.value), bounded(metric, spec.form), note)


def _is_shown(card: MetricCard, content: ReportContent) -> bool:
    counted = content.data.positives is not None
    return {
        "always": True,
        "without melanoma": not counted,
        "more than two classes": not counted or len(content.classes) > 2,
        "never": False,
    }[card.report]


def _heat(value: float | None, low: float = 0.0) -> str:
    """The class of a cell's shade for a value in [low, 1]; ten steps, none at or below low."""
    if value is None:
        return ""
    step = round(10 * (value - low) / (1 - low))
    return f"h{min(step, 10)}" if step > 0 else ""


def _confusion_heat(confusion: Confusion) -> list[list[str]]:
    """Shade of every cell: its share of the row, that is of the images of that class."""
    return [[_heat(n / sum(row)) if sum(row) else "" for n in row] for row in confusion.counts]
