// The chat: a login, requests to a node, and answers that grow.

import { element, keyed, setText } from "./dom.js";
import { ShownAnswer } from "./answer.js";

const MOST_ENTRIES = 50;
const byId = (id) => document.getElementById(id);

export class Chat {
  constructor() {
    this.name = Array.from(crypto.getRandomValues(new Uint8Array(8)), (each) => each.toString(16)).join("");
    this.stopping = null;
    byId("login").addEventListener("submit", (event) => this.submitted(event, () => this.logIn()));
    byId("request").addEventListener("submit", (event) => this.submitted(event, () => this.ask()));
    byId("logout").addEventListener("click", () => this.logOut());
    byId("stop").addEventListener("click", () => this.stopping?.abort());
    byId("text").addEventListener("keydown", (event) => this.pressed(event));
  }

  /** Learn whether anybody can ask, and whether this browser may. */
  async begin() {
    this.show(await (await fetch("session")).json());
  }

  /** Offer the nodes that live. */
  offer(nodes) {
    const living = nodes.filter((node) => node.state === "online").sort((a, b) => (a.name < b.name ? -1 : 1));
    const choice = byId("node");
    const chosen = choice.value;
    keyed(choice, living, (node) => node.name, (node) => element("option", "", node.name), () => {});
    if (living.some((node) => node.name === chosen)) choice.value = chosen;
    byId("send").disabled = !living.length || this.stopping !== null;
  }

  show({ can_ask: canAsk, is_in: isIn }) {
    byId("closed").hidden = canAsk;
    byId("login").hidden = !canAsk || isIn;
    byId("chat").hidden = byId("logout").hidden = !isIn;
  }

  submitted(event, act) {
    event.preventDefault();
    act();
  }

  pressed(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!byId("send").disabled) byId("request").requestSubmit();
    } else if (event.key === "Escape") {
      this.stopping?.abort();
    }
  }

  async logIn() {
    setText(byId("login-error"), "");
    try {
      const reply = await post("login", { password: byId("password").value });
      const told = await reply.json();
      if (!reply.ok) throw new Error(told.error);
      byId("password").value = "";
      this.show(told);
      byId("text").focus();
    } catch (error) {
      setText(byId("login-error"), error.message);
      byId("password").select();
    }
  }

  async logOut() {
    this.stopping?.abort();
    byId("log").replaceChildren();
    this.show(await (await post("logout", {})).json());
    byId("password").focus();
  }

  async ask() {
    const [node, text] = [byId("node").value, byId("text").value.trim()];
    if (!node || !text || this.stopping) return;
    const shown = new ShownAnswer(node, text);
    const log = byId("log");
    log.append(shown.entry);
    while (log.children.length > MOST_ENTRIES) log.firstChild.remove();
    byId("text").value = "";
    this.stopping = new AbortController();
    this.toggle();
    try {
      const reply = await post("ask", { node, text, chat: this.name }, this.stopping.signal);
      if (reply.status === 401) this.show({ can_ask: true, is_in: false });
      if (!reply.ok) throw new Error((await reply.json()).error);
      await this.follow(reply, shown);
    } catch (error) {
      shown.fail(error.name === "AbortError" ? "stopped" : error.message);
    }
    this.stopping = null;
    this.toggle();
    log.scrollTop = log.scrollHeight;
  }

  /** Show what comes, a JSON object in each line. */
  async follow(reply, shown) {
    const log = byId("log");
    let ended = false;
    for await (const told of lines(reply.body)) {
      if (told.answer) shown.finish(told.answer);
      else if (told.error) shown.fail(told.error);
      else shown.grow(told);
      ended ||= Boolean(told.answer || told.error);
      log.scrollTop = log.scrollHeight;
    }
    if (!ended) throw new Error("the page's server has ended in the middle of the answer");
  }

  toggle() {
    byId("stop").hidden = this.stopping === null;
    byId("send").disabled = this.stopping !== null || !byId("node").options.length;
  }
}

function post(path, body, signal) {
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (left + value).split("\n");
    left = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}
