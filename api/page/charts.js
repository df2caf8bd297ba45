// The report's curves as inline SVG, in the manner of report.html: 360 units wide, so that text of
// 12 units is legible on a phone; colors are the page's.
import { svg } from "./dom.js";
import { number, percent, t } from "./words.js";

const WIDTH = 360;
const HEIGHT = 322;
const LETTERS = "ABCDEFGHIJ";
let made = 0;

const text = (x, y, said, kind, anchor = "start") =>
  svg("text", { x, y, class: kind, "text-anchor": anchor }, said);

// A pair of axes from 0; `at` turns data into places.
class Panel {
  constructor(x, y, reach = 1) {
    [this.left, this.right, this.top, this.bottom] = [58, WIDTH - 12, 12, HEIGHT - 46];
    this.reach = reach;
    this.marks = [];
    for (const tick of ticks(reach)) {
      const [across, up] = this.at(tick, tick);
      this.segment(this.left, up, this.right, up, "grid");
      this.segment(across, this.top, across, this.bottom, "grid");
      this.marks.push(text(this.left - 7, up + 4, percent(tick, 0), "tick", "end"));
      this.marks.push(text(across, this.bottom + 17, percent(tick, 0), "tick", "middle"));
    }
    this.segment(this.left, this.bottom, this.right, this.bottom, "axis");
    this.marks.push(text((this.left + this.right) / 2, HEIGHT - 8, x, "name", "middle"));
    const middle = (this.top + this.bottom) / 2;
    const turned = text(0, 0, y, "name", "middle");
    turned.setAttribute("transform", `translate(11 ${middle}) rotate(-90)`);
    this.marks.push(turned);
  }

  at(x, y) {
    const across = this.left + (x / this.reach) * (this.right - this.left);
    return [across, this.bottom - (y / this.reach) * (this.bottom - this.top)];
  }

  segment(x1, y1, x2, y2, kind) {
    this.marks.push(svg("line", { x1, y1, x2, y2, class: kind }));
  }

  line(xs, ys, kind) {
    const points = xs.map((x, i) => this.at(x, ys[i]).map((v) => v.toFixed(1)).join(",")).join(" ");
    this.marks.push(svg("polyline", { points, class: kind }));
  }

  dot(x, y, kind, tip) {
    const [cx, cy] = this.at(x, y);
    this.marks.push(svg("circle", { cx, cy, r: 4, class: kind }, svg("title", {}, tip)));
  }

  letter(x, y, said, [right, down]) {
    const [across, up] = this.at(x, y);
    this.marks.push(text(across + right, up + down, said, "letter", "middle"));
  }

  draw(title, told) {
    made += 1;
    const [name, description] = [`chart-${made}`, `chart-${made}-told`];
    return svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": `${name} ${description}` },
      svg("title", { id: name }, title),
      svg("desc", { id: description }, told),
      ...this.marks,
    );
  }
}

function ticks(reach) {
  const rough = reach / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough * 0.999);
  return Array.from({ length: Math.floor(reach / step + 1e-6) + 1 }, (_, i) => i * step);
}

// A round number at or above `high`, 1 at most.
function roundUp(high) {
  const power = 10 ** Math.floor(Math.log10(Math.max(high, 1e-6)));
  return Math.min(1, [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= high * 0.999));
}

// Thresholds that lie apart enough to be told from each other, by letter.
function letters(panel, points, place, offset) {
  const taken = [];
  for (const [i, point] of points.entries()) {
    const where = place(point);
    if (where.includes(null)) continue;
    panel.dot(...where, "point", `${point.at}: ${number(point.value, 4)}`);
    const [x, y] = panel.at(...where);
    if (taken.some(([a, b]) => Math.hypot(a - x, b - y) < 15)) continue;
    taken.push([x, y]);
    panel.letter(...where, LETTERS[i], offset);
  }
}

export function drawRoc({ curves, thresholds, metrics }) {
  const panel = new Panel(t("chart.false"), t("metric.sensitivity"));
  panel.line([0, 1], [0, 1], "chance");
  panel.line(curves.roc.x, curves.roc.y, "curve");
  const place = ({ sensitivity, specificity }) =>
    specificity.value === null ? [null] : [1 - specificity.value, sensitivity.value];
  letters(panel, thresholds, place, [10, 16]);
  const told = t("chart.roc.told", { area: number(metrics.auroc?.value ?? null) });
  return panel.draw(t("chart.roc"), told);
}

export function drawPrecisionRecall({ curves, thresholds, metrics, data }) {
  const panel = new Panel(t("metric.sensitivity"), t("metric.ppv"));
  if (data.prevalence !== null) panel.line([0, 1], [data.prevalence, data.prevalence], "chance");
  panel.line(curves.pr.x, curves.pr.y, "curve");
  letters(panel, thresholds, ({ sensitivity, ppv }) => [sensitivity.value, ppv.value], [4, -9]);
  const told = t("chart.pr.told", {
    area: number(metrics.pr_auc?.value ?? null),
    share: percent(data.prevalence),
  });
  return panel.draw(t("chart.pr"), told);
}

// `name` is before or after.
export function drawReliability(name, { bins, ece }, positives) {
  const reach = roundUp(Math.max(...bins.flatMap(({ predicted, high }) => [predicted, high])));
  const seen = t(positives === null ? "chart.observed.class" : "chart.observed");
  const panel = new Panel(t("chart.predicted"), seen, reach);
  panel.line([0, reach], [0, reach], "chance");
  for (const { predicted, low, high } of bins) {
    const [[x, bottom], [, top]] = [panel.at(predicted, low), panel.at(predicted, high)];
    panel.segment(x, bottom, x, top, "interval");
  }
  panel.line(bins.map((bin) => bin.predicted), bins.map((bin) => bin.observed), "curve thin");
  for (const { predicted, observed, images } of bins) {
    const values = { images, predicted: percent(predicted), observed: percent(observed) };
    panel.dot(predicted, observed, "mark", t("chart.bin", values));
  }
  const told = t("chart.reliability.told", { ece: number(ece.value) });
  return panel.draw(t(`chart.${name}`), told);
}
