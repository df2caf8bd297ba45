// The bundle's report and card as files, and this page on paper.
import { el, save } from "./dom.js";
import { askFile } from "./client.js";
import { t } from "./words.js";

// Buttons that save what the service renders; `model` names the bundle.
export function downloads(model) {
  const failed = el("p", { class: "alert", role: "alert" });
  const button = (path, file, words) =>
    el("button", { type: "button", onclick: () => fetchAndSave(path, file, model, failed) }, words);
  return [
    el(
      "div",
      { class: "buttons" },
      button("report.html", `${model}_report.html`, t("download.report")),
      button("MODEL_CARD.md", `${model}_MODEL_CARD.md`, t("download.card")),
      printButton(),
    ),
    failed,
  ];
}

// Browsers save a printed page as PDF; the sheet for paper is style.css's.
export const printButton = () =>
  el("button", { class: "print", type: "button", onclick: () => window.print() }, t("download.print"));

async function fetchAndSave(path, file, model, failed) {
  failed.textContent = "";
  try {
    save(await askFile(path, { model }), file.replaceAll(/[^\w.-]/g, "_"));
  } catch (error) {
    failed.textContent = error.message;
  }
}
