// Files before they are sent: their type by their first bytes, their size, and HEIC made a JPEG
// where this browser can read it.
import { knownInfo } from "./models.js";
import { bytes, t } from "./words.js";

const MOST_BYTES = 10_000_000; // should /info not be at hand
const HEIC = ["heic", "heix", "hevc", "heim", "heis", "hevm", "mif1", "msf1"];

const most = () => knownInfo()?.limits.bytes ?? MOST_BYTES;

// "jpeg", "png", "webp", "heic", "avif", or null for what is none of them.
async function kindOf(file) {
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const text = String.fromCharCode(...head);
  if (text.startsWith("\xff\xd8\xff")) return "jpeg";
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "webp";
  if (text.slice(4, 8) !== "ftyp") return null;
  const brand = text.slice(8, 12);
  if (brand === "avif" || brand === "avis") return "avif";
  return HEIC.includes(brand) ? "heic" : null;
}

// The file as it can be sent, or the words that say why it cannot: { file } or { refusal }.
export async function prepareFile(file) {
  if (file.size === 0) return { refusal: t("file.empty") };
  const kind = await kindOf(file).catch(() => null);
  if (kind === "heic" || kind === "avif") {
    const made = await toJpeg(file);
    return made ? { file: made, converted: true } : { refusal: t("file.heic") };
  }
  if (kind === null) return { refusal: t("file.type") };
  if (file.size > most()) return { refusal: t("file.large", { size: bytes(file.size), most: bytes(most()) }) };
  return { file };
}

// Null where this browser cannot read it: Safari can, most others cannot.
async function toJpeg(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff"; // as the service does with what is transparent; a JPEG's would be black
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
    return new File([blob], file.name.replace(/\.\w+$/, ".jpg"), { type: "image/jpeg" });
  } catch {
    return null;
  }
}
