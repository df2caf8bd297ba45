// Several photographs of one patient: a wall of its lesions, the highest first, each with its own
// probability. Rank and mark are beside it, and take nothing away from it.
import { $, el, save, say } from "./dom.js";
import { flaggedAllTheSame, kindOf, shownPercent, verdict } from "./answer.js";
import { askPatient } from "./client.js";
import { chosenModel } from "./models.js";
import { told } from "./patient_words.js";
import { count, has, number, sentence, t } from "./words.js";

const COLUMNS = ["melanoma_probability", "flagged", "rank_in_patient", "outlier", "context_probability"];

let offered = null; // the batch on the page
let asked = null; // its wall, once it is there: another language draws it anew

// The offer below a batch's table; the wall takes its place once it is asked for. None where no
// class is melanoma, or fewer than two photographs have a score.
export function offerPatient(files, urls, batch) {
  if (offered !== batch) forgetPatient();
  offered = batch;
  const shares = batch.results.filter(({ success }) => success).map((result) => result.melanoma_probability);
  if (shares.length < 2 || shares.includes(null)) return;
  const place = el("div", { id: "patient" });
  $("batch").append(place);
  if (asked) {
    place.append(...wall(files, urls, asked));
    return;
  }
  const ask = el("button", { type: "button", onclick: () => askWall(files, urls, batch) }, told("ask"));
  place.append(el("div", { class: "buttons" }, ask), el("p", { class: "quiet" }, told("offer")));
}

export function forgetPatient() {
  [offered, asked] = [null, null];
}

// Meanwhile the page may be cleared, or drawn in another language.
async function askWall(files, urls, batch) {
  $("patient").querySelector("button").disabled = true;
  say(t("scoring"));
  const gone = () => offered !== batch;
  try {
    const answer = await askPatient(files, { model: chosenModel() });
    if (gone()) return;
    asked = answer;
    const place = $("patient");
    place.replaceChildren(...wall(files, urls, answer));
    place.querySelector("h3").focus();
    say(place.querySelector(".summary").textContent);
  } catch (error) {
    if (gone()) return;
    say("");
    const place = $("patient");
    place.querySelector("button").disabled = false;
    place.querySelector(".alert")?.remove();
    place.append(el("p", { class: "alert", role: "alert" }, error.message));
  }
}

function wall(files, urls, answer) {
  const shown = answer.lesions.toSorted((a, b) => b.melanoma_probability - a.melanoma_probability);
  const marked = shown.filter(({ outlier }) => outlier).length;
  const few = answer.distinct_lesions < 3;
  const values = { n: count(answer.distinct_lesions), marked: count(marked) };
  const apart = answer.results.filter(({ success, lesion }) => !success || lesion === null);
  return [
    el("h3", { tabindex: -1 }, told("title")),
    el("p", { class: "summary" }, few ? told("few") : told(marked ? "marked" : "none", values)),
    el("ol", { class: "wall" }, shown.map((lesion) => card(lesion, files, urls, answer))),
    ...apart.map((result) =>
      el("p", { class: "alert" }, `${files[result.index].name}${t("colon")} ${whyApart(result)}`),
    ),
    el("p", { class: "quiet" }, told("experimental")),
    answer.context ? null : el("p", { class: "quiet" }, told("without")),
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", onclick: () => saveJson(files, answer) }, "JSON"),
      el("button", { type: "button", onclick: () => saveCsv(files, answer) }, "CSV"),
    ),
  ].filter(Boolean);
}

function whyApart(result) {
  if (result.error) return refused(result.error);
  return [told("unscorable"), flaggedAllTheSame(result)].filter(Boolean).join(". ");
}

const refused = ({ code, message }) => (has(`error.${code}`) ? t(`error.${code}`) : sentence(message));

function card(lesion, files, urls, answer) {
  const results = lesion.images.map((index) => answer.results[index]);
  const pictures = lesion.images.map((index) => {
    const image = el("img", { src: urls[index], alt: files[index].name, width: 112, height: 112 });
    image.addEventListener("error", () => image.remove());
    return image;
  });
  const worst = results.find(({ flagged }) => flagged) ?? results[0];
  const share = (value) => shownPercent(worst, value); // as the table has it
  const rank = lesion.rank_in_patient;
  return el(
    "li",
    { class: lesion.outlier ? "outlier" : null },
    el("div", { class: "pictures" }, pictures),
    rank === null ? null : el("b", {}, told("rank", { rank: count(rank), n: count(answer.distinct_lesions) })),
    el("p", { class: "own" }, told("own", { share: share(lesion.melanoma_probability) })),
    verdict(worst, told(kindOf(worst))),
    lesion.outlier ? el("p", { class: "mark" }, told("outlier", { odds: number(lesion.odds_of_others, 0) })) : null,
    lesion.context_probability === null || rank === null
      ? null
      : el("p", { class: "quiet" }, told("context", { share: share(lesion.context_probability) })),
    lesion.context_flags ? el("p", { class: "mark" }, told("lifted")) : null,
    lesion.images.length > 1
      ? el("p", { class: "quiet" }, told("several", { n: count(lesion.images.length), low: share(lesion.lowest), high: share(lesion.highest) }))
      : null,
  );
}

function saveJson(files, answer) {
  const results = answer.results.map((result) => ({ file: files[result.index].name, ...result }));
  const told = { exported: new Date().toISOString(), ...answer, results };
  save(new Blob([`${JSON.stringify(told, null, 2)}\n`], { type: "application/json" }), "melanoma_patient.json");
}

// A spreadsheet runs a cell that begins so; ' before it keeps it text.
const plain = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;

function saveCsv(files, answer) {
  const head = ["file", ...COLUMNS, "verdict", "error"].join(",");
  const rows = answer.results.map((result) =>
    [
      plain(files[result.index].name),
      ...COLUMNS.map((name) => result[name] ?? ""),
      result.verdict?.code ?? "",
      plain(result.error?.message ?? ""),
    ].join(","),
  );
  // The mark at the start is how Excel knows UTF-8.
  save(new Blob([`\ufeff${[head, ...rows].join("\n")}\n`], { type: "text/csv" }), "melanoma_patient.csv");
}
