// The report's warnings in the page's language. A report has them as English sentences: each form of
// melanoma.evaluation.report.warnings stands here with its key. What has no form is shown as it is.
import { el } from "./dom.js";
import { className, currentLanguage, has, number, sentence, t } from "./words.js";

const N = "([\\d,]+)";
const form = (text) => new RegExp(`^${text}$`);
const FORMS = [
  ["histology", form(`only ${N} of the ${N} images without melanoma were proven by histology; on histology alone the AUROC is (.+?) and the specificity (.+?) \\(all images: (\\S+) and (.+?)\\): .*`)],
  ["novel", form("good photographs of lesions get no verdict, being called unlike the training's: (.+)")],
  ["poor", form("good photographs of lesions get no verdict, being called too poor to score: (.+)")],
  ["leak_elsewhere", form("what was reached elsewhere, on (.+), is no test: .*")],
  ["known", form(`${N} of this set's images (?:is|are) left out: .*`)],
  ["share_elsewhere", form("(\\d+) % of these images are melanomas, far more than a clinic sees: predictive values refer to that share, probabilities to one of (.+)")],
  ["share_moved", form("(\\d+) % of these images are melanomas, far more than a clinic sees: what was measured on them refers to that share, answers to one of (.+)")],
  ["share", form("(\\d+) % of these images are melanomas, far more than a clinic sees: .*")],
  ["too_low", form("photographs like those of (\\S+): moved to .* the odds of melanoma (\\S+) times too low, so .*")],
  ["too_high", form("photographs like those of (\\S+): moved to .* the odds of melanoma (\\S+) times too high, so .*")],
  ["positives", form(`only ${N} positives: the intervals are wide`)],
  ["rare", form("classes of few images, whose figures mean little: (.+)")],
  ["folds", form(`${N} of ${N} folds: the others were not trained`)],
  ["best", form("the kept epoch was picked on the images that score it, .*")],
  ["shortcut", form("(.+) alone reach AUROC (\\S+) without a look at the photograph, within reach of the model's (\\S+)")],
  ["unseen", form("(?:identical images|near-duplicates|identical images and near-duplicates) were not looked for: .*")],
  ["before", form("this test part was scored by (\\d+) other models? before: .*")],
  ["start", form("the starting weights are of unknown origin, .*")],
  ["teacher", form("source (\\S+) teaches by another model's scores .*")],
  ["phantoms", form("the model was trained on drawings \\(phantoms\\), on no photograph: .*")],
];
const PARTS = { novel: counts, poor: counts, rare: classes, shortcut: inputs };

export function caveat(text) {
  if (currentLanguage() !== "en") {
    for (const [key, pattern] of FORMS) {
      const found = text.match(pattern);
      if (!found || !has(`caveat.${key}`)) continue;
      const [a, b, c, d, e, f] = found.slice(1).map((one, n) => (n === 0 && PARTS[key] ? PARTS[key](one) : figures(one)));
      return el("li", {}, t(`caveat.${key}`, { a, b, c, d, e, f }));
    }
  }
  return el("li", { lang: "en" }, sentence(text));
}

// "8,902", "0.873 (0.857 to 0.888)" and "45.3 %" with the language's marks.
function figures(text = "") {
  const mark = number(0.5, 1)[1];
  const plain = text.replace(/(\d),(?=\d{3})/g, "$1\u202f").replace(/(\d)\.(?=\d)/g, `$1${mark}`);
  return plain.replace(/ to /g, ` ${t("caveat.to")} `).replace(/ %/g, "\u00a0%");
}

// "vascular lesion 41 of 142 (28.9 %); ISIC 2017, others 35 of 400 (8.8 %)".
function counts(text) {
  const told = text.split("; ").map((one) => {
    const [, name, few, all, share] = one.match(/^(.+) ([\d,]+) of ([\d,]+) \((.+)\)$/) ?? [];
    if (!name) return one;
    return t("caveat.count", { name: setName(name), few: figures(few), all: figures(all), share: figures(share) });
  });
  return told.join("\u00a0; ");
}

function classes(text) {
  return text.replace(/([^,(]+) (\(\d+\))/g, (_, name, n) => `${className(name.trim())} ${n}`).replace(/,(?=\S)/g, ", ");
}

function inputs(text) {
  return has(`caveat.inputs.${text}`) ? t(`caveat.inputs.${text}`) : text;
}

function setName(name) {
  const [first, ...rest] = name.split(", ");
  return [className(first), ...rest.map((part) => (has(`caveat.set.${part}`) ? t(`caveat.set.${part}`) : part))].join(", ");
}
