// What the model saw: the photograph made a square as the service makes it (melanoma.data.images).
import { el } from "./dom.js";
import { count, t } from "./words.js";

// A canvas of the model's size. Rejects where the browser cannot show the file.
export async function drawSquare(file, { fit, image_size: side }) {
  const bitmap = await createImageBitmap(file); // turned upright by its EXIF, as the service does
  const { width, height } = bitmap;
  const part = Math.min(width, height);
  const source =
    fit === "center"
      ? [Math.floor((width - part) / 2), Math.floor((height - part) / 2), part, part]
      : [0, 0, width, height];
  const canvas = el("canvas", { width: side, height: side, role: "img", class: "square" });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff"; // what is transparent lies on white there too
  pen.fillRect(0, 0, side, side);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, ...source, 0, 0, side, side);
  bitmap.close();
  return canvas;
}

// Squares that were drawn, by the file while it is there: an answer that is drawn anew has its picture at once.
const drawn = new WeakMap();

// The square in a figure with its caption; empty where it cannot be drawn.
export function squareFigure(file, served) {
  const figure = el("figure", { id: "seen" });
  const side = count(served.image_size);
  const how = `${side} ${served.fit}`;
  const fill = (canvas) => {
    canvas.setAttribute("aria-label", t("seen"));
    figure.replaceChildren(
      canvas,
      el("figcaption", {}, el("b", {}, t("seen")), el("span", {}, t(`seen.${served.moved ? "moved" : served.fit}`, { side }))),
    );
  };
  const kept = drawn.get(file);
  if (kept?.how === how) {
    fill(kept.canvas);
    return figure;
  }
  drawSquare(file, served)
    .then((canvas) => {
      drawn.set(file, { how, canvas });
      fill(canvas);
    })
    .catch(() => figure.remove());
  return figure;
}
