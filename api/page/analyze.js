// The first tab: from a photograph to its answer. What is on the page follows from `state`.
import { $, el, say } from "./dom.js";
import { spoken, tellAnswer } from "./answer.js";
import { showBatch } from "./batch.js";
import { retell, startCamera } from "./camera.js";
import { askBatch, askPredict, askSamples, fetchSample, refuseBatch } from "./client.js";
import { hideExplain, offerExplain, redrawExplain } from "./explain.js";
import { exportOne } from "./export.js";
import { chosenModel, reference, reportOf, served } from "./models.js";
import { bytes, className, count, t } from "./words.js";

const THUMBNAILS = 12;
const NOTHING = { files: [], urls: [], actual: null, answer: null, explanation: null, batch: null };
let state = { ...NOTHING };
let request = null; // the AbortController of the score under way
let samples = [];

function choose(files, { actual = null } = {}) {
  clear();
  if (files.length === 0) return complain(t("nothing"));
  state = { ...NOTHING, files, actual, urls: files.map((file) => URL.createObjectURL(file)) };
  showChosen();
  rest();
  return undefined;
}

function clear() {
  request?.abort();
  request = null;
  for (const url of [...state.urls, ...(state.batch?.urls ?? [])]) URL.revokeObjectURL(url);
  state = { ...NOTHING };
  forget();
  showChosen();
  rest();
}

// Take the answer away, not the photograph.
function forget() {
  state = { ...state, answer: null, explanation: null, batch: null };
  complain("");
  say("");
  hideExplain();
  $("batch").hidden = true;
  $("result").hidden = true;
  $("result").replaceChildren();
  $("empty").hidden = false;
  $("empty").textContent = t("empty");
}

const complain = (text) => {
  $("error").textContent = text;
};

function showChosen() {
  const { files, urls, actual } = state;
  const preview = $("preview");
  const one = files.length === 1;
  preview.hidden = !one;
  if (one) preview.src = urls[0];
  else preview.removeAttribute("src");
  $("picture").style.display = files.length ? "none" : "";
  $("drop").querySelector(".strip")?.remove();
  if (files.length > 1) {
    const pictures = urls
      .slice(0, THUMBNAILS)
      .map((url) => el("img", { src: url, alt: "", onerror: (event) => event.target.remove() }));
    $("drop").prepend(el("span", { class: "strip" }, pictures));
  }
  if (files.length) $("invitation").textContent = one ? files[0].name : t("several", { n: count(files.length) });
  else $("invitation").replaceChildren(el("b", {}, t("choose")), ` ${t("or")}`);
  $("facts").hidden = files.length === 0;
  const size = bytes(files.reduce((sum, file) => sum + file.size, 0));
  const said = one ? [files[0].type || t("type.unknown"), size] : [size];
  if (actual) said.push(t("actual", { name: className(actual) }));
  $("facts").replaceChildren(...said.map((text) => el("span", {}, text)));
  if (one && preview.complete && preview.naturalWidth) tellPixels();
}

// The photograph's size in pixels, once the browser has read it.
function tellPixels() {
  const { naturalWidth: width, naturalHeight: height } = $("preview");
  $("facts").querySelector(".pixels")?.remove();
  $("facts").append(el("span", { class: "pixels" }, `${count(width)} × ${count(height)} px`));
}

function rest() {
  const button = $("predict");
  button.disabled = state.files.length === 0;
  button.removeAttribute("aria-busy");
  button.textContent = t("predict");
  $("clear").disabled = state.files.length === 0 && $("error").textContent === "";
}

function wait() {
  const button = $("predict");
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  button.textContent = t("scoring");
  say(t("scoring"));
}

async function predict(event) {
  event.preventDefault();
  const { files } = state;
  if (files.length === 0 || request !== null) return;
  forget();
  const refused = files.length > 1 ? refuseBatch(files) : null;
  if (refused) {
    complain(refused);
    return;
  }
  const ours = new AbortController();
  request = ours;
  wait();
  const how = { model: chosenModel(), signal: ours.signal };
  try {
    const answer = files.length > 1 ? await askBatch(files, how) : await askPredict(files[0], how);
    if (request !== ours) return;
    if (files.length > 1) showSeveral(answer);
    else showOne(answer);
  } catch (error) {
    if (request !== ours) return; // cleared, or another file was chosen
    say("");
    complain(error.message);
  } finally {
    if (request === ours) {
      request = null;
      rest();
      // A disabled button lost the focus; a keyboard goes on from here.
      if (document.activeElement === document.body) $("predict").focus({ preventScroll: true });
    }
  }
}

async function showOne(answer) {
  state.answer = answer;
  drawAnswer();
  offerExplain({ file: state.files[0], answer, tell });
  say(spoken(answer));
  $("verdict").scrollIntoView({ block: "nearest" });
  // The report tells what the threshold did; the answer does not wait for it.
  if ((await reportOf(reference(answer.model))) && state.answer === answer) drawAnswer();
}

function tell(explanation) {
  state.explanation = explanation;
}

function drawAnswer() {
  const { answer, files, actual } = state;
  const open = $("others")?.open;
  const about = {
    file: files[0],
    actual,
    served: served(reference(answer.model)),
    report: reportOf.known(reference(answer.model)),
  };
  const save = el("button", { id: "export", type: "button", onclick: () => exportOne({ ...state, file: files[0] }) }, t("export"));
  $("result").replaceChildren(...tellAnswer(answer, about), el("div", { class: "buttons" }, save));
  if (open) $("others").open = true;
  $("empty").hidden = true;
  $("result").hidden = false;
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
  $("empty").textContent = t("table");
}

// One row of the table in full; the table stays.
function openResult(index) {
  const { batch } = state;
  const { success, index: unused, ...result } = batch.answer.results[index];
  const { request_id, milliseconds, model } = batch.answer;
  state = { ...state, files: [batch.files[index]], urls: [batch.urls[index]] };
  showChosen();
  showOne({ request_id, milliseconds, model, ...result });
  $("score").scrollIntoView({ block: "nearest" });
}

async function startSamples() {
  samples = await askSamples();
  drawSamples();
}

function drawSamples() {
  const items = samples.map(({ file, actual }) => {
    const label = t("actual", { name: className(actual) });
    const picture = el("img", { src: `static/samples/${file}`, alt: "", width: 96, height: 96, loading: "lazy" });
    const button = el("button", { type: "button" }, picture, el("span", {}, label));
    button.addEventListener("click", async () => {
      try {
        choose([await fetchSample(file)], { actual });
        $("predict").focus();
      } catch (error) {
        clear();
        complain(error.message);
      }
    });
    return el("li", {}, button);
  });
  $("samples").querySelector("ul").replaceChildren(...items);
}

// A file dropped beside the field must not replace the page.
function startDrop() {
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) $("drop").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    choose([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 && event.target.closest?.("input, textarea")) return;
    event.preventDefault();
    choose(files);
  });
}

export function redrawAnalyze() {
  retell();
  drawSamples();
  showChosen();
  if (!request) rest();
  $("empty").textContent = t("empty");
  if (state.answer) drawAnswer();
  if (state.batch) drawBatch();
  redrawExplain();
}

export function startAnalyze() {
  $("file").addEventListener("change", (event) => {
    const files = [...event.target.files];
    if (files.length) choose(files);
    event.target.value = ""; // so that the same file can be chosen again
  });
  $("preview").addEventListener("load", tellPixels);
  $("preview").addEventListener("error", () => {
    // Not an image that a browser shows; whether it is one that is scored, the service says.
    $("preview").hidden = true;
    $("picture").style.display = "";
  });
  $("form").addEventListener("submit", predict);
  $("clear").addEventListener("click", () => {
    clear();
    $("file").focus();
  });
  $("model").addEventListener("change", () => {
    request?.abort();
    request = null;
    forget();
    rest();
  });
  startDrop();
  startCamera(choose);
  // Without them the page still scores.
  startSamples().catch(() => {
    $("samples").hidden = true;
  });
}
