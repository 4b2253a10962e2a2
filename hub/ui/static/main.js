// What the server tells, second by second, brought to the parts of the page.

import { Charts } from "./charts.js";
import { Chat } from "./chat.js";
import { setText } from "./dom.js";
import { showFleet } from "./fleet.js";

const map = document.getElementById("map");
const summary = document.getElementById("summary");
const trouble = document.getElementById("trouble");
const charts = new Charts(document.getElementById("charts"), document.getElementById("span"));
const chat = new Chat();

function tell(why) {
  trouble.hidden = !why;
  setText(trouble, why);
}

const events = new EventSource("events");
events.addEventListener("history", (event) => charts.begin(JSON.parse(event.data)));
events.addEventListener("fleet", (event) => {
  const told = JSON.parse(event.data);
  tell([told.broker.trouble, told.doubt].filter(Boolean).join(" "));
  setText(summary, told.summary);
  showFleet(map, told);
  chat.offer(told.nodes);
  if (told.point) charts.add(told.point);
});
events.addEventListener("error", () => tell("The page's server does not answer; what is shown is old. Trying again …"));

chat.begin().catch(() => tell("The page's server does not answer. Load the page again."));
