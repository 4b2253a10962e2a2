// The map: the broker, the hubs on it, and at each hub the nodes that have a session there, or would ask for one.

import { element, keyed, setText } from "./dom.js";
import { milliseconds, number, percent, since, whole } from "./figures.js";

const NOWHERE = "";

const HUB_FACTS = [
  ["tokens/s", (hub) => number(hub.tokens_per_s)],
  ["acceptance", (hub) => percent(hub.acceptance)],
  ["batch", (hub) => number(hub.rows_per_forward)],
  ["busy", (hub) => percent(hub.in_forwards)],
  ["sessions", (hub) => whole(hub.sessions)],
];
const NODE_FACTS = [
  ["tokens/s", (node) => number(node.tokens_per_s)],
  ["acceptance", (node) => percent(node.acceptance)],
  ["round trip", (node) => milliseconds(node.rtt_ms)],
  ["now", (node) => whole(node.answering)],
  ["wait", (node) => whole(node.waiting)],
];

/** Show the fleet in `map`. */
export function showFleet(map, told) {
  if (!map.broker) {
    map.broker = element("div", "card broker", "", element("strong", "name"), element("span", "state"));
    map.hubs = element("ul", "hubs");
    map.more = element("p", "more");
    map.append(map.broker, map.hubs, map.more);
  }
  const { broker } = told;
  map.broker.classList.toggle("silent", Boolean(broker.trouble));
  setText(map.broker.children[0], `broker ${broker.address}`);
  setText(map.broker.children[1], broker.trouble ? "lost" : `topics below ${broker.prefix}`);
  const known = new Set(told.hubs.map((hub) => hub.name));
  const at = new Map(told.nodes.map((node) => [node, hubsOf(node, known)]));
  const places = told.hubs.map((hub) => ({ hub, nodes: told.nodes.filter((node) => at.get(node).includes(hub.name)) }));
  const left = told.nodes.filter((node) => !at.get(node).length);
  if (left.length) places.push({ hub: null, nodes: left });
  keyed(map.hubs, places, (place) => (place.hub ? `hub ${place.hub.name}` : NOWHERE), makePlace, updatePlace);
  const more = [[told.more_hubs, "hubs"], [told.more_nodes, "nodes"]].filter(([count]) => count);
  setText(map.more, more.length ? `and ${more.map(([count, what]) => `${count} ${what}`).join(" and ")} more` : "");
}

/** The hubs at which a node is shown: where it has sessions, or else where it would ask for one. */
function hubsOf(node, known) {
  const there = node.at.filter((hub) => known.has(hub));
  return there.length || !known.has(node.hub) ? there : [node.hub];
}

function makePlace({ hub }) {
  const place = element("li", "place");
  place.card = hub ? makeCard("hub", HUB_FACTS) : element("div", "card nobody", "at no hub");
  place.nodes = element("ul", "nodes");
  place.append(place.card, place.nodes);
  return place;
}

function updatePlace(place, { hub, nodes }) {
  if (hub) updateCard(place.card, hub, HUB_FACTS, [hub.target, hub.device].filter(Boolean).join(" on "));
  keyed(
    place.nodes,
    nodes,
    (node) => node.name,
    () => element("li", "", "", makeCard("node", NODE_FACTS)),
    (item, node) => updateCard(item.firstChild, node, NODE_FACTS, aboutNode(node)),
  );
}

function aboutNode(node) {
  const last = node.answered_s == null ? "" : `last answer ${since(node.answered_s)} ago`;
  return [node.pair, node.mode, node.fallen ? "draft has fallen" : "", last].filter(Boolean).join(" · ");
}

function makeCard(kind, facts) {
  const card = element("div", `card ${kind}`);
  card.head = element("div", "head", "", element("strong", "name"), element("span", "state"));
  card.about = element("p", "about");
  card.facts = element("dl", "facts");
  for (const [title] of facts) card.facts.append(element("div", "", "", element("dt", "", title), element("dd")));
  card.append(card.head, card.about, card.facts);
  return card;
}

function updateCard(card, view, facts, about) {
  card.classList.toggle("silent", view.state === "silent");
  card.classList.toggle("offline", view.state === "offline");
  const doubt = view.heard || view.state !== "online" ? "" : "?";
  setText(card.head.children[0], view.name);
  setText(card.head.children[1], `${view.state}${doubt} ${since(view.for_s)}`.trim());
  setText(card.about, about);
  card.facts.hidden = view.state !== "online";
  facts.forEach(([, of], at) => setText(card.facts.children[at].lastChild, of(view)));
}
