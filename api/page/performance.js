// The second tab: the bundle's own report, its curves and its tables.
import { caveat } from "./caveats.js";
import { $, el, say } from "./dom.js";
import { askCharts } from "./client.js";
import { downloads } from "./downloads.js";
import { chosenModel, knownInfo, loadInfo, loadReport, metricName, metricOf } from "./models.js";
import { benefit, elsewhere, otherCancers, population } from "./report_scope.js";
import { confusion, perClass, points, subgroups } from "./report_tables.js";
import { tip } from "./tips.js";
import { count, currentLanguage, number, percent, t } from "./words.js";

const MOST_CARDS = 5;
let name = null; // the model whose report is shown
let report = null;
let charts = null; // its drawings: name -> <svg> markup, those of report.html
let asked = 0; // the last question's number: an older answer is not shown

export async function openPerformance() {
  asked += 1;
  const mine = asked;
  const language = currentLanguage();
  if (report && chosenModel() === name) return;
  report = null;
  $("performance").replaceChildren(el("p", { class: "card quiet", role: "status" }, t("report.loading")));
  try {
    if (knownInfo() === null) await loadInfo();
    const chosen = chosenModel();
    const [found, drawn] = await Promise.all([loadReport(chosen), askCharts(chosen)]);
    if (mine !== asked) return;
    [name, report, charts] = [chosen, found, drawn];
    drawPerformance();
    say(t("report.shown", { name }));
    if (language !== currentLanguage()) translatePerformance(); // it was changed in the meantime
  } catch (error) {
    if (mine === asked) fail(error.message);
  }
}

function fail(message) {
  const again = el("button", { type: "button", class: "main", onclick: openPerformance }, t("retry"));
  $("performance").replaceChildren(
    el("div", { class: "card" }, el("p", { id: "report-error", class: "alert", role: "alert" }, message), again),
  );
}

// Draw anew, in the language of now; the charts follow when the service has drawn them.
export async function translatePerformance() {
  if (report === null) return;
  drawPerformance();
  asked += 1;
  const mine = asked;
  const drawn = await askCharts(name).catch(() => null);
  if (mine !== asked || drawn === null) return;
  charts = drawn;
  drawPerformance();
}

function drawPerformance() {
  const tables = [points, otherCancers, benefit].map((make) => make(report));
  const parts = [
    head(), elsewhere(report, name), population(report), ...tables, curves(), perClass(report), confusion(report),
    subgroups(report), origin(),
  ];
  $("performance").replaceChildren(...parts.filter(Boolean).map((part) => el("section", { class: "card" }, ...part)));
}

function head() {
  const rank = (key) => metricOf(key)?.card ?? 0;
  const shown = Object.keys(report.metrics)
    .filter(rank)
    .sort((a, b) => rank(a) - rank(b))
    .slice(0, MOST_CARDS);
  return [
    el("h2", {}, t("report.title", { name: report.recipe })),
    ...summary(),
    el("p", { class: "quiet" }, t("report.standing")),
    report.warnings.length > 0 &&
      el("ul", { class: "alert" }, report.warnings.map(caveat)),
    el("dl", { class: "cards" }, size(), ...shown.map(card)),
    ...downloads(name),
  ].filter(Boolean);
}

// The report's own paragraph is English: in another language the page says the same in its words.
function summary() {
  const told = el("p", { class: "lead", lang: "en" }, report.summary);
  if (currentLanguage() === "en") return [told];
  const { images, positives } = report.data;
  const said = [t("summary.images", { images: count(images) })];
  if (positives !== null) said.push(t("summary.melanomas", { n: count(positives), share: percent(positives / images) }));
  const { auroc } = report.metrics;
  if (auroc && positives !== null) said.push(t("summary.auroc", { n: count(Math.round(100 * auroc.value)) }));
  const [point] = report.thresholds;
  if (point) {
    const whole = ({ value }) => count(Math.round(100 * value));
    const others = count(Math.round(100 * (1 - point.specificity.value)));
    said.push(t("summary.point", { caught: whole(point.sensitivity), others }));
  }
  return [
    el("p", { class: "lead" }, said.join(" ")),
    el("details", {}, el("summary", {}, t("summary.english")), told),
  ];
}

function size() {
  const { images, positives } = report.data;
  const melanomas = positives === null ? null : t("report.melanomas", { n: count(positives) });
  return el(
    "div",
    {},
    el("dt", {}, t("report.images")),
    el("dd", { class: "big" }, count(images)),
    melanomas && el("dd", { class: "small" }, melanomas),
  );
}

function card(key) {
  const { value, low, high } = report.metrics[key];
  const form = metricOf(key).unit === "share" ? percent : number;
  const range = low === null || low === undefined ? "" : t("range", { low: form(low), high: form(high) });
  return el(
    "div",
    {},
    el("dt", {}, metricName(key), ...(tip(key, metricName(key)) ?? [])),
    el("dd", { class: "big" }, form(value)),
    el("dd", { class: "small" }, range),
  );
}

// The service's own drawing. Names of the run are text in it, and its colors are the page's.
function figure(markup) {
  const picture = new DOMParser().parseFromString(markup, "text/html").querySelector("svg");
  return el("figure", {}, el("figcaption", {}, picture.querySelector("title").textContent), picture);
}

function curves() {
  const figures = Object.values(charts).map(figure);
  if (figures.length === 0) return null;
  return [
    el("h2", {}, t("report.curves")),
    el("p", { class: "quiet" }, t("report.curves.text")),
    el("div", { class: "figures" }, figures),
  ];
}

function origin() {
  const facts = [
    ["report.intervals", report.intervals],
    ["report.created", report.created],
    ["report.folds", report.folds.map((fold) => `${fold.fold}: ${number(fold.auroc)}`).join(", ") || "–"],
    ["report.recipe", report.digests.recipe_digest?.slice(0, 12) ?? "–"],
  ];
  const rows = facts.map(([key, value]) => el("div", {}, el("dt", {}, t(key)), el("dd", {}, value)));
  return [el("h2", {}, t("report.origin")), el("dl", { class: "facts wide" }, rows)];
}
