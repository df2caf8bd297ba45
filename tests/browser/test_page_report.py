"""The page's second tab shows the bundle's report."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

from made_content import external

from melanoma.evaluation.measure.operating_points import describe_elsewhere
from melanoma.evaluation.prevalence import move_between
from melanoma.evaluation.render.charts import draw_charts
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.evaluation.report.external_results import external_result
from melanoma.evaluation.report.schema import Recalibrated, validate_report

REPORT = re.compile(r"/report(\?|$)")  # and not /static/report_tables.js
HEADS = "#performance .heat thead button"


def open_report(at) -> None:
    at.page.click("#tab-performance")
    at.page.locator(".figures").wait_for(timeout=20_000)


def table(at, name: str):
    return at.page.locator("section.card").filter(
        has=at.page.get_by_role("heading", name=name, exact=True)
    )


def names(part) -> list[str]:
    return [text.split("\n")[0] for text in part.locator("tbody th").all_inner_texts()]


def test_the_cards_and_tables_hold_the_reports_numbers(at, served):
    open_report(at)
    report = json.loads(served.report.read_text())
    cards = at.text("#performance .cards")
    auroc = report["metrics"]["auroc"]
    assert f"{auroc['value']:.3f}" in cards
    assert f"{auroc['low']:.3f} to {auroc['high']:.3f}" in cards
    assert f"{report['data']['images']:,}" in cards
    assert report["summary"].split(". ")[0] in at.page.inner_text("#performance .lead")
    for warning in report["warnings"]:
        assert warning[1:] in at.page.inner_text("#performance ul.alert")
    points = table(at, "Operating points").inner_text().replace("\xa0", " ")
    for point in report["thresholds"]:
        what, share, *_ = point["at"].split()
        assert f"{what} {float(share) * 100:g} %" in points
    classes = table(at, "Classes")
    assert sorted(names(classes)) == sorted(line["name"] for line in report["per_class"])
    assert "not a medical device" in at.text("#performance")
    # Where the numbers hold, and what they mean.
    population = table(at, "Data and population").inner_text()
    assert f"{report['data']['images']:,}" in population
    assert "another data set" in at.text("#performance")
    assert table(at, "Net benefit").locator("tbody tr").count() > 2
    what = at.page.get_by_role("button", name="What is AUROC?").first
    what.focus()
    at.page.keyboard.press("Enter")
    assert at.page.locator(".told:popover-open").inner_text().startswith("AUROC")
    at.page.keyboard.press("Escape")
    assert at.page.locator(".told:popover-open").count() == 0
    with at.page.expect_download() as download:
        at.page.get_by_role("button", name="Report (HTML)").click()
    assert download.value.suggested_filename == "tiny_report.html"
    assert "<!doctype html>" in download.value.path().read_text().lower()


def test_the_charts_are_the_drawings_of_the_report_in_the_pages_colors(at, served):
    open_report(at)
    drawn = draw_charts(validate_report(json.loads(served.report.read_text())))
    figures = at.page.locator(".figures svg")
    assert figures.count() == len(drawn) > 4
    captions = at.page.locator(".figures figcaption").all_inner_texts()
    for i, chart in enumerate(drawn.values()):
        assert f">{captions[i]}</title>" in chart
        points = (
            figures.nth(i)
            .locator("polyline")
            .evaluate_all("(all) => all.map((e) => e.getAttribute('points'))")
        )
        assert points == re.findall(r'<polyline points="([^"]+)"', chart)
    curve = at.page.locator(".figures polyline.curve").first
    stroke = "(e) => getComputedStyle(e).stroke"
    assert curve.evaluate(stroke) == "rgb(15, 107, 140)"
    at.page.select_option("#theme", "dark")
    assert curve.evaluate(stroke) == "rgb(108, 192, 222)"


def test_the_charts_change_language_with_the_page(at):
    open_report(at)
    at.page.select_option("#language", "fr")
    at.page.locator(".figures figcaption").get_by_text("Courbe ROC").wait_for()
    assert "sensibilité" in at.page.locator(".figures svg").first.text_content()
    groups = table(at, "Sous-groupes").inner_text()
    assert "sexe : homme" in groups.replace("\xa0", " ")
    assert "male" not in groups


def test_a_heading_sorts_and_sorts_back_and_undefined_goes_last(at, served):
    open_report(at)
    report = json.loads(served.report.read_text())
    groups = table(at, "Subgroups")
    head = groups.get_by_role("columnheader", name="AUROC")
    values = {f"{g['column']}: {g['value']}": g["auroc"]["value"] for g in report["subgroups"]}
    defined = sorted(v for v in values.values() if v is not None)
    assert len(defined) < len(values), "no undefined value to put last"
    for order, wanted in (("ascending", defined), ("descending", defined[::-1])):
        head.get_by_role("button").first.click()  # the other one explains the metric
        assert head.get_attribute("aria-sort") == order
        shown = [values[name] for name in names(groups)]
        assert shown == [*wanted, *[None] * (len(values) - len(defined))]


def test_a_search_keeps_the_rows_of_that_name_and_says_how_many(at, served):
    open_report(at)
    report = json.loads(served.report.read_text())
    groups = table(at, "Subgroups")
    groups.get_by_label("Search").fill("SEX")
    kept = [g for g in report["subgroups"] if g["column"] == "sex"]
    assert len(names(groups)) == len(kept) > 1
    assert f"{len(kept)} of {len(report['subgroups'])}" in groups.inner_text()
    groups.get_by_label("Search").fill("nothing like it")
    assert "Nothing has that name" in groups.inner_text()
    groups.get_by_label("Search").fill("")
    assert len(names(groups)) == len(report["subgroups"])


def test_a_higher_share_is_tinted_more(at, served):
    at.page.select_option("#model", "folders")
    open_report(at)
    cells = table(at, "Confusion").locator("td.warm")
    seen = cells.evaluate_all(
        "(all) => all.map((e) => [parseFloat(e.style.getPropertyValue('--at')),"
        " parseFloat(getComputedStyle(e).backgroundColor.split('/')[1]"
        " ?? getComputedStyle(e).backgroundColor.split(',')[3] ?? 1)])"
    )
    seen.sort()
    assert seen[0][0] < seen[-1][0]
    assert seen[0][1] < seen[-1][1]


def test_a_failed_report_is_said_and_can_be_tried_again(open_page):
    at = open_page()
    at.page.route(REPORT, lambda route: route.abort())
    at.page.click("#tab-performance")
    at.page.locator("#report-error").get_by_text("did not answer").wait_for()
    at.page.get_by_role("button", name="Try again").click()
    at.page.locator("#report-error").get_by_text("did not answer").wait_for()
    at.page.unroute(REPORT)
    at.page.get_by_role("button", name="Try again").click()
    at.page.locator(".figures").wait_for()


def test_each_models_report_can_be_chosen(at):
    open_report(at)
    assert "Performance of tiny" in at.text("#performance")
    at.page.select_option("#model", "folders")
    at.page.get_by_role("heading", name="Performance of folders").wait_for()
    # Odd names of classes stay text.
    assert 'Rash, "other"' in at.text("#performance")
    assert at.page.locator("#performance b:not(.told b)").count() == 0
    assert at.page.get_by_role("heading", name="Operating points").count() == 0


def changed_by(change):
    def answer(route):
        reply = route.fetch()
        route.fulfill(response=reply, json=reply.json() | change)

    return answer


def test_a_moved_bundle_s_points_are_those_of_its_answers(open_page, served):
    """By a stated prevalence, or by a fit on another set: the same move, the same numbers."""
    content = validate_report(json.loads(served.report.read_text()))
    there = retarget_report(content, 0.02).retargeted
    move = move_between(content.data.prevalence, 0.02)
    points = describe_elsewhere(content.thresholds, move)
    fit = Recalibrated(external="a set", thresholds=points, **asdict(move)).model_dump(mode="json")
    shown = []
    for change in ({"retargeted": there.model_dump(mode="json")}, {"recalibrated": fit}):
        at = open_page()
        at.page.route(REPORT, changed_by(change))
        open_report(at)
        part = table(at, "Operating points").inner_text().replace("\xa0", " ")
        assert "where 2.0 % of the images are melanomas" in part
        shown.append(part)
        at.page.unroute(REPORT)
    value = there.thresholds[0].value
    assert f"{100 * value:.{2 if value < 0.01 else 1}f} %" in shown[0]
    assert shown[0] == shown[1]


def test_a_metric_that_the_page_never_heard_of_has_its_card(at):
    """The catalog is data: a title in each language, a rank, and how a value is written."""
    entry = {"title": {"en": "Toy", "fr": "Jouet"}, "unit": "share", "card": 1}

    def with_toy(route, value):
        answer = route.fetch()
        body = answer.json()
        body["metrics"]["toy"] = body["metrics"]["ece"] | value
        route.fulfill(response=answer, json=body)

    at.context.route("**/info", lambda route: with_toy(route, value=entry))
    measured = {"value": 0.4321, "low": 0.4, "high": 0.5}
    at.context.route(REPORT, lambda route: with_toy(route, value=measured))
    at.visit()
    open_report(at)
    assert "Toy?\n43.2 %\n40.0 % to 50.0 %" in at.text("#performance .cards")
    at.page.select_option("#language", "fr")
    assert "Jouet" in at.text("#performance .cards")


def test_a_set_that_shares_with_the_training_is_not_called_unseen(open_page, served):
    """As in report and card; a leak between the folds alone takes nothing from the set."""
    own = json.loads(served.report.read_text())
    leaks = own["leaks"] | {"findings": ["3 patients in more than one fold (a, b, c)"]}
    for warned, shared in (("3 patients in more than one fold", False), ("2 patients in", True)):
        result = external_result(external().content, source="a clinic, its test")
        result = result.model_copy(update={"warnings": (f"LEAK: {warned}",)})
        at = open_page()
        change = {"leaks": leaks, "external_results": [result.model_dump(mode="json")]}
        at.page.route(REPORT, changed_by(change))
        open_report(at)
        told = at.text("#performance")
        assert ("photographs of a clinic: what it reached there is no test" in told) == shared
        assert ("on pictures that it was not trained on" in told) != shared
