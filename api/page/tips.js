// What a metric means, behind a small button beside its name: by mouse, finger and keyboard.
import { el } from "./dom.js";
import { metricOf } from "./models.js";
import { currentLanguage, has, t } from "./words.js";

let made = 0;

// The words for a metric: the page's own, or in English the catalog's.
function explanation(key) {
  if (has(`tip.${key}`)) return t(`tip.${key}`);
  return currentLanguage() === "en" ? (metricOf(key)?.explanation ?? null) : null;
}

// The button and its words; null where there are none. `name` is the metric's, as it is shown.
export function tip(key, name) {
  const words = explanation(key);
  if (words === null) return null;
  made += 1;
  const id = `tip-${made}`;
  const label = t("tip.of", { name });
  const button = el("button", { type: "button", class: "tip", popovertarget: id, "aria-label": label, title: words }, "?");
  return [button, el("span", { id, class: "told", popover: "auto", role: "note" }, el("b", {}, name), ` ${words}`)];
}
