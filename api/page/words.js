// Words and numbers in the person's language. A dictionary is a plain object; a missing word is
// English, so that nothing is ever blank.
import { $, recall, remember } from "./dom.js";
import { en } from "./en.js";
import { fr } from "./fr.js";

const DICTIONARIES = { en, fr };
const listeners = [];
let language = DICTIONARIES[recall("language")] ? recall("language") : systemLanguage();

function systemLanguage() {
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => DICTIONARIES[tag]) ?? "en";
}

export const currentLanguage = () => language;

// The words for a key, {name} replaced by values.name.
export function t(key, values = {}) {
  const words = DICTIONARIES[language][key] ?? en[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const has = (key) => key in DICTIONARIES[language];

// A class's name: the bundle's own, or its translation where there is one.
export const className = (name) => (has(`class.${name}`) ? t(`class.${name}`) : name);

// A subgroup's: "under 30" and "upper extremity" are the report's English.
const RANGES = [
  [/^under (\d+)$/, "range.under"],
  [/^(\d+) to (\d+)$/, "range.to"],
  [/^(\d+) and over$/, "range.over"],
  [/^other \((\d+) values\)$/, "range.other"],
];
export function groupName(value) {
  for (const [form, key] of RANGES) {
    const [, a, b] = value.match(form) ?? [];
    if (a) return t(key, { a, b });
  }
  return has(`group.${value}`) ? t(`group.${value}`) : className(value);
}

const numbers = (options) => new Intl.NumberFormat(language, options);

export const count = (value) => numbers({}).format(value);
export const number = (value, digits = 3) =>
  value === null
    ? "–"
    : numbers({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

// A share as a percentage; never "0 %" or "100 %" of what is not.
export function percent(share, digits = 1) {
  if (share === null) return "–";
  const value = share * 100;
  const least = 10 ** -digits;
  const unit = "\u00a0%";
  if (value > 0 && value < least) return `<\u00a0${number(least, digits)}${unit}`;
  if (value < 100 && value > 100 - least) return `>\u00a0${number(100 - least, digits)}${unit}`;
  return number(value, digits) + unit;
}

export const MOST_DIGITS = 8;
// Below one percent two significant ones, as report, card and command have them: 0.067 %, not 0.07 %.
export const fewest = (share) =>
  share > 0 && share < 0.01 ? Math.min(MOST_DIGITS, 1 - Math.floor(Math.log10(100 * share))) : 1;

// Of a threshold or a prevalence, which may be small.
export const smallPercent = (share, digits = 1) => percent(share, Math.max(digits, fewest(share)));

// "0.91 (0.90 to 0.92)", of a value with an interval.
export function measured({ value, low, high }, form = number) {
  if (value === null) return "–";
  if (low === null || low === undefined) return form(value);
  return `${form(value)} (${t("range", { low: form(low), high: form(high) })})`;
}

export function bytes(size) {
  const step = size < 1e3 ? 0 : size < 1e6 ? 1 : 2;
  const unit = ["byte", "kilobyte", "megabyte"][step];
  const value = size / 1000 ** step;
  const form = { style: "unit", unit, maximumFractionDigits: value < 10 ? 1 : 0 };
  return numbers({ ...form, unitDisplay: step ? "short" : "long" }).format(value);
}

export function seconds(value) {
  const digits = value < 1 ? 2 : value < 10 ? 1 : 0;
  const form = { style: "unit", unit: "second", maximumFractionDigits: digits };
  return numbers(form).format(value);
}

export const moment = (date) =>
  new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" }).format(date);

// The server's words as a sentence: a capital first, a stop last.
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

const PLACES = { t: "textContent", "t-label": "ariaLabel", "t-alt": "alt" };

// Put the page's fixed words into the language.
function translate() {
  document.documentElement.lang = language;
  document.title = t("title");
  for (const [mark, property] of Object.entries(PLACES)) {
    for (const element of document.querySelectorAll(`[data-${mark}]`)) {
      element[property] = t(element.getAttribute(`data-${mark}`));
    }
  }
}

// `then` is called after each change of language: parts drawn from answers draw themselves anew.
export const onLanguage = (then) => listeners.push(then);

export function startWords() {
  $("language").value = language;
  translate();
  $("language").addEventListener("change", (event) => {
    language = event.target.value;
    remember("language", language);
    translate();
    for (const listener of listeners) listener();
  });
}
