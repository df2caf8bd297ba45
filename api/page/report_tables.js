// The report's tables: operating points, classes, confusion, subgroups.
import { el } from "./dom.js";
import { pointName } from "./answer.js";
import { metricName } from "./models.js";
import { heatTable } from "./table.js";
import { className, count, groupName, has, measured, number, percent, smallPercent, t } from "./words.js";

const LETTERS = "ABCDEFGHIJ";

// A value, and below it its interval: side by side they would make every table too wide.
function stacked(metric, form = number) {
  const { value, low, high } = metric;
  if (value === null || low === null || low === undefined) return measured(metric, form);
  return [form(value), el("small", {}, t("range", { low: form(low), high: form(high) }))];
}
const whole = (metric) => stacked(metric, (share) => percent(share, 0));

// A column of a table whose value is a metric with an interval.
const column = (key, { form = stacked, heat = true } = {}) => ({
  key,
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

export function points(report) {
  if (report.thresholds.length === 0) return null;
  // A bundle that was moved to another share of melanomas answers there.
  const moved = report.retargeted ?? report.recalibrated;
  const there = moved?.thresholds.length ? moved : null;
  const alone = (value) => ({ value, low: null, high: null });
  const rows = report.thresholds.map((row, number) => {
    if (!there) return row;
    const { value, ppv, npv } = there.thresholds[number];
    return { ...row, value, ppv: alone(ppv), npv: alone(npv) };
  });
  const letter = (row) => LETTERS[rows.indexOf(row)];
  return [
    el("h2", {}, t("report.points")),
    el("p", { class: "quiet" }, t("report.points.text")),
    there && el("p", { class: "quiet" }, t("report.points.moved", { share: smallPercent(there.prevalence) })),
    ...heatTable({
      name: t("report.points"),
      rows,
      columns: [
        { name: t("report.point"), of: (row) => row.at, form: (row) => `${letter(row)}  ${pointName(row.at)}` },
        { key: "threshold", name: t("report.threshold"), of: (row) => row.value, form: (row) => smallPercent(row.value) },
        ...["sensitivity", "specificity", "ppv", "npv"].map((key) => column(key, { form: whole })),
      ],
    }),
  ];
}

export function perClass(report) {
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

export function confusion(report) {
  const { classes, counts, rule } = report.confusion;
  const rows = classes.map((label, i) => ({ label, total: counts[i].reduce((a, b) => a + b, 0), counts: counts[i] }));
  const columns = classes.map((label, j) => ({
    name: className(label),
    of: (row) => (row.total ? row.counts[j] / row.total : null),
    form: (row) => count(row.counts[j]),
    heat: true,
  }));
  const first = { name: t("report.true"), of: (row) => className(row.label), form: (row) => className(row.label) };
  const by = has(`rule.${rule}`) ? t(`rule.${rule}`) : pointName(rule);
  return [
    el("h2", {}, t("report.confusion")),
    el("p", { class: "quiet" }, `${t("report.confusion.text")} (${by})`),
    heatLegend(),
    ...heatTable({ name: t("report.confusion"), rows, columns: [first, ...columns] }),
  ];
}

// What a tint means: the same mixture as a cell's, so that it holds in the dark as well.
export function heatLegend() {
  const steps = [0, 25, 50, 75, 100].map((share) => el("i", { class: "warm", at: `${share}%` }));
  return el("p", { class: "legend scale", "aria-hidden": "true" }, percent(0, 0), el("span", {}, steps), percent(1, 0));
}

export function subgroups(report) {
  if (report.subgroups.length === 0) return null;
  const named = (key) => (has(`column.${key}`) ? t(`column.${key}`) : key.replaceAll("_", " "));
  const said = (row) => `${named(row.column)}${t("colon")} ${groupName(row.value)}`;
  const gap = ({ value }) => (value === null ? "–" : `${value > 0 ? "+" : ""}${number(value * 100, 1)}`);
  const auroc = column("auroc", { form: (metric) => stacked(metric, (value) => number(value, 2)) });
  return [
    el("h2", {}, t("report.subgroups")),
    el("p", { class: "quiet" }, t("report.subgroups.text")),
    ...heatTable({
      name: t("report.subgroups"),
      rows: report.subgroups,
      search: true,
      note: (row) => row.note && note(row.note),
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

// The report's own note, or the page's words for the one that is common.
function note(text) {
  const [, melanomas, needed] = text.match(/^too few for an AUROC: (\d+) melanomas? \((\d+) are needed/) ?? [];
  return needed ? t("report.few", { melanomas, needed }) : el("span", { lang: "en" }, text);
}
