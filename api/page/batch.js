// Several photographs in one go: a table, a row for each in the order given.
import { $, el } from "./dom.js";
import { judge, kindOf, shownName, shownShare, standing, verdict } from "./answer.js";
import { exportBatch } from "./export.js";
import { bytes, className, count, has, percent, sentence, t } from "./words.js";

// `urls` are the files' object URLs; `open(index)` shows one result in full.
export function showBatch(files, urls, answer, open) {
  const good = answer.results.filter(({ success }) => success);
  const flagged = good.filter((result) => result.flagged).length;
  const values = { scored: count(good.length), all: count(files.length), flagged: count(flagged) };
  const names = ["batch.picture", "batch.file", "batch.probability", "batch.verdict", "batch.class"];
  const head = el("tr", {}, names.map((name) => el("th", { scope: "col" }, t(name))), el("td"));
  const rows = answer.results.map((result) => row(files[result.index], urls[result.index], result, open));
  const table = el(
    "table",
    { class: "batch" },
    el("caption", {}, t("batch.summary", values)),
    el("thead", {}, head),
    el("tbody", {}, rows),
  );
  const first = good[0];
  $("batch").replaceChildren(
    el("h2", { id: "batch-title", tabindex: -1 }, t("batch.title")),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("batch.title") }, table),
    el("p", { class: "quiet" }, first ? standing(first) : t("disclaimer")),
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", onclick: () => exportBatch(files, answer) }, t("export")),
    ),
  );
  $("batch").hidden = false;
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
  return el(
    "tr",
    {},
    picture,
    name,
    el("td", { class: "number" }, percent(shownShare(result)), el("small", {}, shownName(result))),
    el("td", {}, verdict(result, short(result))),
    el("td", {}, className(result.prediction), el("small", {}, percent(result.probability))),
    el("td", {}, el("button", { type: "button", "aria-label": label, onclick: () => open(result.index) }, t("batch.details"))),
  );
}

const SHORT = { flagged: "flagged", below: "unflagged", other: "other" };
const short = (result) => (SHORT[kindOf(result)] ? t(SHORT[kindOf(result)]) : judge(result));
