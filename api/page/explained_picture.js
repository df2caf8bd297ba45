// An explanation's picture as a file: the service's own in English, else its panels with our words.
import { el, save } from "./dom.js";
import { currentLanguage, t } from "./words.js";

// Where the panels lie in the service's picture (melanoma.scoring.explain.pictures): both 506
// pixels wide, 63 below the top; a picture of another width is shown whole.
export const PICTURE = { width: 1100, panel: 506, left: 22, right: 572, top: 63, rest: 193 };
const HEAT = ["#440154", "#31688e", "#35b779", "#fde725"];
const KINDS = { for: "#0072b2", against: "#d55e00", largest: "#000000" };

export function cut(picture, left) {
  const { panel, top, rest } = PICTURE;
  const height = picture.naturalHeight - rest;
  const canvas = el("canvas", { width: panel, height, role: "img" });
  canvas.getContext("2d").drawImage(picture, left, top, panel, height, 0, 0, panel, height);
  return canvas;
}

// `lines` are what stands below; `panels` is false of a picture that the page shows whole. The
// service's own has the numbers of the bundle's prevalence: `moved` where the page has others.
export async function savePicture(picture, { method, heading, lines, panels, moved }) {
  const ours = panels && (moved || currentLanguage() !== "en");
  const blob = ours
    ? await new Promise((then) => drawn(picture, method, heading, lines).toBlob(then, "image/png"))
    : asSent(picture);
  save(blob, "melanoma_explanation.png");
}

function asSent(picture) {
  const data = Uint8Array.from(atob(picture.src.split(",")[1]), (c) => c.charCodeAt(0));
  return new Blob([data], { type: "image/png" });
}

function drawn(picture, method, heading, lines) {
  const { width, panel, left, right, top, rest } = PICTURE;
  const canvas = el("canvas", { width, height: picture.naturalHeight });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, width, canvas.height);
  for (const place of [left, right]) pen.drawImage(cut(picture, place), place, top);
  const write = (text, x, y, font, most = panel) => {
    pen.fillStyle = "#1f2933";
    pen.font = `${font} sans-serif`;
    pen.fillText(text, x, y, most);
  };
  write(t("explained.photograph"), left, top - 14, "bold 17px");
  write(heading, right, top - 14, "bold 17px");
  const below = canvas.height - rest + top + 24;
  if (method === "gradcam") {
    const scale = pen.createLinearGradient(right, 0, right + panel, 0);
    HEAT.forEach((color, n) => scale.addColorStop(n / (HEAT.length - 1), color));
    pen.fillStyle = scale;
    pen.fillRect(right, below - 14, panel, 12);
    write(t("legend.low"), right, below + 16, "13px");
    pen.textAlign = "right";
    write(t("legend.high"), right + panel, below + 16, "13px");
    pen.textAlign = "left";
  } else {
    Object.entries(KINDS).forEach(([kind, color], n) => {
      pen.fillStyle = color;
      pen.fillRect(right + 170 * n, below - 12, 14, 14);
      write(t(`legend.${kind}`), right + 170 * n + 20, below, "13px", 146);
    });
    write(t("legend.numbers"), right, below + 20, "12px");
  }
  lines.forEach((line, n) => write(line, left, canvas.height - 46 + 22 * n, "13px", width - 2 * left));
  return canvas;
}
