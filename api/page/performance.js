// The second tab: the bundle's own report, its curves and its tables.
import { $, el, say } from "./dom.js";
import { pointName, thresholdPercent } from "./answer.js";
import { askCharts } from "./client.js";
import { chosenModel, knownInfo, loadInfo, loadReport, metricName, metricOf } from "./models.js";
import { heatTable } from "./table.js";
import { className, count, has, measured, number, percent, t } from "./words.js";

const MOST_CARDS = 5;
const LETTERS = "ABCDEFGHIJ";
let name = null; // the model whose report is shown
let report = null;
let charts = null; // its drawings: name -> <svg> markup, those of report.html
let asked = 0; // the last question's number: an older answer is not shown

// A value, and below it its interval: side by side they would make every table too wide.
function stacked(metric, form = number) {
  const { value, low, high } = metric;
  if (value === null || low === null || low === undefined) return measured(metric, form);
  return [form(value), el("small", {}, t("range", { low: form(low), high: form(high) }))];
}
const whole = (metric) => stacked(metric, (share) => percent(share, 0));

export async function openPerformance() {
  asked += 1;
  const mine = asked;
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
  const parts = [head(), points(), curves(), perClass(), confusion(), subgroups(), origin()];
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
    el("p", { class: "lead", lang: "en" }, report.summary),
    el("p", { class: "quiet" }, t("report.standing")),
    report.warnings.length > 0 &&
      el("ul", { class: "alert", lang: "en" }, report.warnings.map((text) => el("li", {}, text))),
    el("dl", { class: "cards" }, size(), ...shown.map(card)),
  ].filter(Boolean);
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
    el("dt", {}, metricName(key)),
    el("dd", { class: "big" }, form(value)),
    el("dd", { class: "small" }, range),
  );
}

// A column of a table whose value is a metric with an interval.
const column = (key, { form = stacked, heat = true } = {}) => ({
  name: metricName(key),
  of: (row) => row[key].value,
  form: (row) => form(row[key]),
  heat,
});
const imagesColumn = () => ({
  name: t("report.images"),
  of: (row) => row.images,
  form: (row) => count(row.images),
});

function points() {
  if (report.thresholds.length === 0) return null;
  const letter = (row) => LETTERS[report.thresholds.indexOf(row)];
  const form = whole;
  return [
    el("h2", {}, t("report.points")),
    el("p", { class: "quiet" }, t("report.points.text")),
    ...heatTable({
      name: t("report.points"),
      rows: report.thresholds,
      columns: [
        { name: t("report.point"), of: (row) => row.at, form: (row) => `${letter(row)}  ${pointName(row.at)}` },
        { name: t("report.threshold"), of: (row) => row.value, form: (row) => thresholdPercent(row.value) },
        ...["sensitivity", "specificity", "ppv", "npv"].map((key) => column(key, { form })),
      ],
    }),
  ];
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

function perClass() {
  const metrics = ["auroc", "pr_auc", "precision", "recall", "f1"];
  return [
    el("h2", {}, t("report.classes")),
    el("p", { class: "quiet" }, t("report.classes.text")),
    ...heatTable({
      name: t("report.classes"),
      rows: report.per_class,
      search: true,
      note: (row) => (row.melanoma ? t("report.counts") : null),
      columns: [
        { name: t("report.class"), of: (row) => className(row.name), form: (row) => className(row.name) },
        imagesColumn(),
        ...metrics.map((key) => column(key)),
      ],
    }),
  ];
}

function confusion() {
  const { classes, counts, rule } = report.confusion;
  const rows = classes.map((label, i) => ({ label, total: counts[i].reduce((a, b) => a + b, 0), counts: counts[i] }));
  const columns = classes.map((label, j) => ({
    name: className(label),
    of: (row) => (row.total ? row.counts[j] / row.total : null),
    form: (row) => count(row.counts[j]),
    heat: true,
  }));
  const first = { name: t("report.true"), of: (row) => className(row.label), form: (row) => className(row.label) };
  return [
    el("h2", {}, t("report.confusion")),
    el("p", { class: "quiet" }, t("report.confusion.text"), " ", el("span", { lang: "en" }, `(${rule})`)),
    ...heatTable({ name: t("report.confusion"), rows, columns: [first, ...columns] }),
  ];
}

function subgroups() {
  if (report.subgroups.length === 0) return null;
  const named = (key) => (has(`column.${key}`) ? t(`column.${key}`) : key.replaceAll("_", " "));
  const said = (row) => `${named(row.column)}${t("colon")} ${row.value}`;
  const gap = ({ value }) => (value === null ? "–" : `${value > 0 ? "+" : ""}${number(value * 100, 1)}`);
  const auroc = column("auroc", { form: (metric) => stacked(metric, (value) => number(value, 2)) });
  return [
    el("h2", {}, t("report.subgroups")),
    el("p", { class: "quiet" }, t("report.subgroups.text")),
    ...heatTable({
      name: t("report.subgroups"),
      rows: report.subgroups,
      search: true,
      note: (row) => row.note && el("span", { lang: "en" }, row.note),
      columns: [
        { name: t("report.group"), of: said, form: said },
        imagesColumn(),
        auroc,
        column("sensitivity", { form: whole }),
        column("specificity", { form: whole }),
        column("calibration_gap", { form: gap, heat: false }),
      ],
    }),
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
