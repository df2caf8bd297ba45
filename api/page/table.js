// A table that is sorted by its headings and searched by name, its shares tinted by their height.
import { el } from "./dom.js";
import { tip } from "./tips.js";
import { count, t } from "./words.js";

let made = 0;

// `columns` are { key, name, form, of, heat }: `of(row)` is what sorts (null goes last), `form(row)`
// what is shown, `heat` whether the cell is tinted by of(row) in [0, 1]. The first names the row.
export function heatTable({ name, columns, rows, search, note = () => null }) {
  made += 1;
  const state = { by: null, down: false, wanted: "" };
  const body = el("tbody");
  const found = el("span", { class: "quiet", role: "status" });
  const heads = columns.map((column) => heading(column, state, draw));
  const table = el(
    "table",
    { class: "heat" },
    el("caption", { class: "unseen" }, name),
    el("thead", {}, el("tr", {}, heads)),
    body,
  );

  function draw() {
    const wanted = state.wanted.toLocaleLowerCase();
    const kept = rows.filter((row) => String(columns[0].of(row)).toLocaleLowerCase().includes(wanted));
    if (state.by) kept.sort((a, b) => compare(state.by.of(a), state.by.of(b), state.down));
    body.replaceChildren(...kept.map((row) => line(row, columns, note)));
    if (kept.length === 0) body.append(el("tr", {}, el("td", { colspan: columns.length }, t("table.none"))));
    found.textContent = wanted ? t("table.found", { found: count(kept.length), all: count(rows.length) }) : "";
    for (const [i, head] of heads.entries()) {
      const mine = state.by === columns[i];
      head.ariaSort = mine ? (state.down ? "descending" : "ascending") : null;
    }
  }

  draw();
  const region = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, table);
  if (!search) return [region];
  const field = el("input", { id: `search-${made}`, type: "search", autocomplete: "off" });
  field.addEventListener("input", () => {
    state.wanted = field.value.trim();
    draw();
  });
  const label = el("label", { for: field.id }, t("table.search"));
  return [el("div", { class: "search" }, label, field, found), region];
}

function heading(column, state, draw) {
  const button = el("button", { type: "button" }, column.name);
  button.addEventListener("click", () => {
    // The first press puts the lowest first: that is what one looks for.
    state.down = state.by === column ? !state.down : false;
    state.by = column;
    draw();
  });
  // Only numbers' columns have a meaning to look up.
  return el("th", { scope: "col" }, button, ...((column.key && tip(column.key, column.name)) || []));
}

function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "string" ? a.localeCompare(b) : a - b;
  return down ? -order : order;
}

function line(row, columns, note) {
  const [first, ...others] = columns;
  const cells = others.map((column) => {
    const value = column.of(row);
    const heat = column.heat && value !== null ? `${Math.round(Math.max(0, value) * 100)}%` : null;
    return el("td", { class: heat ? "number warm" : "number", at: heat }, ...[column.form(row)].flat());
  });
  const said = note(row);
  return el("tr", {}, el("th", { scope: "row" }, first.form(row), said && el("small", {}, said)), cells);
}
