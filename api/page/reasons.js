// Why a picture cannot be scored or its answer is unsure, in the person's language; and the same
// probability in whole lesions, at a prevalence that can be changed.
import { el } from "./dom.js";
import { className, count, has, percent, smallPercent, t } from "./words.js";

// Sentences of what is wrong and what to do; a reason that the page has no words for is the service's.
function sentences({ verdict, novelty, quality }) {
  const codes = [...(novelty?.is_novel ? ["novel"] : []), ...(quality?.reasons ?? [])];
  const known = codes.filter((code) => has(`reason.${code}`)).map((code) => t(`reason.${code}`));
  if (known.length || verdict?.code !== "unscorable") return known;
  return [el("span", { lang: "en" }, verdict.text)];
}

export function reasons(answer) {
  const told = sentences(answer);
  return told.length ? el("ul", { id: "reasons" }, told.map((text) => el("li", {}, text))) : null;
}

// "Of 100 lesions with such a score about 3 are melanomas", as the answer has it.
export function frequency(answer) {
  const told = answer.frequency;
  if (!told) return null;
  const { of, melanomas, low, high, prevalence } = told;
  const probability = answer.melanoma_probability;
  const all = melanomas === of && probability < 1;
  const values = { of: count(of), n: count(all ? of - 1 : melanomas), share: smallPercent(prevalence) };
  const few = { 0: "frequency.none", 1: "frequency.one" }[melanomas] ?? "frequency";
  const words = all ? "frequency.nearly_all" : few;
  const bounds = low === null || high === null ? "" : ` ${t("frequency.range", { low: count(low), high: count(high) })}`;
  return el("p", { id: "frequency" }, t(words, values) + bounds);
}

// What it may be, so that the true class is seldom missing.
export function possible({ set }) {
  if (!set) return null;
  const names = set.classes.map(className).join(", ");
  return el("p", { id: "possible" }, t("possible", { level: percent(set.level, 0), names }));
}

// A field for the share of melanomas where the person is; `apply(share)` asks anew.
export function prevalenceField(answer, apply) {
  if (!answer.frequency) return null;
  const { prevalence } = answer.frequency;
  const value = Number((100 * prevalence).toPrecision(prevalence > 0.99 ? 6 : 3)); // 99.9999 is not 100
  const bounds = { min: 0.0001, max: 99.9999, step: "any" }; // as the service has them
  const field = el("input", { id: "prevalence", type: "number", ...bounds, value, required: true });
  const form = el(
    "form",
    { id: "prevalence-form", class: "row" },
    el("label", { for: "prevalence" }, t("prevalence.field")),
    field,
    el("button", { type: "submit" }, t("prevalence.apply")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply(field.valueAsNumber / 100);
  });
  return form;
}
