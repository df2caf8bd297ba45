// The service's routes. Every failure is a Refused, whose message can be shown as it is.
import { $ } from "./dom.js";
import { bytes, currentLanguage, has, sentence, t } from "./words.js";

export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

let token = null;
try {
  token = sessionStorage.getItem("token");
} catch {
  // Storage is forbidden: the token is asked for again at the next visit.
}

// Whether it can be one: a service's token is printable ASCII without spaces, and of what else was
// pasted along with it the browser could not send a header.
export function setToken(text) {
  const value = text.trim();
  if (!/^[!-~]+$/.test(value)) return false;
  token = value;
  try {
    sessionStorage.setItem("token", value);
  } catch {
    // As above.
  }
  return true;
}

// In English, the service's own words say most. In French, the code's words, then the service's.
function explain({ code, message, request_id }, status) {
  const known = has(`error.${code}`) ? t(`error.${code}`) : sentence(message);
  return status === 500 ? `${known} (${request_id})` : known;
}

async function refusal(reply) {
  if (reply.status === 401) {
    $("access").hidden = false;
    $("access-error").textContent = token === null ? "" : t("access.refused");
  }
  try {
    const { error } = await reply.json();
    return new Refused(error.code, explain(error, reply.status));
  } catch {
    // Not the service's words: those of something before it.
    return new Refused("unreachable", t("error.status", { status: reply.status }));
  }
}

async function reach(path, { model, language, ...options } = {}) {
  const address = model ? `${path}?model=${encodeURIComponent(model)}` : path;
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  if (language) headers["Accept-Language"] = language;
  let reply;
  try {
    reply = await fetch(address, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("unreachable", t("unreachable"));
  }
  if (!reply.ok) throw await refusal(reply);
  return reply;
}

async function ask(path, options = {}) {
  const reply = await reach(path, options);
  try {
    return await reply.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("unreachable", t("unreachable"));
  }
}

function form(name, files, fields = {}) {
  const body = new FormData();
  // A file's name stays here: the service neither needs nor keeps it.
  for (const file of files) body.append(name, file, "photograph");
  for (const [field, value] of Object.entries(fields)) body.append(field, value);
  return body;
}

// By XMLHttpRequest: fetch does not tell how far an upload is. `onSent` hears its share, 0 to 1.
function post(path, body, { model, signal, onSent = () => {} }) {
  const upload = new XMLHttpRequest();
  upload.open("POST", model ? `${path}?model=${encodeURIComponent(model)}` : path);
  upload.setRequestHeader("Accept", "application/json");
  if (token !== null) upload.setRequestHeader("Authorization", `Bearer ${token}`);
  return new Promise((resolve, reject) => {
    const lost = () => reject(new Refused("unreachable", t("unreachable")));
    upload.upload.addEventListener("progress", ({ loaded, total }) => total && onSent(loaded / total));
    upload.upload.addEventListener("load", () => onSent(1));
    upload.addEventListener("error", lost);
    upload.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    upload.addEventListener("load", () => {
      const reply = new Response(upload.response || null, { status: upload.status });
      if (!reply.ok) refusal(reply).then(reject);
      else reply.json().then(resolve, lost);
    });
    signal?.addEventListener("abort", () => upload.abort());
    upload.send(body);
  });
}

export const askInfo = () => ask("info");
export const askCharts = async (model) => (await ask("charts", { model, language: currentLanguage() })).charts;
export const askReport = (model) => ask("report", { model });
// What the service renders as a file: a Blob.
export const askFile = async (path, { model }) => (await reach(path, { model })).blob();
export const askSamples = () => ask("static/samples/samples.json");
export const askPredict = (file, { prevalence, ...how }) =>
  post("predict", form("file", [file], prevalence === undefined ? {} : { prevalence }), how);
export const askExplain = (file, fields, how) => post("explain", form("file", [file], fields), how);
export const askBatch = (files, how) => post("predict/batch", form("files", files), how);
export const askPatient = (files, how) => post("predict/patient", form("files", files), how);

export async function fetchSample(name) {
  const reply = await fetch(`static/samples/${name}`);
  if (!reply.ok) throw new Refused("unreachable", t("unreachable"));
  return new File([await reply.blob()], name, { type: "image/jpeg" });
}

export const BATCH = { files: 32, bytes: 64e6 };

// What a batch would be refused for, said before sixty megabytes are sent; null when nothing.
export function refuseBatch(files) {
  if (files.length > BATCH.files) return t("batch.many", { most: BATCH.files, given: files.length });
  const size = files.reduce((sum, file) => sum + file.size, 0);
  return size > BATCH.bytes ? t("batch.large", { most: bytes(BATCH.bytes) }) : null;
}
