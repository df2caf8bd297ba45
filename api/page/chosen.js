// What is chosen, before it is scored: the picture, its name, type and size.
import { $, el } from "./dom.js";
import { forgetSquare, offerSquare } from "./cut.js";
import { chosenModel, served } from "./models.js";
import { bytes, className, count, t } from "./words.js";

const THUMBNAILS = 12;

let movable = true; // a photograph of a scored table is shown as it was scored

export function showChosen({ files, urls, actual, batch }) {
  movable = batch === null;
  const preview = $("preview");
  const one = files.length === 1;
  $("frame").hidden = !one;
  if (one && preview.src === urls[0]) offer();
  else {
    forgetSquare();
    if (one) preview.src = urls[0];
    else preview.removeAttribute("src");
  }
  $("picture").style.display = files.length ? "none" : "";
  strip(files.length > 1 ? urls.slice(0, THUMBNAILS) : []);
  const name = $("invitation");
  name.classList.toggle("name", one);
  if (files.length) name.textContent = one ? files[0].name : t("several", { n: count(files.length) });
  else name.replaceChildren(el("b", {}, t("choose")), ` ${t("or")}`);
  $("facts").hidden = files.length === 0;
  $("facts").replaceChildren(...facts(files, actual).map((text) => el("span", {}, text)));
  if (one && preview.complete && preview.naturalWidth) tellPixels();
}

function facts(files, actual) {
  const size = bytes(files.reduce((sum, file) => sum + file.size, 0));
  const told = files.length === 1 ? [files[0].type || t("type.unknown"), size] : [size];
  return actual ? [...told, t("actual", { name: className(actual) })] : told;
}

function strip(urls) {
  $("drop").querySelector(".strip")?.remove();
  if (urls.length === 0) return;
  const pictures = urls.map((url) =>
    el("img", { src: url, alt: "", onerror: (event) => event.target.remove() }),
  );
  $("drop").prepend(el("span", { class: "strip" }, pictures));
}

// The photograph's size in pixels, once the browser has read it.
function tellPixels() {
  const { naturalWidth: width, naturalHeight: height } = $("preview");
  $("facts").querySelector(".pixels")?.remove();
  $("facts").append(el("span", { class: "pixels" }, `${count(width)} × ${count(height)} px`));
}

// The square that the chosen model will see, over the picture.
export function offer() {
  const there = !$("frame").hidden && movable;
  offerSquare(there ? (served(chosenModel())?.fit ?? null) : null);
}

export function startChosen() {
  $("preview").addEventListener("load", () => {
    tellPixels();
    offer();
  });
  $("preview").addEventListener("error", () => {
    // Not an image that a browser shows; whether it is one that is scored, the service says.
    $("frame").hidden = true;
    $("picture").style.display = "";
  });
}
