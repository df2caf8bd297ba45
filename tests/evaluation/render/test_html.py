"""The page of a report: whole, self-contained, escaped, and true to its content."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from made_content import SEVEN, TWENTY_TWO, Made, binary, changed, external, many, undefined

from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.number_format import measured, percent, share, threshold
from melanoma.evaluation.render.charts import draw_charts
from melanoma.evaluation.render.html import render_html, shortcut_alarm
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import Measured, ShortcutLine, Shortcuts

MADE = {
    "binary": binary,
    "leaky": lambda: binary(leaky=True),
    "rare": lambda: binary(images=4000, rate=0.018, prevalence=None),
    "seven": lambda: many(SEVEN, ("melanoma",)),
    "twenty-two": lambda: many(TWENTY_TWO),
    "external": external,
    "undefined": undefined,
}
VOID = {"meta", "br", "hr", "img", "input", "link", "path", "circle", "line", "rect"}


@pytest.fixture(params=MADE, ids=str)
def content(request: pytest.FixtureRequest) -> ReportContent:
    made: Made = MADE[request.param]()
    return made.content


class Reader(HTMLParser):
    """What a page is made of; raises where a tag closes that is not the open one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.alerts: list[str] = []
        self._alert_depth = 0
        self.feed(page)
        self.close()
        assert self.open == [], "tags were left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> names an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if dict(attrs).get("role") == "alert":
            self._alert_depth = len(self.open)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        if self._alert_depth == len(self.open):
            self._alert_depth = 0
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if self._alert_depth:
            self.alerts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def alert(self) -> str:
        return " ".join(" ".join(self.alerts).split())


def test_the_page_closes_every_tag_and_names_every_id_once(content: ReportContent) -> None:
    reader = Reader(render_html(content))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    linked = {a["href"] for tag, a in reader.tags if tag == "a"}
    assert linked <= {f"#{name}" for name in ids}, "a link within the page leads nowhere"
    for _, attributes in reader.tags:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids


def test_the_page_asks_for_nothing_and_runs_nothing(content: ReportContent) -> None:
    page = render_html(content)
    reader = Reader(page)
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    assert not [a for _, a in reader.tags if any(key.startswith("on") for key in a)]


def test_every_warning_stands_in_the_alert_and_only_there_is_one_raised(
    content: ReportContent,
) -> None:
    reader = Reader(render_html(content))
    for warning in content.warnings:
        assert " ".join(warning.split()) in reader.alert
    assert bool(reader.alert) == bool(content.warnings)


def test_a_page_without_warnings_says_so() -> None:
    content = changed(binary().content, warnings=[])
    reader = Reader(render_html(content))
    assert reader.alert == ""
    assert "raised no warning" in reader.text


def test_the_summary_comes_before_every_number_and_the_disclaimer_before_it(
    content: ReportContent,
) -> None:
    text = Reader(render_html(content)).text
    summary = " ".join(content.summary.split())
    assert text.index("not a medical device") < text.index(summary) < text.index("Ranking")
    assert text.count("not a medical device") >= 2


def test_headings_go_down_one_level_at_a_time_and_tables_have_captions_and_scopes(
    content: ReportContent,
) -> None:
    reader = Reader(render_html(content))
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("table") == tags.count("caption")
    assert all("scope" in attributes for tag, attributes in reader.tags if tag == "th")


def test_every_figure_is_an_image_with_a_title_and_a_description(content: ReportContent) -> None:
    for name, drawn in draw_charts(content).items():
        assert drawn.startswith('<svg class="chart" viewBox='), name
        assert 'role="img"' in drawn
        title, told = (
            re.search(rf"<{tag} id=\"([^\"]+)\">([^<]+)</{tag}>", drawn)
            for tag in ("title", "desc")
        )
        assert title and told
        assert f'aria-labelledby="{title[1]} {told[1]}"' in drawn
        assert "nan" not in re.sub(r">[^<]*<", "><", drawn).lower(), f"{name} has a NaN coordinate"


def test_marks_of_a_figure_stay_inside_it(content: ReportContent) -> None:
    for name, drawn in draw_charts(content).items():
        width, height = (float(v) for v in re.search(r'viewBox="0 0 (\S+) (\S+)"', drawn).groups())
        for x, y in re.findall(r'<(?:text|circle) c?x="([-.\d]+)" c?y="([-.\d]+)"', drawn):
            assert -1 <= float(x) <= width + 1, name
            assert 0 <= float(y) <= height, name


def test_names_are_text_and_never_markup() -> None:
    page = render_html(many(TWENTY_TWO).content)
    assert "<script" not in page
    text = Reader(page).text
    for name in TWENTY_TWO:
        assert name in text


def test_every_metric_threshold_and_count_is_the_contents(content: ReportContent) -> None:
    text = unescape(Reader(render_html(content)).text)
    for key, metric in content.metrics.items():
        form = METRICS[key].form
        assert form(metric.value) in text, key
    for point in content.thresholds:
        assert threshold(point.value) in text
        assert f"{point.false_negatives:,} of" in text
    for row in content.subgroups:
        assert f"{row.value} " in text or f" {row.value}" in text
    for mistake in content.largest_errors:
        assert mistake.image_name in text
    for digest in content.digests.values():
        assert digest in text
    assert "Skin tone is unknown" in text


def test_a_confusion_matrix_shows_every_count_and_shades_the_row_by_its_share() -> None:
    content = many(SEVEN, ("melanoma",)).content
    page = render_html(content)
    start = page.index('<table class="confusion')
    cells = re.findall(
        r'<td class="(h\d*)?( hit)?">([\d,]+)</td>', page[start : page.index("</table>", start)]
    )
    counts = [count for row in content.confusion.counts for count in row]
    assert [int(n.replace(",", "")) for _, _, n in cells] == counts
    assert [i for i, cell in enumerate(cells) if cell[1]] == [i * 8 for i in range(7)]
    for i, row in enumerate(content.confusion.counts):
        for j, count in enumerate(row):
            step = round(10 * count / sum(row))
            assert cells[i * 7 + j][0] == (f"h{step}" if step else "")


def test_an_external_report_names_the_model_the_overlap_and_the_offered_recalibration() -> None:
    content = external().content
    text = Reader(render_html(content)).text
    assert content.external is not None
    assert content.external.model_digest in text
    assert "offered, not applied" in text
    assert "0.610" in text
    assert "chosen beforehand" in text
    assert "Folds and the kept epoch" not in text


def test_a_page_of_one_fold_does_not_speak_of_the_others() -> None:
    content = binary().content
    assert "each fold by the other folds' calibration" in Reader(render_html(content)).text
    folds = content.model_dump(mode="json")["folds"]
    alone = folds[0] | {key: sum(f[key] for f in folds) for key in ("images", "positives")}
    text = Reader(render_html(changed(content, folds=[alone]))).text
    assert "each half of the groups by the other half's calibration" in text
    assert "other folds' calibration" not in text


def test_a_recalibrated_model_says_so_in_red() -> None:
    moved = {"external": "clinic_b", "slope": 0.7, "intercept": -1.2, "prevalence": 0.03}
    page = render_html(changed(binary().content, recalibrated=moved))
    alert = page[page.index("The probabilities were moved") - 600 :]
    assert 'class="alert"' in alert[:700]
    assert "clinic_b" in page


def _shortcuts(value: float, *, low: float, high: float) -> Shortcuts:
    line = ShortcutLine(
        name="file facts",
        inputs=("bytes",),
        absent=(),
        auroc=Measured(value=value, low=low, high=high),
    )
    return Shortcuts(model=Measured(value=0.85, low=0.83, high=0.87), lines=(line,))


def test_a_shortcut_alarms_where_it_ranks_nearly_as_well_and_not_where_it_is_far_below() -> None:
    assert shortcut_alarm(_shortcuts(0.6, low=0.55, high=0.65)) == ""
    assert "nearly as well" in shortcut_alarm(_shortcuts(0.8, low=0.78, high=0.82))
    assert "nearly as well" in shortcut_alarm(_shortcuts(0.7, low=0.5, high=0.84))
    assert "better than the model" in shortcut_alarm(_shortcuts(0.9, low=0.88, high=0.92))
    assert shortcut_alarm(None) == ""


def test_an_undefined_report_says_undefined_and_draws_no_curve() -> None:
    content = undefined().content
    text = Reader(render_html(content)).text
    assert "undefined" in text
    assert "None" not in text
    assert "nan" not in text.split()
    assert not draw_charts(content).keys() & {"roc", "pr", "before", "after", "benefit"}


def test_two_pages_of_one_content_are_equal_byte_for_byte(content: ReportContent) -> None:
    assert render_html(content) == render_html(content)


def test_a_value_is_rounded_onto_a_bound_only_where_it_lies_on_it() -> None:
    assert [share(v) for v in (0.99996, 1.0, 0.00004, 0.0, None)] == [
        *(">0.999", "1.000", "<0.001", "0.000", "undefined")
    ]
    assert [percent(v) for v in (0.9997, 1.0, 0.0002, 0.0)] == [
        *(">99.9 %", "100.0 %", "<0.1 %", "0.0 %")
    ]
    assert measured(Measured(value=0.8652, low=0.8432, high=0.8864)) == "0.865 (0.843 to 0.886)"
    assert measured(Measured(value=0.5)) == "0.500"
