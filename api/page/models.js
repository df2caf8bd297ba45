// The served models: /info once, a model's report when it is first wanted.
import { $ } from "./dom.js";
import { askInfo, askReport } from "./client.js";
import { currentLanguage, has, t } from "./words.js";

let info = null;
const reports = new Map(); // reference -> report, or the promise of one

export const knownInfo = () => info;
// What ?model= takes: the name, or NAME@VERSION where several versions of it are served. `model` is
// an entry of /info or an answer's.
export const reference = ({ name, version }) =>
  info?.models.filter((model) => model.name === name).length > 1 ? `${name}@${version}` : name;
export const served = (wanted) => info?.models.find((model) => reference(model) === wanted) ?? null;
// The catalog's entry for a metric of a report; null for what is none, such as a class's recall.
export const metricOf = (key) => info?.metrics[key] ?? null;
export function metricName(key) {
  const titles = metricOf(key)?.title;
  if (titles) return titles[currentLanguage()] ?? titles.en;
  return has(`metric.${key}`) ? t(`metric.${key}`) : key.replaceAll("_", " ");
}
// An entry of /info in a list: one that was trained on drawings says so.
const option = (model) =>
  new Option(reference(model) + (model.phantoms ? ` (${t("model.phantoms")})` : ""), reference(model));
export const chosenModel = () => $("model").value;
// `then` is called when another model is chosen: one choice for every part of the page.
export const onModel = (then) => $("model").addEventListener("change", then);

// What pictures the model is for, as /info or an answer has it; null where it is for any.
export const picturesOnly = (model) =>
  has(`pictures.${model?.image_type}`) ? t(`pictures.${model.image_type}`) : null;
// The same of the chosen model, where a picture is chosen or taken.
export function drawPictures() {
  const words = picturesOnly(served(chosenModel()));
  for (const id of ["pictures", "booth-pictures"]) {
    $(id).hidden = words === null;
    $(id).textContent = words ?? "";
  }
}

// The list in the language of now; the choice stays.
export function drawModels(kept = $("model").value) {
  if (info === null) return;
  $("model").replaceChildren(...info.models.map(option));
  if (served(kept)) $("model").value = kept;
  drawPictures();
}

export async function loadInfo() {
  info = await askInfo();
  const kept = $("model").value;
  drawModels(kept);
  $("served").hidden = info.models.length < 2 && !info.models.some((model) => model.phantoms);
  return info;
}

// The model's report. Rejects with Refused; the next call then asks again.
export function loadReport(name) {
  if (!reports.has(name)) {
    const asked = askReport(name);
    reports.set(name, asked);
    asked.then(
      (report) => reports.set(name, report),
      () => reports.delete(name),
    );
  }
  return Promise.resolve(reports.get(name));
}

// The same where it is no matter that there is none: null.
export const reportOf = (name) => loadReport(name).catch(() => null);
reportOf.known = (name) => {
  const report = reports.get(name);
  return report instanceof Promise ? null : (report ?? null);
};
