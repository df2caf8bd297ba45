"use strict";

const $ = (id) => document.getElementById(id);
const INVITATION = [...$("invitation").childNodes];
const WARNINGS = {
  low_information: "There is little to see in this photograph: the score may mean nothing.",
  multi_frame: "The file holds several frames: the first one was scored.",
  fewer_folds: "Fewer folds than planned are in this model",
  views: "The image was scored in fewer or more views than the model was evaluated with",
};
const UNREACHABLE = "The service did not answer. Check the connection and try again.";

let chosen = null; // the File
let request = null; // the AbortController of the score under way

function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value < 100 && value > 99.9) return "> 99.9 %";
  return `${value.toFixed(1)} %`;
}

function sentence(text) {
  const trimmed = text.trim();
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

function choose(file) {
  clear();
  chosen = file;
  const preview = $("preview");
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  $("picture").style.display = "none";
  $("invitation").textContent = file.name;
  $("predict").disabled = false;
  $("clear").disabled = false;
}

function clear() {
  request?.abort();
  request = null;
  chosen = null;
  URL.revokeObjectURL($("preview").src);
  $("preview").removeAttribute("src");
  $("preview").hidden = true;
  $("picture").style.display = "";
  $("invitation").replaceChildren(...INVITATION);
  $("clear").disabled = true;
  forget();
  rest();
}

function forget() {
  $("error").textContent = "";
  $("status").textContent = "";
  $("result").hidden = true;
  $("empty").hidden = false;
}

function rest() {
  const button = $("predict");
  button.disabled = chosen === null;
  button.removeAttribute("aria-busy");
  button.textContent = "Predict";
}

function wait() {
  const button = $("predict");
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  button.textContent = "Scoring …";
  $("status").textContent = "Scoring.";
}

async function ask(file, signal) {
  const form = new FormData();
  // The name stays here: the service neither needs nor keeps it.
  form.append("file", file, "photograph");
  const model = $("model").value;
  const address = model ? `predict?model=${encodeURIComponent(model)}` : "predict";
  const reply = await fetch(address, { method: "POST", body: form, signal });
  const answer = await reply.json();
  if (!answer.success) {
    const { message, request_id } = answer.error;
    throw new Refused(sentence(message) + (reply.status === 500 ? ` (${request_id})` : ""));
  }
  return answer;
}

class Refused extends Error {}

async function predict(event) {
  event.preventDefault();
  if (chosen === null || request !== null) return;
  const ours = new AbortController();
  request = ours;
  forget();
  wait();
  try {
    const answer = await ask(chosen, ours.signal);
    if (request === ours) show(answer);
  } catch (error) {
    if (request !== ours) return; // cleared, or another file was chosen
    $("status").textContent = "";
    $("error").textContent = error instanceof Refused ? error.message : UNREACHABLE;
  } finally {
    if (request === ours) {
      request = null;
      rest();
      // A disabled button lost the focus; a keyboard goes on from here.
      if (document.activeElement === document.body) $("predict").focus();
    }
  }
}

function show(answer) {
  const share = answer.melanoma_probability ?? answer.probability;
  const verdict = judge(answer);
  $("percentage").textContent = percent(share);
  $("of").textContent = answer.melanoma_probability === null ? answer.prediction : "melanoma";
  $("verdict").textContent = verdict;
  $("fill").style.setProperty("--at", `${share * 100}%`);
  showThreshold(answer.threshold, share);
  showFolds(answer.by_fold);
  showClasses(answer.by_class);
  showPoints(answer.thresholds);
  $("warnings").replaceChildren(...answer.warnings.map(warning));
  $("name").textContent = `${answer.model.name}, version ${answer.model.version}`;
  $("digest").textContent = answer.model.digest.slice(0, 12);
  const basis = answer.prevalence === null ? "" : `, at ${percent(answer.prevalence)} prevalence`;
  $("calibrated").textContent = answer.calibrated ? `yes${basis}` : "no";
  $("time").textContent = `${Math.round(answer.milliseconds)} ms`;
  $("empty").hidden = true;
  $("result").hidden = false;
  $("verdict").scrollIntoView({ block: "nearest" });
  const of = sentence(`${$("of").textContent} probability ${percent(share)}`);
  $("status").textContent = `${of} ${sentence(verdict)}`;
}

function judge(answer) {
  if (answer.threshold === null) return "This model has no melanoma class: its likeliest class";
  return `${answer.flagged ? "Above" : "Below"} the threshold at ${answer.threshold.at}`;
}

function showThreshold(threshold, share) {
  $("threshold").hidden = threshold === null;
  const value = threshold?.value ?? 0;
  $("threshold").style.setProperty("--at", `${value * 100}%`);
  $("threshold").classList.toggle("late", value > 0.6);
  $("threshold").firstElementChild.textContent = `threshold ${percent(value)}`;
  const against = threshold ? `, the threshold is ${percent(value)}` : "";
  $("bar").setAttribute("aria-label", `${percent(share)}${against}`);
}

function showClasses(shares) {
  const likeliest = Object.entries(shares).sort(([, a], [, b]) => b - a);
  $("classes").hidden = likeliest.length < 3;
  $("classes").replaceChildren(
    ...likeliest.slice(0, 5).map(([name, share]) => row(name, percent(share))),
  );
}

function showPoints(points) {
  $("points").replaceChildren(
    ...points
      .slice(1)
      .map(({ at, value, flagged }) =>
        row(`at ${at}`, `${percent(value)}: ${flagged ? "above" : "below"}`),
      ),
  );
  $("others").hidden = points.length < 2;
}

function row(name, value) {
  const item = document.createElement("li");
  const [left, right] = [document.createElement("span"), document.createElement("span")];
  left.textContent = name;
  right.textContent = value;
  item.append(left, right);
  return item;
}

function showFolds(shares) {
  const low = percent(Math.min(...shares));
  const high = percent(Math.max(...shares));
  const spread = shares.length > 1 ? `${shares.length} folds: ${low} to ${high}` : `1 fold: ${low}`;
  $("folds").replaceChildren(
    ...shares.map((share) => {
      const dot = document.createElement("i");
      dot.style.setProperty("--at", `${share * 100}%`);
      return dot;
    }),
  );
  $("folds").setAttribute("aria-label", spread);
  $("spread").textContent = spread;
}

function warning(text) {
  const [code, detail] = text.split(/:\s*/, 2);
  const item = document.createElement("li");
  const known = WARNINGS[code] ?? code;
  item.textContent = sentence(detail ? `${known}: ${detail}` : known);
  return item;
}

async function describe() {
  const reply = await fetch("info");
  const { models } = await reply.json();
  $("model").replaceChildren(...models.map((m) => new Option(m.name, m.name)));
  $("served").hidden = models.length < 2;
}

$("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) choose(file);
  event.target.value = ""; // so that the same file can be chosen again
});
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

// A file dropped beside the field must not replace the page.
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
  const [file] = event.dataTransfer.files;
  if (file) choose(file);
});

// Without it the page still scores, by the default model.
describe().catch(() => {});
