// Several photographs in one go: a table, what needs a doctor first.
import { $, el } from "./dom.js";
import { flaggedAllTheSame, judge, kindOf, shownName, shownPercent, shownShare, standing, verdict, warning } from "./answer.js";
import { exportBatch, exportTable } from "./export.js";
import { bytes, className, count, has, percent, sentence, t } from "./words.js";

const URGENCY = ["flagged", "other", "unscorable", "unsure", "failed", "warned", "none", "below"];
const ORDERS = { urgency: byUrgency, given: byIndex, probability: byShare, name: byName };
let order = "urgency";

const rank = (result) => {
  if (!result.success) return URGENCY.indexOf("failed");
  const kind = kindOf(result);
  return URGENCY.indexOf(result.warnings.length && ["below", "none"].includes(kind) ? "warned" : kind);
};
const share = (result) => (result.success ? shownShare(result) : -1);
function byIndex(a, b) {
  return a.index - b.index;
}
function byShare(a, b) {
  return share(b) - share(a) || byIndex(a, b);
}
function byUrgency(a, b) {
  return rank(a) - rank(b) || byShare(a, b);
}
function byName(a, b, files) {
  return files[a.index].name.localeCompare(files[b.index].name) || byIndex(a, b);
}

// `urls` are the files' object URLs; `open(index)` shows one result in full.
export function showBatch(files, urls, answer, open) {
  const body = el("tbody");
  const sorted = () => [...answer.results].sort((a, b) => ORDERS[order](a, b, files));
  const fill = () =>
    body.replaceChildren(...sorted().map((result) => row(files[result.index], urls[result.index], result, open)));
  fill();
  const names = ["batch.picture", "batch.file", "batch.verdict", "batch.probability", "batch.class"];
  const head = el("tr", {}, names.map((name) => el("th", { scope: "col" }, t(name))), el("td"));
  const table = el(
    "table",
    { class: "batch" },
    el("caption", {}, summary(files, answer)),
    el("thead", {}, head),
    body,
  );
  const choices = Object.keys(ORDERS).map((name) => new Option(t(`batch.by.${name}`), name));
  const sort = el("select", { id: "order" }, choices);
  sort.value = order;
  sort.addEventListener("change", () => {
    order = sort.value;
    fill();
  });
  const first = answer.results.find(({ success }) => success);
  $("batch").replaceChildren(
    el("h2", { id: "batch-title", tabindex: -1 }, t("batch.title")),
    el("p", { class: "row sort" }, el("label", { for: "order" }, t("batch.order")), sort),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("batch.title") }, table),
    el("p", { class: "quiet" }, first ? standing(first) : t("disclaimer")),
    el(
      "div",
      { class: "buttons" },
      el("button", { id: "csv", type: "button", onclick: () => exportTable(files, sorted()) }, t("export.csv")),
      el("button", { type: "button", onclick: () => exportBatch(files, answer) }, t("export")),
    ),
  );
  $("batch").hidden = false;
}

function summary(files, answer) {
  const good = answer.results.filter(({ success }) => success);
  const of = (kind) => count(good.filter((result) => kindOf(result) === kind).length);
  const said = [t("batch.summary", { scored: count(good.length), all: count(files.length), flagged: of("flagged") })];
  for (const kind of ["other", "unscorable", "unsure"]) {
    if (of(kind) !== count(0)) said.push(t(`batch.${kind}`, { n: of(kind) }));
  }
  const warned = good.filter(({ warnings }) => warnings.length).length;
  if (warned) said.push(t("batch.warned", { n: count(warned) }));
  return said.join(", ");
}

function row(file, url, result, open) {
  const image = el("img", { src: url, alt: "", width: 48, height: 48 });
  image.addEventListener("error", () => image.remove()); // no image at all: its row says so
  const picture = el("td", {}, image);
  const name = el(
    "th",
    { scope: "row" },
    el("span", { class: "name" }, file.name),
    el("small", {}, bytes(file.size)),
  );
  if (!result.success) {
    const { code, message } = result.error;
    const words = has(`error.${code}`) ? t(`error.${code}`) : sentence(message);
    return el("tr", { class: "failed" }, picture, name, el("td", { colspan: 4 }, words));
  }
  const label = t("batch.open", { name: file.name });
  const warned = result.warnings.map((text) => el("small", { class: "warned" }, warning(text)));
  const all = flaggedAllTheSame(result);
  const details = el(
    "button",
    { type: "button", "aria-label": label, "data-index": result.index, onclick: () => open(result.index) },
    t("batch.details"),
  );
  return el(
    "tr",
    {},
    picture,
    name,
    el("td", {}, ...warned, verdict(result, short(result)), all && el("small", { class: "warned" }, all)),
    el("td", { class: "number" }, shownPercent(result), el("small", {}, shownName(result))),
    el("td", {}, className(result.prediction), el("small", {}, percent(result.probability))),
    el("td", {}, details),
  );
}

// The verdict in a few words: the details have the sentence.
function short(result) {
  const kind = kindOf(result);
  return kind === "none" ? judge(result) : t(`short.${kind}`);
}
