// An answer as it is shown: its text in the colours of its sources, its rounds as a strip, its figures in a line.

import { element, setText } from "./dom.js";
import { milliseconds, percent, whole } from "./figures.js";

const MOST_HEIGHT = 24; // tokens of a round that its column is drawn for
const ENDED = {
  cancelled: "stopped",
  length: "cut: it has become too long",
  busy: "the node is busy",
  error: "it broke off",
};

/** An entry of the log for a request; what comes of it is shown by `grow` and `finish`. */
export class ShownAnswer {
  constructor(node, text) {
    this.told = element("p", "answer");
    this.rest = element("div", "rest");
    this.wait = element("p", "wait", "waiting for the first token …");
    const request = element("p", "request", "", element("strong", "", `to ${node}: `), element("span", "", text));
    this.entry = element("li", "", "", request, this.told, this.wait, this.rest);
    this.entry.setAttribute("aria-busy", "true");
  }

  /** A piece of the text. */
  grow({ text, sources, waits_for: waitsFor }) {
    if (waitsFor !== undefined) setText(this.wait, waitsFor ? `waiting for ${waitsFor} …` : "");
    if (!text) return;
    setText(this.wait, "");
    this.told.append(...coloured(text, sources));
  }

  /** The whole of it. */
  finish(answer) {
    this.wait.remove();
    this.told.replaceChildren(...coloured(answer.text, answer.sources));
    const why = [ENDED[answer.finish], answer.error, answer.notice].filter(Boolean).join(": ");
    if (why) this.rest.append(element("p", "error", why));
    if (answer.steps.length) this.rest.append(strip(answer.steps));
    if (answer.tokens) this.rest.append(element("p", "figures", figures(answer)));
    this.entry.removeAttribute("aria-busy");
  }

  /** There is no answer. */
  fail(why) {
    this.wait.remove();
    this.rest.append(element("p", "error", why));
    this.entry.removeAttribute("aria-busy");
  }
}

/** Characters by runs of sources; those behind the last run are the node's own words. Runs count code points. */
function coloured(text, sources) {
  const characters = Array.from(text);
  const spans = [];
  let at = 0;
  for (const [source, length] of sources) {
    spans.push(element("span", source, characters.slice(at, at + length).join("")));
    at += length;
  }
  if (at < characters.length) spans.push(element("span", "said", characters.slice(at).join("")));
  return spans;
}

function figures(answer) {
  const accepted = answer.drafted ? `${percent(answer.accepted / answer.drafted)} of ${whole(answer.drafted)} drafted accepted` : "nothing drafted";
  const parts = [`${whole(answer.tokens)} tokens`, `${whole(answer.rounds)} rounds`, accepted, `${milliseconds(answer.ms_per_token)} per token`];
  if (answer.rtt_ms) parts.push(`round trip ${milliseconds(answer.rtt_ms)}`);
  return parts.join(" · ");
}

/** The rounds one beside the other: of each a column of what was accepted, corrected, the target's own, and rejected. */
function strip(steps) {
  const sum = (at) => steps.reduce((total, step) => total + step[at], 0);
  const columns = steps.map(([drafted, accepted, corrected, target, early]) => {
    const parts = [["rejected", Math.max(0, drafted - accepted)], ["target", target], ["corrected", corrected], ["drafted", accepted]];
    const column = element("span", early ? "step early" : "step");
    for (const [source, count] of parts) {
      if (!count) continue;
      const part = element("span", `part ${source}`);
      part.style.blockSize = `${Math.min(count, MOST_HEIGHT) * 3}px`;
      column.append(part);
    }
    return column;
  });
  const place = element("div", "strip", "", ...columns);
  place.setAttribute("role", "img");
  const words =
    `${steps.length} rounds: ${sum(0)} tokens drafted, ${sum(1)} accepted, ${sum(2)} corrected, ` +
    `${sum(3)} the hub's own, ${sum(4)} early verdicts`;
  place.setAttribute("aria-label", words);
  place.title = words;
  return place;
}
