// What this is, what it is not, and what is served here.
import { $, el } from "./dom.js";
import { knownInfo, metricName, picturesOnly } from "./models.js";
import { bytes, className, count, measured, percent, smallPercent, t } from "./words.js";

const POINTS = ["calibration", "threshold", "folds", "explanation", "privacy"];

export function drawAbout() {
  const told = POINTS.map((name) => [
    el("h3", {}, t(`about.${name}`)),
    el("p", {}, t(`about.${name}.text`)),
  ]);
  $("about").replaceChildren(
    el(
      "div",
      { class: "card prose" },
      el("h2", {}, t("about.title")),
      el("p", { class: "lead" }, t("about.lead")),
      el("p", { class: "alert" }, t("about.warning")),
      ...told.flat(),
    ),
    el("div", { class: "card" }, el("h2", {}, t("about.models")), ...models()),
  );
}

function models() {
  const info = knownInfo();
  if (info === null) return [el("p", { class: "quiet" }, t("about.unknown"))];
  const { formats, bytes: most, pixels, shortest_side: shortest } = info.limits;
  const limits = t("about.limits", {
    formats: formats.join(", "),
    bytes: bytes(most),
    megapixels: count(pixels / 1e6),
    shortest: count(shortest),
  });
  return [
    ...info.models.map(model),
    el("p", { class: "quiet" }, limits),
    el("p", {}, el("a", { href: "openapi.json" }, t("about.api"))),
  ];
}

function model(served) {
  const { prevalence } = served.calibration;
  const facts = [
    ["model", `${served.name}, ${t("version", { version: served.version })}`],
    ["digest", served.digest],
    ["about.backbone", `${served.backbone}, ${t("about.folds.count", { folds: count(served.folds) })}`],
    ["about.classes", served.classes.map(className).join(", ")],
    ["about.input", t(`seen.${served.fit}`, { side: count(served.image_size) })],
    [metricName("auroc"), measured(served.auroc)],
    ["about.prevalence", prevalence === null ? "–" : smallPercent(prevalence)],
  ];
  const only = picturesOnly(served);
  const rows = facts.map(([key, value]) => el("div", {}, el("dt", {}, t(key)), el("dd", {}, value)));
  return el("div", { class: "served" }, el("dl", { class: "facts wide" }, rows), only && el("p", {}, only), license(served));
}

// The text that came with the weights, folded up; nothing where none came.
function license({ license: text }) {
  if (!text) return null;
  // A Markdown file's marks out, and its lines joined: the page has a width of its own.
  const plain = text.replaceAll(/^#+ |\*\*|`/gm, "").replaceAll(/([^\n])\n(?![\n-])/g, "$1 ");
  return el("details", {}, el("summary", {}, t("about.license")), el("p", { class: "license" }, plain));
}
