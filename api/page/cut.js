// The square that the model will see, drawn over the photograph before Predict. It can be moved
// and made smaller: then the browser cuts it out, and that picture is what the service gets.
import { $ } from "./dom.js";
import { count, t } from "./words.js";

const SMALLEST = 0.2; // of the photograph's shorter side
const STEP = 0.04; // of it too, by an arrow key
const LARGEST_SIDE = 1600; // pixels of what is sent: many times what a model sees
const MOST_BYTES = 9_000_000;

let square = null; // { x, y, side } in the photograph's pixels; null where none is offered
let changed = () => {};

const photograph = () => {
  const { naturalWidth: width, naturalHeight: height } = $("preview");
  return { width, height, shorter: Math.min(width, height) };
};

function center() {
  const { width, height, shorter } = photograph();
  return { x: Math.floor((width - shorter) / 2), y: Math.floor((height - shorter) / 2), side: shorter };
}

// The square where it is not the one that the service takes by itself; null otherwise.
export function movedSquare() {
  if (square === null) return null;
  const own = center();
  return ["x", "y", "side"].every((key) => Math.abs(square[key] - own[key]) < 1) ? null : { ...square };
}

// `fit` is the model's way to a square, null where there is nothing to show.
export function offerSquare(fit) {
  const there = fit !== null && $("preview").naturalWidth > 0;
  $("framing").hidden = !there;
  $("cut").hidden = !there || fit !== "center";
  $("cut-tools").hidden = !there || fit !== "center";
  if (!there || fit !== "center") square = null;
  else square ??= center();
  draw(fit);
}

export function forgetSquare() {
  square = null;
  offerSquare(null);
}

function draw(fit = "center") {
  if (!$("framing").hidden) $("framing-words").textContent = t(`framing.${fit}`);
  if (square === null) return;
  const { scale, left, top } = shown();
  const style = $("cut").style;
  style.left = `${left + square.x * scale}px`;
  style.top = `${top + square.y * scale}px`;
  style.width = style.height = `${square.side * scale}px`;
  const { shorter, width, height } = photograph();
  $("cut-size").value = Math.round((100 * square.side) / shorter);
  $("cut-reset").disabled = movedSquare() === null;
  const place = [square.x + square.side / 2, square.y + square.side / 2];
  const values = {
    across: count(Math.round((100 * place[0]) / width)),
    down: count(Math.round((100 * place[1]) / height)),
    size: count(Math.round((100 * square.side) / shorter)),
  };
  $("cut").setAttribute("aria-label", t("cut.label", values));
}

// Where the picture lies in its element (object-fit: contain).
function shown() {
  const { width, height } = photograph();
  const { clientWidth, clientHeight, offsetLeft, offsetTop } = $("preview");
  const scale = Math.min(clientWidth / width, clientHeight / height);
  return {
    scale,
    left: offsetLeft + (clientWidth - width * scale) / 2,
    top: offsetTop + (clientHeight - height * scale) / 2,
  };
}

function place({ x = square.x, y = square.y, side = square.side }) {
  const { width, height, shorter } = photograph();
  const size = Math.min(shorter, Math.max(SMALLEST * shorter, side));
  const inside = (value, most) => Math.min(Math.max(0, value), most - size);
  square = { x: inside(x, width), y: inside(y, height), side: size };
  draw();
  changed();
}

// Larger or smaller about its own middle.
function resize(side) {
  const { x, y, side: before } = square;
  const { shorter } = photograph();
  const size = Math.min(shorter, Math.max(SMALLEST * shorter, side));
  place({ x: x + (before - size) / 2, y: y + (before - size) / 2, side: size });
}

function startDrag(event) {
  event.preventDefault();
  $("cut").focus({ preventScroll: true });
  const { scale } = shown();
  const from = { x: event.clientX, y: event.clientY, ...{ left: square.x, top: square.y } };
  const move = (now) =>
    place({ x: from.left + (now.clientX - from.x) / scale, y: from.top + (now.clientY - from.y) / scale });
  const end = () => {
    $("cut").removeEventListener("pointermove", move);
  };
  $("cut").setPointerCapture(event.pointerId);
  $("cut").addEventListener("pointermove", move);
  $("cut").addEventListener("pointerup", end, { once: true });
  $("cut").addEventListener("pointercancel", end, { once: true });
}

function byKey(event) {
  const step = STEP * photograph().shorter;
  const { x, y, side } = square;
  const moves = {
    ArrowLeft: () => place({ x: x - step }),
    ArrowRight: () => place({ x: x + step }),
    ArrowUp: () => place({ y: y - step }),
    ArrowDown: () => place({ y: y + step }),
    "+": () => resize(side + step),
    "-": () => resize(side - step),
  };
  if (!(event.key in moves)) return;
  event.preventDefault();
  moves[event.key]();
}

// `then` is called when the square was changed: an answer about the old one no longer holds.
export function startCut(then) {
  changed = then;
  $("cut").addEventListener("pointerdown", startDrag);
  $("cut").addEventListener("keydown", byKey);
  $("cut-size").addEventListener("input", (event) => resize((event.target.value / 100) * photograph().shorter));
  $("cut-reset").addEventListener("click", () => place(center()));
  new ResizeObserver(() => square && draw()).observe($("preview"));
}

// The square as a picture of its own; the file itself where the square was not moved.
export async function cutOut(file) {
  const chosen = movedSquare();
  if (chosen === null) return file;
  const bitmap = await createImageBitmap(file);
  const side = Math.round(Math.min(LARGEST_SIDE, chosen.side));
  const canvas = new OffscreenCanvas(side, side);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff"; // as the service does with what is transparent
  pen.fillRect(0, 0, side, side);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, chosen.x, chosen.y, chosen.side, chosen.side, 0, 0, side, side);
  bitmap.close();
  const whole = await canvas.convertToBlob({ type: "image/png" });
  const blob = whole.size <= MOST_BYTES ? whole : await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  return new File([blob], file.name, { type: blob.type });
}
