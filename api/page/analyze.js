// The first tab: from a photograph to its answer. What is on the page follows from `state`.
import { $, el, say } from "./dom.js";
import { datePrint, spoken, tellAnswer } from "./answer.js";
import { showBatch } from "./batch.js";
import { retell, startCamera } from "./camera.js";
import { offer, showChosen, startChosen } from "./chosen.js";
import { askBatch, askPredict, refuseBatch } from "./client.js";
import { cutOut, movedSquare, startCut } from "./cut.js";
import { hideExplain, moveExplain, offerExplain, redrawExplain } from "./explain.js";
import { printButton } from "./downloads.js";
import { exportOne } from "./export.js";
import { prepareFile } from "./files.js";
import { startIntake } from "./intake.js";
import { forgetPatient, offerPatient } from "./patient.js";
import { chosenModel, onModel, reference, reportOf, served } from "./models.js";
import { drawSamples, startSamples } from "./samples.js";
import { endWaiting, startWaiting } from "./waiting.js";
import { t } from "./words.js";

// `refusals` are words by the file's place, for files that are not sent.
// `sent` is what the service got: the photograph, or the `square` cut out of it.
const NOTHING = {
  files: [], urls: [], refusals: {}, actual: null, sent: null, square: null, answer: null, explanation: null, batch: null,
};
let state = { ...NOTHING };
let choice = 0; // the number of the latest choice: reading an older one may end later
let request = null; // the AbortController of the score under way
let moving = null; // and of the same photograph's at another prevalence

async function choose(files, { actual = null } = {}) {
  clear();
  choice += 1;
  const mine = choice;
  if (files.length === 0) return complain(t("nothing"));
  const ready = await Promise.all(files.map(prepareFile));
  if (mine !== choice) return undefined;
  if (files.length === 1 && ready[0].refusal) return complain(ready[0].refusal);
  const refused = files.length > 1 ? refuseBatch(files) : null;
  if (refused) return complain(refused);
  const taken = files.map((file, i) => ready[i].file ?? file);
  const refusals = Object.fromEntries(ready.flatMap(({ refusal }, i) => (refusal ? [[i, refusal]] : [])));
  state = { ...NOTHING, files: taken, refusals, actual, urls: taken.map((file) => URL.createObjectURL(file)) };
  showChosen(state);
  rest();
  return undefined;
}

function clear() {
  choice += 1;
  stop();
  for (const url of [...state.urls, ...(state.batch?.urls ?? [])]) URL.revokeObjectURL(url);
  state = { ...NOTHING };
  forget();
  showChosen(state);
  rest();
}

// Take the answer away, not the photograph.
function forget() {
  state = { ...state, answer: null, explanation: null, batch: null };
  complain("");
  say("");
  hideExplain();
  $("batch").hidden = true;
  $("batch").replaceChildren();
  forgetPatient();
  $("result").hidden = true;
  $("result").replaceChildren();
  $("empty").hidden = false;
  $("empty").textContent = t("empty");
}

function complain(text) {
  $("error").textContent = text;
  if (text) $("clear").disabled = false;
}

function rest() {
  const button = $("predict");
  button.disabled = state.files.length === 0 || rowOpen();
  button.removeAttribute("aria-busy");
  button.textContent = t("predict");
  $("clear").disabled = state.files.length === 0 && $("error").textContent === "";
}

function stop() {
  request?.abort();
  moving?.abort();
  [request, moving] = [null, null];
  endWaiting();
}

function cancel() {
  stop();
  rest();
  say(t("stopped"));
  $("predict").focus();
}

async function predict(event) {
  event.preventDefault();
  const { files } = state;
  if (files.length === 0 || request !== null) return;
  forget();
  const ours = new AbortController();
  request = ours;
  const button = $("predict");
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  button.textContent = t("scoring");
  const waiting = startWaiting(cancel);
  if (narrow()) $("answer").scrollIntoView({ block: "start" });
  const how = { model: chosenModel(), signal: ours.signal, onSent: waiting.sent };
  try {
    const answer = files.length > 1 ? await scoreSeveral(how) : await scoreOne(how);
    if (request !== ours) return;
    waiting.end();
    if (files.length > 1) showSeveral(answer);
    else showOne(answer);
  } catch (error) {
    if (request !== ours) return; // cancelled, cleared, or another file was chosen
    say("");
    complain(error.message);
    if (narrow()) $("error").scrollIntoView({ block: "center" });
  } finally {
    if (request === ours) {
      stop();
      rest();
      // A disabled button lost the focus; a keyboard goes on from here.
      if (document.activeElement === document.body) $("predict").focus({ preventScroll: true });
    }
  }
}

async function scoreOne(how) {
  const square = movedSquare();
  const sent = await cutOut(state.files[0]);
  state = { ...state, sent, square };
  return askPredict(sent, how);
}

// The same photograph where another share of lesions are melanomas: the latest that was asked for.
async function scoreElsewhere(prevalence) {
  moving?.abort();
  const ours = new AbortController();
  moving = ours;
  const { answer, sent } = state;
  try {
    const moved = await askPredict(sent, { model: reference(answer.model), prevalence, signal: ours.signal });
    if (moving !== ours || state.answer !== answer) return;
    state.answer = moved;
    drawAnswer();
    moveExplain(moved);
    say(spoken(moved));
    $("prevalence")?.focus({ preventScroll: true });
  } catch (error) {
    if (moving === ours && state.answer === answer) complain(error.message);
  }
}

// The service's answer about the files that can be sent, and a refusal for each of the others.
async function scoreSeveral(how) {
  const { files, refusals } = state;
  const sent = [...files.keys()].filter((i) => !(i in refusals));
  const answer = sent.length ? await askBatch(sent.map((i) => files[i]), how) : { results: [] };
  const told = Object.entries(refusals).map(([i, message]) => ({
    index: Number(i),
    success: false,
    error: { code: "not_sent", message },
  }));
  const results = [...answer.results.map((result) => ({ ...result, index: sent[result.index] })), ...told];
  return { ...answer, results: results.sort((a, b) => a.index - b.index) };
}

// Whether a row of the table is shown in full: it is scored, and the way on is back to the table.
const rowOpen = () => state.batch !== null && state.files !== state.batch.files;
const narrow = () => matchMedia("(max-width: 46rem)").matches;

async function showOne(answer) {
  state.answer = answer;
  drawAnswer();
  offerExplain({ file: state.sent, answer, tell });
  say(spoken(answer));
  if (narrow()) $("answer").scrollIntoView({ block: "start" });
  else $("verdict").scrollIntoView({ block: "nearest" });
  // The report tells what the threshold did; the answer does not wait for it.
  if ((await reportOf(reference(answer.model))) && state.answer === answer) drawAnswer();
}

function tell(explanation) {
  state.explanation = explanation;
}

function drawAnswer() {
  const { answer, files, sent, square, actual } = state;
  const open = $("others")?.open;
  const held = $("result").contains(document.activeElement) ? document.activeElement.id : "";
  const about = {
    file: sent,
    square,
    actual,
    move: scoreElsewhere,
    served: served(reference(answer.model)),
    report: reportOf.known(reference(answer.model)),
  };
  const save = el("button", { id: "export", type: "button", onclick: () => exportOne({ ...state, file: files[0] }) }, t("export"));
  const back = state.batch && el("button", { id: "back", type: "button", onclick: backToTable }, t("batch.back"));
  $("result").replaceChildren(...tellAnswer(answer, about), el("div", { class: "buttons" }, back, save, printButton()));
  if (open) $("others").open = true;
  $("empty").hidden = true;
  $("result").hidden = false;
  // What is drawn anew must not lose a keyboard's place.
  if (held) $(held)?.focus({ preventScroll: true });
}

function showSeveral(answer) {
  state.batch = { files: state.files, urls: state.urls, answer };
  drawBatch();
  say($("batch").querySelector("caption").textContent);
  $("batch-title").focus();
}

function drawBatch() {
  const { files, urls, answer } = state.batch;
  showBatch(files, urls, answer, openResult);
  offerPatient(files, urls, answer);
  if (!state.answer) $("empty").textContent = t("table");
}

// One row of the table in full; the table stays.
function openResult(index) {
  const { batch } = state;
  const { success, index: unused, ...result } = batch.answer.results[index];
  const { request_id, milliseconds, model } = batch.answer;
  const files = [batch.files[index]];
  state = { ...state, files, urls: [batch.urls[index]], sent: files[0], square: null, opened: index };
  showChosen(state);
  rest();
  showOne({ request_id, milliseconds, model, ...result });
  $("answer").scrollIntoView({ block: narrow() ? "start" : "nearest" });
  $("back").focus({ preventScroll: true });
}

// All the photographs again, and the table where the detail was opened.
function backToTable() {
  const { batch, opened } = state;
  state = { ...state, files: batch.files, urls: batch.urls, answer: null, explanation: null };
  hideExplain();
  $("result").hidden = true;
  $("result").replaceChildren();
  $("empty").hidden = false;
  showChosen(state);
  rest();
  drawBatch();
  $("batch").querySelector(`[data-index="${opened}"]`)?.focus();
}

export function redrawAnalyze() {
  retell();
  drawSamples(sampling);
  showChosen(state);
  if (!request) rest();
  $("empty").textContent = t("empty");
  if (state.answer) drawAnswer();
  if (state.batch) drawBatch();
  redrawExplain();
}

const sampling = {
  choose,
  fail(error) {
    clear();
    complain(error.message);
  },
};

export function startAnalyze() {
  $("form").addEventListener("submit", predict);
  $("clear").addEventListener("click", () => {
    clear();
    $("file").focus();
  });
  onModel(() => {
    stop();
    // Another model scores all of them again, whichever was open.
    state = { ...state, files: (state.batch ?? state).files, urls: (state.batch ?? state).urls };
    forget();
    showChosen(state);
    rest();
    offer();
  });
  startCut(() => {
    if (request === null && state.answer === null) return;
    stop();
    forget();
    rest();
  });
  window.addEventListener("beforeprint", datePrint);
  startChosen();
  startIntake(choose);
  startCamera(choose);
  startSamples(sampling);
}
