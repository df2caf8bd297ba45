// Where the numbers hold: the data, the population, other sets, other cancers, the benefit.
import { setName } from "./answer.js";
import { el } from "./dom.js";
import { knownInfo, reference } from "./models.js";
import { heatTable } from "./table.js";
import { tip } from "./tips.js";
import { className, count, has, measured, number, percent, sentence, t } from "./words.js";

// Threshold probabilities at which a decision about a suspicious lesion is taken.
const BENEFIT_AT = [0.02, 0.03, 0.05, 0.1, 0.2, 0.4];

const facts = (pairs) =>
  el("dl", { class: "facts wide" }, pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
const unknown = (value) => (value === null || value === undefined ? t("unknown") : count(value));

// The set that the report is about, and which people and pictures it stands for.
export function population(report) {
  const { images, positives, groups, patients, prevalence, classes } = report.data;
  const sizes = Object.entries(classes ?? {}).map(([name, n]) => `${className(name)} ${count(n)}`);
  const pairs = [
    [t("scope.set"), report.recipe],
    [t("report.images"), count(images)],
    [t("scope.melanomas"), positives === null ? "–" : `${count(positives)} (${percent(prevalence)})`],
    [t("scope.groups"), unknown(groups)],
    [t("scope.patients"), unknown(patients)],
    [t("scope.classes"), sizes.join(", ")],
    ...study(report.study ?? {}),
    ...phones(report.phones),
  ];
  const high = prevalence !== null && prevalence > 0.05;
  return [
    el("h2", {}, t("scope.title")),
    high && el("p", { class: "alert" }, t("scope.spectrum", { share: percent(prevalence) })),
    facts(pairs),
  ].filter(Boolean);
}

// What became of phone photographs, where a model for a dermatoscope's was given some.
function phones(tried) {
  if (!tried) return [];
  const told = t("scope.phones.text", { refused: count(tried.refused), images: count(tried.images) });
  return [[t("scope.phones"), [`${told} `, el("span", { class: "quiet", lang: "en" }, tried.source)]]];
}

// What the recipe says of how the pictures came about; in its own words.
function study(fields) {
  return Object.entries(fields)
    .filter(([, text]) => text)
    .map(([key, text]) => {
      const name = has(`study.${key}`) ? t(`study.${key}`) : sentence(key.replaceAll("_", " ")).slice(0, -1);
      return [name, el("span", { lang: "en" }, String(text))];
    });
}

// What the model reached on sets that it was not trained on; said where there is none, too.
export function elsewhere(report, name) {
  const model = knownInfo()?.models.find((one) => reference(one) === name);
  const results = report.external_results?.length ? report.external_results : (model?.external ?? []);
  const head = el("h2", {}, t("external.title"));
  const beside = heldOutBeside(report);
  if (results.length === 0) return [head, el("p", { class: "alert" }, t("external.none")), ...beside];
  const parts = results.map((one) => setFigures(one, setName(one)));
  // The source says of each which set its model did without.
  const own = results.filter((one) => !one.without);
  const others = results.some((one) => one.without);
  const shared = own.filter((one) => sharesWithTraining(one, report));
  const said = [own.length > shared.length && t("external.text"), others && t("external.without")].filter(Boolean);
  const names = shared.map(setName).join(", ");
  return [
    head,
    shared.length > 0 && el("p", { class: "alert" }, t("external.shared", { names })),
    ...said.map((words) => el("p", {}, words)),
    ...parts,
    ...beside,
  ].filter(Boolean);
}

// A leak between the model's own folds stands in each result as well, and is none of the set.
function sharesWithTraining(result, { leaks }) {
  const own = (leaks?.findings ?? []).map((finding) => `LEAK: ${finding.split(" (")[0]}`);
  return (result.warnings ?? []).some((one) => one.startsWith("LEAK") && !own.includes(one));
}

// Tables that trained it as well, of which each member held out a part that it alone scored.
function heldOutBeside(report) {
  const held = (report.sources ?? []).filter((line) => line.held_out);
  if (held.length === 0) return [];
  return [
    el("h2", {}, t("external.beside")),
    el("p", {}, t("external.beside.text")),
    ...held.map((line) => setFigures(line.held_out, line.name)),
  ];
}

function setFigures(one, name) {
  const whole = (metric) => measured(metric, (share) => percent(share, 0));
  return el(
    "div",
    { class: "served" },
    el("h3", {}, name),
    one.source && el("p", { class: "quiet", lang: "en" }, one.source),
    facts([
      [t("report.images"), `${count(one.images)}${one.positives === null ? "" : `, ${t("report.melanomas", { n: count(one.positives) })}`}`],
      [t("scope.patients"), unknown(one.patients)],
      ["AUROC", measured(one.auroc)],
      [sentence(t("metric.sensitivity")).slice(0, -1), whole(one.sensitivity)],
      [sentence(t("metric.specificity")).slice(0, -1), whole(one.specificity)],
    ]),
  );
}

// What becomes of each class by both rules: melanoma's threshold, and that of the other cancers.
export function otherCancers(report) {
  const rule = report.any_malignancy;
  if (!rule) return null;
  const percentOf = (key) => (row) => (row.images ? row[key] / row.images : null);
  const told = (key) => (row) => [count(row[key]), el("small", {}, percent(percentOf(key)(row), 0))];
  const left = (row) => row.images - row.flagged - row.other_cancer_likely;
  const leftShare = (row) => (row.images ? left(row) / row.images : null);
  const whole = (share) => percent(share, 0);
  const values = {
    sensitivity: measured(rule.sensitivity, whole),
    specificity: measured(rule.specificity, whole),
    alone: measured(rule.sensitivity_alone, whole),
    auroc: measured(rule.auroc),
  };
  return [
    el("h2", {}, t("other.title")),
    el("p", { class: "quiet" }, t("other.text", values)),
    ...heatTable({
      name: t("other.title"),
      rows: rule.by_class,
      note: (row) => (has(`risk.${row.risk}`) ? t(`risk.${row.risk}`) : row.risk),
      columns: [
        { name: t("report.class"), of: (row) => className(row.name), form: (row) => className(row.name) },
        { name: t("report.images"), of: (row) => row.images, form: (row) => count(row.images) },
        { name: t("other.flagged"), of: percentOf("flagged"), form: told("flagged"), heat: true },
        { name: t("other.likely"), of: percentOf("other_cancer_likely"), form: told("other_cancer_likely"), heat: true },
        { name: t("other.left"), of: leftShare, form: (row) => [count(left(row)), el("small", {}, percent(leftShare(row), 0))], heat: true },
      ],
    }),
  ];
}

// The decision curve in numbers: of 1000 lesions, net melanomas found, at what a biopsy is worth.
export function benefit(report) {
  const curve = report.net_benefit;
  if (!curve) return null;
  const at = (values, share) => {
    const i = curve.thresholds.findIndex((one) => one >= share);
    if (i < 0 || (i === 0 && curve.thresholds[0] > share)) return null;
    if (curve.thresholds[i] === share || i === 0) return values[i];
    const part = (share - curve.thresholds[i - 1]) / (curve.thresholds[i] - curve.thresholds[i - 1]);
    return values[i - 1] + part * (values[i] - values[i - 1]);
  };
  const rows = BENEFIT_AT.map((share) => ({ share, model: at(curve.model, share), all: at(curve.treat_all, share) }));
  const form = (key) => (row) => number(1000 * row[key], 0);
  const name = t("benefit.title");
  return [
    el("h2", {}, name),
    el("p", { class: "quiet" }, t("benefit.text"), ...(tip("net_benefit", name) ?? [])),
    ...heatTable({
      name,
      rows: rows.filter(({ model }) => model !== null),
      columns: [
        { name: t("benefit.at"), of: (row) => row.share, form: (row) => percent(row.share, 0) },
        { name: t("benefit.model"), of: (row) => row.model, form: form("model") },
        { name: t("benefit.all"), of: (row) => row.all, form: form("all") },
        { name: t("benefit.none"), of: () => 0, form: () => number(0, 0) },
      ],
    }),
  ];
}
