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

export function exportOne({ file, answer, explanation, actual }) {
  const content = { ...record(file, answer, explanation), ...(actual && { actual }) };
  write(content, `melanoma_${stem(file.name)}.json`);
}

export function exportBatch(files, answer) {
  const results = answer.results.map((result) => {
    const { index, ...rest } = result;
    return result.success ? record(files[index], rest) : { file: fileOf(files[index]), error: rest.error };
  });
  const { model, disclaimer, request_id } = answer;
  write({ model, disclaimer, request_id, results }, "melanoma_photographs.json");
}
