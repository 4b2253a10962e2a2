// Lines over the last ten minutes, each chart an SVG of its own with its figures beside it in words.

import { element, keyed, setText, shape } from "./dom.js";
import { milliseconds, number, percent, since } from "./figures.js";

const WIDTH = 320;
const HEIGHT = 96;
const MOST_LINES = 6;
const LEAST_POINTS = 30; // that the width is of: a minute
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 4"];

const CHARTS = [
  { title: "Tokens per second", who: "hubs", figure: "tokens_per_s", told: number },
  { title: "Acceptance of drafted tokens", who: "hubs", figure: "acceptance", told: percent, most: 1 },
  { title: "Batch: sessions in a forward", who: "hubs", figure: "rows_per_forward", told: number },
  { title: "Time in forwards", who: "hubs", figure: "in_forwards", told: percent, most: 1 },
  { title: "Milliseconds per token", who: "nodes", figure: "ms_per_token", told: milliseconds },
  { title: "Round trip without the forward", who: "nodes", figure: "rtt_ms", told: milliseconds },
];

export class Charts {
  constructor(place, span) {
    this.span = span;
    this.points = [];
    this.indices = {};
    this.most = 300;
    this.stepS = 2;
    this.figures = CHARTS.map((chart) => makeChart(chart));
    place.append(...this.figures.map((each) => each.figure));
  }

  /** What was before. */
  begin(history) {
    this.points = history.points;
    this.most = history.most;
    this.stepS = history.step_s;
    const indices = (names) => Object.fromEntries(names.map((name, at) => [name, at]));
    this.indices = { hubs: indices(history.of_hub), nodes: indices(history.of_node) };
    this.draw();
  }

  /** The next point; the last one of the history comes twice. */
  add(point) {
    if (this.points.length && point.number <= this.points.at(-1).number) return;
    this.points.push(point);
    this.points = this.points.filter((each) => each.number > point.number - this.most);
    this.draw();
  }

  draw() {
    const last = this.points.at(-1)?.number ?? 0;
    this.shown = Math.max(LEAST_POINTS, last - (this.points[0]?.number ?? last) + 1);
    setText(this.span, `the last ${since(this.shown * this.stepS)}`);
    for (const each of this.figures) this.drawChart(each);
  }

  drawChart({ chart, svg, area, scale, legend, empty }) {
    const series = this.series(chart);
    const values = series.flatMap((line) => line.points.map(([, value]) => value));
    const most = chart.most ?? niceCeiling(Math.max(0, ...values));
    const last = this.points.at(-1)?.number ?? 0;
    const x = (at) => WIDTH * (1 - (last - at) / (this.shown - 1));
    const y = (value) => HEIGHT - 4 - (HEIGHT - 8) * (most ? value / most : 0);
    empty.hidden = series.length > 0;
    setText(scale, values.length ? `0 to ${chart.told(most).replace(".0", "")}` : "");
    keyed(area, series, (line) => line.name, () => shape("path"), (path, line) => {
      path.setAttribute("class", `line line-${line.colour}`);
      path.setAttribute("stroke-dasharray", DASHES[line.colour]);
      path.setAttribute("d", pathOf(line.points, x, y));
    });
    keyed(legend, series, (line) => line.name, makeEntry, (entry, line) => {
      entry.firstChild.setAttribute("class", `key key-${line.colour}`);
      entry.line.setAttribute("class", `line line-${line.colour}`);
      entry.line.setAttribute("stroke-dasharray", DASHES[line.colour]);
      setText(entry.children[1], line.name);
      setText(entry.children[2], chart.told(line.now));
    });
    svg.setAttribute("aria-label", inWords(chart, series));
  }

  /** The lines of a chart: those of whom the most is known. */
  series(chart) {
    const index = this.indices[chart.who]?.[chart.figure];
    const lines = new Map();
    if (index === undefined) return [];
    for (const point of this.points) {
      for (const [name, figures] of Object.entries(point[chart.who])) {
        if (figures[index] == null) continue;
        if (!lines.has(name)) lines.set(name, []);
        lines.get(name).push([point.number, figures[index]]);
      }
    }
    const last = this.points.at(-1)?.number;
    const chosen = [...lines].sort((a, b) => b[1].length - a[1].length).slice(0, MOST_LINES);
    return chosen
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, points], colour) => ({ name, points, colour, now: points.at(-1)[0] === last ? points.at(-1)[1] : null }));
  }
}

function makeChart(chart) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  for (const part of [0, 0.5, 1]) {
    const at = 4 + (HEIGHT - 8) * part;
    svg.append(shape("line", { x1: 0, x2: WIDTH, y1: at, y2: at, class: "grid" }));
  }
  const area = shape("g");
  svg.append(area);
  const scale = element("span", "scale");
  const legend = element("ul", "series");
  const empty = element("p", "empty", "no figures yet");
  const caption = element("figcaption", "", "", element("span", "", chart.title), scale);
  return { chart, svg, area, scale, legend, empty, figure: element("figure", "chart", "", caption, svg, empty, legend) };
}

function makeEntry() {
  const key = shape("svg", { width: 22, height: 8, "aria-hidden": "true" });
  const line = shape("path", { d: "M1 4H21" });
  key.append(line);
  const entry = element("li", "", "", key, element("span", "name"), element("span", "now"));
  entry.line = line;
  return entry;
}

/** A path that breaks where a point is missing. */
function pathOf(points, x, y) {
  let before = null;
  return points
    .map(([at, value]) => {
      const move = before !== null && at === before + 1 ? "L" : "M";
      before = at;
      const here = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      return move === "M" ? `M${here}h0.01` : `L${here}`;
    })
    .join("");
}

function inWords(chart, series) {
  if (!series.length) return `${chart.title}: no figures yet`;
  const lines = series.map(({ name, points, now }) => {
    const values = points.map(([, value]) => value);
    const range = `${chart.told(Math.min(...values))} to ${chart.told(Math.max(...values))}`;
    return `${name} ${now === null ? "" : `${chart.told(now)} now, `}${range}`;
  });
  return `${chart.title}: ${lines.join("; ")}`;
}

/** The next 1, 2 or 5 times a power of ten. */
function niceCeiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value);
}
