// Answers as a JSON file: every class, sorted, with what is needed to know where they came from.
import { save } from "./dom.js";

const sorted = (shares) =>
  Object.entries(shares)
    .sort(([, a], [, b]) => b - a)
    .map(([name, probability]) => ({ name, probability }));

const fileOf = ({ name, type, size }) => ({ name, type, bytes: size });

function record(file, answer, explanation = null) {
  const { success, by_class, explanation: unused, milliseconds, ...kept } = answer;
  const told = explanation && { ...explanation, picture: undefined, heat: undefined };
  return { file: fileOf(file), ...kept, classes: sorted(by_class), explanation: told };
}

function write(content, name) {
  const told = { exported: new Date().toISOString(), ...content };
  save(new Blob([`${JSON.stringify(told, null, 2)}\n`], { type: "application/json" }), name);
}

const stem = (name) => name.replace(/\.[^.]*$/, "").slice(0, 80) || "photograph";

export function exportOne({ file, answer, explanation, actual, square }) {
  const content = { ...record(file, answer, explanation), ...(actual && { actual }), ...(square && { square }) };
  write(content, `melanoma_${stem(file.name)}.json`);
}

// A cell of a CSV; one that a spreadsheet would run as a formula is made text.
function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// The table as it is sorted: a row a photograph, the same columns in every language.
export function exportTable(files, results) {
  const head = [
    "file", "melanoma_probability", "verdict", "flagged", "threshold", "likeliest_class", "probability",
    "warnings", "error", "model", "version", "digest", "disclaimer",
  ];
  const rows = results.map((result) => [
    files[result.index].name,
    result.melanoma_probability,
    result.verdict?.code,
    result.flagged,
    result.threshold?.value,
    result.prediction,
    result.probability,
    result.warnings?.join("; "),
    result.error?.message,
    result.model?.name,
    result.model?.version,
    result.model?.digest,
    result.disclaimer,
  ]);
  const text = [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
  // The mark at the start is how Excel knows UTF-8.
  save(new Blob([`\ufeff${text}\r\n`], { type: "text/csv" }), "melanoma_photographs.csv");
}

export function exportBatch(files, answer) {
  const results = answer.results.map((result) => {
    const { index, ...rest } = result;
    return result.success ? record(files[index], rest) : { file: fileOf(files[index]), error: rest.error };
  });
  const { model, disclaimer, request_id } = answer;
  write({ model, disclaimer, request_id, results }, "melanoma_photographs.json");
}
