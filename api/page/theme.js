// Light or dark: the system's, or the one chosen here and remembered (early.js applies it).
import { $, remember } from "./dom.js";

export function startTheme() {
  const root = document.documentElement;
  $("theme").value = root.dataset.theme ?? "system";
  $("theme").addEventListener("change", (event) => {
    const theme = event.target.value;
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    remember("theme", theme);
  });
}
