// Why: an explanation on request, beside the photograph, with what its colors mean.
import { $, el, say } from "./dom.js";
import { shownPercent, standing } from "./answer.js";
import { askExplain } from "./client.js";
import { PICTURE, cut, savePicture } from "./explained_picture.js";
import { loadInfo, reference, served } from "./models.js";
import { className, count, currentLanguage, has, number, percent, seconds, t } from "./words.js";

const PRECISIONS = ["Low", "Medium", "High"];
const LARGEST = 5;
// What every service offers, should its /info not be at hand.
const PLAIN = { method: "gradcam", title: "Grad-CAM", options: [] };

let subject = null; // { file, answer, tell }
let wish = { method: "gradcam", precision: "Low", class: "" };
let request = null;
let shown = null;

export function hideExplain() {
  request?.abort();
  [request, subject, shown] = [null, null, null];
  $("explain").hidden = true;
  $("explain").replaceChildren();
}

// Offer explanations of this answer; `tell(explanation)` hears of each.
export function offerExplain(about) {
  hideExplain();
  subject = about;
  // The number shown is melanoma's: so is its explanation, until another class is asked for.
  wish.class = about.answer.melanoma_probability === null ? "" : "melanoma";
  draw();
}

// The same photograph's answer at another prevalence: its numbers stand in the picture as well.
export function moveExplain(answer) {
  if (!subject) return;
  [subject.answer, subject.moved] = [answer, true];
  if (!request) translate();
}

// Draw anew, in the language of now.
export function redrawExplain() {
  if (subject && !request) draw();
}

// What does not fit into the service's deadline is not offered.
const precisions = () => {
  const known = served(reference(subject.answer.model))?.explain?.precisions;
  const fitting = PRECISIONS.filter((name) => !known || name in known);
  return fitting.length ? fitting : PRECISIONS;
};
// The service's ways to explain, each with its title and the options that it reads.
const choices = () => served(reference(subject.answer.model))?.explain?.choices ?? [PLAIN];
const chosen = () => choices().find(({ method }) => method === wish.method);
const withPrecision = () => Boolean(chosen()?.options.includes("precision"));
const title = (method) => choices().find((known) => known.method === method)?.title ?? method;
const spoken = (method) => (has(`method.${method}`) ? t(`method.${method}`) : title(method));

function draw() {
  const { answer } = subject;
  $("explain").hidden = false;
  $("explain").replaceChildren(
    el("h2", { id: "explain-title" }, t("explain.title")),
    el("p", { class: "quiet" }, t("explain.what")),
    wishes(),
    el("p", { id: "explain-error", class: "alert", role: "alert" }),
    el("div", { id: "explained" }),
    el("p", { class: "quiet" }, standing(answer)),
  );
  if (shown) show(shown);
}

function wishes() {
  const { answer } = subject;
  const classes = [["", t("explain.likeliest", { name: className(answer.prediction) })]];
  const names = Object.keys(answer.by_class);
  if (answer.melanoma_probability !== null && !names.includes("melanoma")) names.unshift("melanoma");
  classes.push(...names.map((name) => [name, className(name)]));
  const form = el(
    "form",
    { id: "wish", class: "wish" },
    choice("method", choices().map(({ method }) => [method, spoken(method)])),
    choice("precision", precisions().map((name) => [name, precision(name)])),
    choice("class", classes),
    el("button", { id: "ask", class: "main", type: "submit" }, t("explain.ask")),
    el("button", { id: "cancel", type: "button", hidden: true, onclick: () => request?.abort() }, t("cancel")),
    el("progress", { id: "progress", max: 1, "aria-label": t("explain.progress"), hidden: true }),
    el("p", { id: "wait", class: "quiet", hidden: true }),
  );
  form.addEventListener("submit", explain);
  form.addEventListener("change", (event) => {
    wish = { ...wish, [event.target.name]: event.target.value };
    form.querySelector("[for=wish-precision]").hidden = !withPrecision();
  });
  form.querySelector("[for=wish-precision]").hidden = !withPrecision();
  return form;
}

function choice(name, options) {
  const select = el("select", { id: `wish-${name}`, name }, options.map(([value, text]) => new Option(text, value)));
  select.value = wish[name];
  if (select.selectedIndex < 0) wish[name] = select.value = options[0][0];
  return el("label", { for: `wish-${name}` }, el("span", {}, t(`explain.${name}`)), select);
}

// Asked of the newest /info: each explanation teaches the service what the next will take.
const cost = (name) => served(reference(subject.answer.model))?.explain?.precisions?.[name];

function precision(name) {
  const known = cost(name);
  if (!known) return t(`precision.${name}`);
  const values = { name: t(`precision.${name}`), evaluations: count(known.evaluations) };
  if (known.seconds === null) return t("precision.unknown", values);
  return t("precision.known", { ...values, time: seconds(known.seconds) });
}

async function explain(event) {
  event.preventDefault();
  if (request) return;
  const ours = new AbortController();
  request = ours;
  const language = currentLanguage();
  const { file, answer: scored, tell } = subject;
  const fields = { method: wish.method };
  if (withPrecision()) fields.precision = wish.precision;
  if (wish.class) fields.class = wish.class;
  shown = null;
  $("explained").replaceChildren();
  $("explain-error").textContent = "";
  const done = wait(withPrecision() ? (cost(wish.precision)?.seconds ?? null) : null);
  try {
    const answer = await askExplain(file, fields, { model: reference(scored.model), signal: ours.signal });
    if (request !== ours) return;
    shown = answer.explanation;
    tell(shown);
    await show(shown);
    say(t("explain.done"));
    learn().catch(() => {}); // the old expectation is no worse than before
  } catch (error) {
    if (request !== ours) return;
    say("");
    if (error.name === "AbortError") say(t("explain.stopped"));
    else $("explain-error").textContent = error.message;
  } finally {
    done();
    if (request === ours) {
      request = null;
      // Language or prevalence were changed in the meantime.
      if (language !== currentLanguage() || subject.answer !== scored) translate();
      if (document.activeElement === document.body) $("ask").focus();
    }
  }
}

function translate() {
  const failure = $("explain-error").textContent;
  draw();
  $("explain-error").textContent = failure;
}

async function learn() {
  const about = subject;
  await loadInfo();
  if (subject !== about) return;
  for (const option of $("wish-precision").options) option.text = precision(option.value);
}

// Say that it runs, and how far it is where that can be told. Returns what ends it.
function wait(expected) {
  const start = performance.now();
  const parts = { ask: $("ask"), cancel: $("cancel"), progress: $("progress"), wait: $("wait") };
  const tick = () => {
    const elapsed = (performance.now() - start) / 1000;
    const values = { elapsed: seconds(Math.round(elapsed)), expected: expected === null ? "" : seconds(expected) };
    parts.wait.textContent = t(expected === null ? "wait" : "wait.expected", values);
    if (expected !== null) parts.progress.value = Math.min(0.97, elapsed / expected);
  };
  const turn = (running) => {
    parts.ask.disabled = running;
    for (const part of [parts.cancel, parts.progress, parts.wait]) part.hidden = !running;
  };
  parts.progress.removeAttribute("value");
  say(t("explain.running"));
  turn(true);
  tick();
  const timer = setInterval(tick, 500);
  return () => {
    clearInterval(timer);
    turn(false);
  };
}

async function show(explanation) {
  const picture = new Image();
  picture.src = `data:image/png;base64,${explanation.picture}`;
  await picture.decode();
  const name = className(explanation.class);
  const { method } = explanation;
  const known = has(`explained.${method}`);
  const heading = known ? t(`explained.${method}`, { name }) : `${title(method)}: ${name}`;
  // A method that the page has no legend for is shown with the picture's own.
  const whole = picture.naturalWidth !== PICTURE.width || !known;
  const panels = whole
    ? [frame(picture, heading)]
    : [frame(cut(picture, PICTURE.left), t("explained.photograph")), frame(cut(picture, PICTURE.right), heading)];
  const { answer } = subject;
  const shares = [answer.prediction, explanation.class].map((one) => `${className(one)} ${shownPercent(answer, shareOf(answer, one))}`);
  const lines = [[...new Set(shares)].join("    "), standing(answer)];
  const told = { method, heading, lines, panels: !whole, moved: subject.moved };
  $("explained").replaceChildren(
    el("div", { class: whole ? "panels whole" : "panels" }, panels),
    legend(explanation),
    ...details(explanation),
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", onclick: () => savePicture(picture, told) }, t("explain.save")),
    ),
  );
}

const shareOf = (answer, name) => answer.by_class[name] ?? answer.melanoma_probability;

function frame(picture, title) {
  if (picture instanceof Image) picture.alt = title;
  else picture.setAttribute("aria-label", title);
  return el("figure", {}, picture, el("figcaption", {}, title));
}

function legend({ method }) {
  if (!has(`explained.${method}`)) return "";
  if (method === "gradcam") {
    const scale = el("i", { class: "heat", "aria-hidden": "true" });
    return el("p", { class: "legend" }, el("span", {}, t("legend.low")), scale, el("span", {}, t("legend.high")));
  }
  const kinds = ["for", "against", "largest"];
  const items = kinds.map((kind) => el("li", {}, el("i", { class: kind, "aria-hidden": "true" }), t(`legend.${kind}`)));
  return el("ul", { class: "legend" }, items, el("li", {}, t("legend.numbers")));
}

function details(explanation) {
  const { method, seconds: took, folds, segments = [] } = explanation;
  const said = [t("explained.by", { folds: count(folds.length), time: seconds(took) })];
  if (method === "gradcam") return [el("p", { class: "quiet" }, said, " ", t("explained.coarse", cells(explanation)))];
  if (method !== "lime") return [el("p", { class: "quiet" }, said)];
  const { precision: asked, evaluations, seed, r2 } = explanation;
  const values = { precision: t(`precision.${asked}`), evaluations: count(evaluations), seed, r2: number(r2, 2) };
  const largest = [...segments].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, LARGEST);
  const rows = largest.map(({ weight, area }) =>
    el(
      "li",
      {},
      el("span", {}, `${weight > 0 ? "+" : "\u2212"}${number(Math.abs(weight) * 100, 1)} ${t("points.unit")}`),
      el("span", {}, t("explained.area", { area: percent(area) })),
    ),
  );
  return [
    el("p", { class: "quiet" }, said, " ", t("explained.lime.by", values)),
    r2 < 0.3 && el("p", { class: "alert" }, t("explained.poor")),
    el("details", {}, el("summary", {}, t("explained.largest")), el("ul", { class: "rows" }, rows)),
  ].filter(Boolean);
}

const cells = ({ heat }) => ({ rows: count(heat.length), columns: count(heat[0].length) });
