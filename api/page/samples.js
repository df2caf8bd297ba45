// The samples: drawn lesions to try the page with.
import { $, el } from "./dom.js";
import { askSamples, fetchSample } from "./client.js";
import { className, t } from "./words.js";

let samples = [];

// `choose(files, { actual })` takes a sample, `fail(error)` hears why there is none.
export async function startSamples({ choose, fail }) {
  try {
    samples = await askSamples();
  } catch {
    $("samples").hidden = true; // without them the page still scores
    return;
  }
  drawSamples({ choose, fail });
}

export function drawSamples({ choose, fail }) {
  const items = samples.map(({ file, actual }) => {
    const label = t("actual", { name: className(actual) });
    const picture = el("img", { src: `static/samples/${file}`, alt: "", width: 96, height: 96, loading: "lazy" });
    const button = el("button", { type: "button" }, picture, el("span", {}, label));
    button.addEventListener("click", async () => {
      try {
        choose([await fetchSample(file)], { actual });
        $("predict").focus();
      } catch (error) {
        fail(error);
      }
    });
    return el("li", {}, button);
  });
  $("samples").querySelector("ul").replaceChildren(...items);
}
