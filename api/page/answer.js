// One answer, told: the probability, what the threshold says of it, who says so, and how sure.
import { el, svg } from "./dom.js";
import { picturesOnly } from "./models.js";
import { frequency, possible, prevalenceField, reasons } from "./reasons.js";
import { squareFigure } from "./square.js";
import { MOST_DIGITS, className, count, fewest, has, measured, moment, percent, sentence, smallPercent, t } from "./words.js";

const TOP = 5;

// The words of an operating point's name, "sensitivity 0.95", as "sensitivity 95 %".
export function pointName(at) {
  const [, kind, share] = at.match(/^(sensitivity|specificity) ([\d.]+)$/) ?? [];
  return kind ? `${t(`metric.${kind}`)} ${percent(Number(share), Math.max(0, share.length - 4))}` : at;
}

// Digits with which a probability reads on its own side of the threshold: rounded by itself, 0.15 %
// would be "0.2 %", not flagged, beside a threshold of "0.17 %".
function digitsOf(answer, share = shownShare(answer)) {
  const value = answer.threshold?.value ?? null;
  const small = [value, ...answer.thresholds.map((point) => point.value)].some((one) => one !== null && one < 0.01);
  let digits = small ? fewest(share) : 1;
  // With as many digits of both: "1.0 %" beside "1.00 %" tells nothing.
  const alike = () => percent(share, digits) === percent(value, digits);
  while (value !== null && value !== share && digits < MOST_DIGITS && alike()) digits += 1;
  return digits;
}

// A probability as it stands beside the answer's threshold: its own, if no other is meant.
export const shownPercent = (answer, share = shownShare(answer)) => percent(share, digitsOf(answer, share));

const SIGNS = {
  flagged: "M12 3 22 20H2ZM12 9.5v4.5M12 16.6v.6",
  other: "M12 3 22 20H2ZM12 9.5v4.5M12 16.6v.6",
  unsure: "M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M9.4 9.6a2.7 2.7 0 1 1 3.6 2.6c-.7.3-1 .8-1 1.6M12 16.6v.6",
  unscorable: "M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M5.7 5.7l12.6 12.6",
  below: "M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M12 7.5v8M8.5 12.5 12 16l3.5-3.5",
  none: "M3 12a9 9 0 1 0 18 0a9 9 0 1 0-18 0M12 8v.6M12 11.5V16",
};

// The verdict in words, with a sign of its own shape: its color is never all there is.
export function verdict(answer, words) {
  const kind = kindOf(answer);
  const sign = svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: SIGNS[kind] }));
  return el("p", { class: `verdict ${kind}` }, sign, el("span", {}, words));
}

const KINDS = {
  flagged: "flagged",
  other_cancer_likely: "other",
  not_flagged: "below",
  unsure: "unsure",
  unscorable: "unscorable",
};

// By the verdict's code; an older service has none, and only a flag.
export function kindOf({ flagged, verdict: made }) {
  if (made?.code in KINDS) return KINDS[made.code];
  if (flagged === null) return "none";
  return flagged ? "flagged" : "below";
}

// With the advice, where it is not listed below.
export function judge(answer, { advice: told = true } = {}) {
  const kind = kindOf(answer);
  if (kind === "none") return t("verdict.none");
  if (kind === "unscorable") {
    const advice = told ? (answer.quality?.reasons ?? []).map((code) => t(`quality.${code}`)) : [];
    return [t("verdict.unscorable"), ...advice].join(". ");
  }
  return t(`verdict.${kind}`, kind === "other" ? otherCancer(answer) : {});
}

// The likeliest of the other cancers, by its name and share.
function otherCancer({ other_cancer: other, by_class: shares }) {
  const name = other.classes.reduce((a, b) => (shares[b] > shares[a] ? b : a));
  return { name: className(name), share: percent(shares[name]) };
}

// Of a picture that cannot be scored and would be flagged: wherever it is told of, so is that.
export const flaggedAllTheSame = (answer) =>
  kindOf(answer) === "unscorable" && answer.flagged ? t("next.flagged_all_the_same") : null;

// What to do next, in a plain sentence.
export function nextStep(answer) {
  const kind = kindOf(answer);
  if (kind === "none") return null;
  const blind = kind === "below" && !answer.other_cancer;
  return [blind && t("next.blind"), t(`next.${kind}`), flaggedAllTheSame(answer)].filter(Boolean).join(" ");
}

// Why a flag and the likeliest class may seem to disagree.
function disagreement({ flagged, prediction }, served) {
  if (flagged === null || !served || flagged === served.melanoma.includes(prediction)) return null;
  return t(flagged ? "why.flagged" : "why.below", { name: className(prediction) });
}

export const shownShare = (answer) => answer.melanoma_probability ?? answer.probability;

export function shownName(answer) {
  return answer.melanoma_probability === null ? className(answer.prediction) : t("melanoma");
}

// The sentence for a screen reader.
export function spoken(answer) {
  const warned = answer.warnings.map(warning);
  const share = t("spoken", { name: shownName(answer), share: shownPercent(answer) });
  const said = [...warned, sentence(judge(answer)), nextStep(answer), sentence(share)];
  return said.filter(Boolean).join(" ");
}

// Stands beside every probability.
export function standing({ calibrated, prevalence }) {
  const basis = prevalence === null ? "" : t("prevalence", { share: smallPercent(prevalence) });
  return `${t(calibrated ? "calibrated" : "uncalibrated")}${basis}. ${t("disclaimer")}`;
}

// `served` is /info's entry of the model, `report` its report or null where it is not there (yet).
export function tellAnswer(answer, { file, square, served, report, actual, move }) {
  // What may spoil the score stands before it, for the ear as well.
  const parts = [
    el("ul", { id: "warnings" }, answer.warnings.map((text) => el("li", {}, warning(text)))),
    Object.assign(verdict(answer, judge(answer, { advice: false })), { id: "verdict" }),
  ];
  const why = reasons(answer);
  if (why) parts.push(why);
  const next = nextStep(answer);
  if (next) parts.push(el("p", { id: "next" }, next));
  const only = picturesOnly(answer.model);
  if (only) parts.push(el("p", { id: "only", class: "quiet" }, only));
  const against = disagreement(answer, served);
  if (against) parts.push(el("p", { id: "why" }, against));
  parts.push(
    el("p", { id: "percentage", class: kindOf(answer) }, shownPercent(answer)),
    el("p", { id: "of" }, t("probability.of", { name: shownName(answer) })),
    el("p", { id: "calibrated", class: "quiet" }, standing(answer)),
    el("p", { id: "likeliest" }, t("likeliest"), " ", el("b", {}, className(answer.prediction)), ` ${percent(answer.probability)}`),
    ...[frequency(answer), prevalenceField(answer, move), possible(answer)].filter(Boolean),
  );
  if (actual) parts.push(el("p", { id: "actual" }, t("actual", { name: className(actual) })));
  parts.push(bar(answer), ends(), folds(answer), el("p", { id: "spread" }, spread(answer)));
  if (answer.threshold) parts.push(el("p", { id: "meaning" }, meaning(answer, report)));
  for (const other of served?.external ?? []) parts.push(el("p", { class: "elsewhere" }, elsewhere(other)));
  parts.push(el("h3", {}, t("classes")), classes(answer.by_class));
  if (served) parts.push(squareFigure(file, { ...served, moved: square !== null }));
  if (answer.thresholds.length > 1) parts.push(otherPoints(answer.thresholds));
  parts.push(provenance(answer), el("p", { class: "paper" }));
  return parts;
}

function bar(answer) {
  const { threshold } = answer;
  const value = threshold?.value ?? 0;
  const told = smallPercent(value, digitsOf(answer));
  const against = threshold ? t("bar.threshold", { share: told }) : "";
  const mark = el(
    "div",
    { id: "threshold", class: value > 0.6 ? "late" : "", at: `${value * 100}%` },
    el("span", {}, t("threshold", { share: told })),
  );
  return el(
    "div",
    { id: "bar", role: "img", "aria-label": `${shownPercent(answer)}${against}` },
    el("div", { id: "fill", at: `${shownShare(answer) * 100}%` }),
    threshold && mark,
  );
}

const ends = () =>
  el("div", { class: "ends", "aria-hidden": "true" }, el("span", {}, percent(0, 0)), el("span", {}, percent(1, 0)));

function folds({ by_fold: shares }) {
  const dots = shares.map((share) => el("i", { at: `${share * 100}%` }));
  return el("div", { id: "folds", "aria-hidden": "true" }, dots);
}

function spread(answer) {
  const { by_fold: shares, threshold } = answer;
  const [low, high] = [Math.min(...shares), Math.max(...shares)].map((share) => shownPercent(answer, share));
  if (shares.length === 1) return t("spread.one", { low });
  const said = t("spread", { folds: count(shares.length), low, high });
  if (threshold === null) return said;
  const above = shares.filter((share) => share >= threshold.value).length;
  return `${said} ${t("spread.above", { above: count(above), folds: count(shares.length) })}`;
}

// What the threshold is and, where the report is at hand, what it did to photographs of known class.
function meaning(answer, report) {
  const { threshold } = answer;
  const said = t("meaning", { share: smallPercent(threshold.value, digitsOf(answer)), at: pointName(threshold.at) });
  const point = report?.thresholds.find(({ at }) => at === threshold.at);
  if (!point) return said;
  const form = (share) => percent(share, 0);
  const values = {
    sensitivity: measured(point.sensitivity, form),
    specificity: measured(point.specificity, form),
  };
  return `${said} ${t("meaning.did", values)}`;
}

// A set from elsewhere by its source, "ISIC 2017, ...", rather than by its recipe.
export const setName = ({ name, source }) => source?.split(",")[0] || name;

// The report joins names by its English "and"; no name has a space.
const names = (joined) => joined?.replace(" and ", ` ${t("elsewhere.and")} `);

// The same on a set from elsewhere, wherever the own one is told.
function elsewhere({ name: set, source, images, sensitivity, specificity, auroc, without }) {
  const name = setName({ name: set, source });
  const [share, others] = [sensitivity, specificity].map((one) => measured(one, (value) => percent(value, 0)));
  const key = without ? "elsewhere.without" : "elsewhere";
  return t(key, { name, images: count(images), share, others, auroc: measured(auroc), without: names(without) });
}

function classes(shares) {
  const likeliest = Object.entries(shares).sort(([, a], [, b]) => b - a);
  const rows = likeliest.slice(0, TOP).map(([name, share]) =>
    el(
      "li",
      { at: `${share * 100}%` },
      el("span", {}, `${className(name)} `),
      el("span", {}, percent(share, 2)),
    ),
  );
  return el("ol", { id: "classes", class: "bars" }, rows);
}

function otherPoints(points) {
  const rows = points.slice(1).map(({ at, value, flagged }) =>
    el(
      "li",
      {},
      el("span", {}, pointName(at)),
      el("span", {}, `${smallPercent(value)}${t("colon")} ${t(flagged ? "above" : "below")}`),
    ),
  );
  return el(
    "details",
    { id: "others" },
    el("summary", {}, t("points")),
    el("ul", { id: "points", class: "rows" }, rows),
  );
}

function provenance({ model, milliseconds, request_id }) {
  const facts = [
    ["name", "model", `${model.name}, ${t("version", { version: model.version })}`],
    ["digest", "digest", model.digest.slice(0, 12)],
    ["time", "time", `${count(Math.round(milliseconds))} ms`],
    ["request", "request", request_id.slice(0, 12)],
  ];
  const rows = facts.map(([id, key, value]) =>
    el("div", {}, el("dt", {}, t(key)), el("dd", { id: id }, value)),
  );
  return el("dl", { class: "facts" }, rows);
}

// On paper stands when it was printed, which may be long after it was answered.
export function datePrint() {
  for (const line of document.querySelectorAll(".paper")) line.textContent = t("printed", { when: moment(new Date()) });
}

// A warning's code in words, its detail after it.
export function warning(text) {
  const [code, detail] = text.split(/:\s*/, 2);
  const known = has(`warning.${code}`) ? t(`warning.${code}`) : code;
  return sentence(detail ? `${known}${t("colon")} ${detail}` : known);
}
