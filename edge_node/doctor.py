"""What `sled-node doctor` looks at: the broker's round trip, the draft's speed, the hubs, and what the gate would choose."""

from __future__ import annotations

import queue
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Guess
from edge_node.drafts import pick_drafter, pick_model
from edge_node.settings import HubLoss, Mode, NodeSettings, Policy
from shared.errors import SledError
from shared.mqtt import MqttLink
from shared.pair import load_pair
from shared.program import sentence
from shared.sampling_parameters import Sampling
from shared.settings import BrokerSettings
from shared.streams import note, put, put_json
from shared.topics import Topics

_ECHOES = 40
_ECHO_S = 3.0
_DELAYED_S = 0.03  # seconds beyond the network's own that only a delayed ACK of 40 ms explains
_DRAFTED = 32
_PROMPT = (
    "Switch the lights in the kitchen on, close the garage door and tell me what the weather will be like tomorrow. "
    * 4
)
_REQUESTS = ("turn on the kitchen lights", "close the garage door and lock the front door", "what time is it?")
_TOKENS = 64


@dataclass
class Finding:
    """What one look has shown: facts for people, figures for programs, and what to do about it if something is wrong."""

    topic: str
    facts: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def examine(settings: NodeSettings) -> Iterator[Finding]:
    """Look at one thing after the other; a problem with one does not keep the others from being looked at."""
    for topic, look in (("broker", _look_at_broker), ("draft", _look_at_draft), ("hub", _look_at_hub)):
        finding = Finding(topic)
        try:
            look(settings, finding)
        except SledError as error:
            finding.problem = str(error)
        yield finding


def report(settings: NodeSettings, *, as_json: bool) -> bool:
    """Print what `examine` finds, for people or as a JSON object in the last line; whether nothing is wrong."""
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        lines = [f"{finding.topic}: {'; '.join(finding.facts)}"]
        if finding.problem:
            lines.append(f"  problem: {sentence(finding.problem)}")
        for line in lines:
            if as_json:
                note(line)
            else:
                put(f"{line}\n")
    problems = {finding.topic: finding.problem for finding in findings if finding.problem}
    if as_json:
        figures = {finding.topic: finding.figures for finding in findings}
        put_json(figures | {"problems": problems})
    return not problems


def _look_at_broker(settings: NodeSettings, finding: Finding) -> None:
    broker = settings.broker
    asking, answering = MqttLink(broker, settings.name), MqttLink(broker, settings.name)
    asking.connect()
    answering.connect()
    try:
        network_s = _network_s(broker)
        echo_s, refused = _echo_s(asking, answering, Topics(broker.prefix), settings.name)
        own = asking.sends_without_delay
    finally:
        asking.close()
        answering.close()
    finding.figures = {"network_ms": _ms(network_s), "round_trip_ms": _ms(echo_s), "tcp_nodelay_here": own}
    finding.facts.append(f"{broker.host}:{broker.port}, {1e3 * network_s:.1f} ms away")
    if echo_s is None:
        finding.problem = (
            f"what the node writes to its own echo topics does not come back{refused}; "
            "bring the broker's ACL up to date (sled-hub init-broker writes it anew)"
        )
        return
    finding.facts.append(f"a message to another connection and its answer take {1e3 * echo_s:.1f} ms")
    delayed_s = echo_s - 2 * network_s
    if not own:
        finding.problem = "this side sends with Nagle's delay: its system does not take TCP_NODELAY"
    elif delayed_s > _DELAYED_S:
        finding.problem = (
            f"the broker's side lacks TCP_NODELAY: {1e3 * delayed_s:.0f} ms of every round are a delayed ACK; "
            "set `set_tcp_nodelay true` in its configuration (as sled-hub init-broker does)"
        )


def _network_s(broker: BrokerSettings) -> float:
    """Seconds of a TCP handshake, the least of some: a round trip of the network alone."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        try:
            socket.create_connection((broker.host, broker.port), timeout=_ECHO_S).close()
        except OSError:
            continue
        times.append(time.perf_counter() - started)
    return min(times, default=_ECHO_S)


def _echo_s(asking: MqttLink, answering: MqttLink, topics: Topics, node: str) -> tuple[float | None, str]:
    """Median seconds of a round between two connections, None if none comes about, and why the broker refused it, if it said.

    As in a round with a hub, the answer follows the broker's own PUBACK: there Nagle's delay shows. A connection is
    spared it at first, so only the latter half counts.
    """
    back: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    refusals: list[str] = []
    asking.on_refused = answering.on_refused = refusals.append
    there, here = topics.echo(node, "there"), topics.echo(node, "back")
    answering.subscribe(there, lambda _, payload: answering.publish(here, payload), retained=False)
    asking.subscribe(here, lambda _, payload: back.put(payload), retained=False)
    times = []
    for number in range(_ECHOES):
        started = time.perf_counter()
        asking.publish(there, str(number))
        try:
            while back.get(timeout=_ECHO_S) != str(number).encode():
                pass
        except queue.Empty:
            return None, f" ({refusals[0]})" if refusals else ""
        times.append(time.perf_counter() - started)
    return statistics.median(times[_ECHOES // 2 :]), ""


def _look_at_draft(settings: NodeSettings, finding: Finding) -> None:
    pair = load_pair(settings.pair)
    tokenizer = ChatTokenizer(pair)
    model = pick_model(settings, pair, tokenizer)
    speaker = model.speaker(model.graph) if model is not None else None
    drafter = pick_drafter(settings, tokenizer, speaker, Calibration())
    ids = tokenizer.prompt([Turn("user", _PROMPT)])[: drafter.context - _DRAFTED - 1]
    for _ in drafter.draft(ids[:8], Sampling()):
        break  # what is run first takes longer
    guesses: list[Guess] = []
    started = first = time.perf_counter()
    for guess in drafter.draft(ids, Sampling(temperature=1.0)):
        if guess is not None:
            first = first if guesses else time.perf_counter()
            guesses.append(guess)
        if len(guesses) == _DRAFTED:
            break
    elapsed = time.perf_counter() - first
    finding.figures = {"drafter": settings.drafter.value, "prompt_ms": _ms(first - started), "prompt_ids": len(ids)}
    finding.facts.append(f"pair {pair.name}, drafter {settings.drafter.value}")
    if len(guesses) > 1:
        finding.figures["draft_ms"] = _ms(elapsed / (len(guesses) - 1))
        finding.facts.append(f"{1e3 * elapsed / (len(guesses) - 1):.2f} ms for a drafted token")
        finding.facts.append(f"a prompt of {len(ids)} ids takes {1e3 * (first - started):.0f} ms")
    else:
        finding.facts.append("it has nothing to say to a text that does not repeat itself")


def _look_at_hub(settings: NodeSettings, finding: Finding) -> None:
    measured = replace(settings, mode=Mode.AUTO, policy=Policy.AUTO, on_hub_loss=HubLoss.STOP)
    with connected(measured) as conversation:
        channel = conversation.begin()
        assert channel is not None, "the settings do not let it begin without a hub"
        seen = conversation.loop.hub_seen
        exact = seen.info.get("exact")
        finding.figures = {
            "hub": channel.hub,
            "target": channel.opened.target,
            "exact": exact,
            "bits": channel.opened.bits,
            "sessions": seen.stats.get("sessions"),
        }
        finding.facts.append(
            f"{channel.hub}, target {channel.opened.target}, context {channel.opened.context}, "
            f"on {seen.info.get('device', 'an unknown device')}, {seen.stats.get('sessions', 'unknown')} sessions"
        )
        if channel.opened.bits:
            finding.facts.append(f"{'exact' if exact else 'not exact'}, its bits depend on {channel.opened.bits}")
        answers = []
        for request in _REQUESTS:
            answers.append(Answer())
            for _ in conversation.ask(request, Generation(temperature=0.0, max_tokens=_TOKENS), answers[-1]):
                pass
            conversation.clear()
        loop = conversation.loop
        mode = "stream" if loop.gate.streams else "speculate"
        finding.figures |= {
            "first_token_ms": _ms(answers[-1].stats.first_token_s),
            "gate": mode,
            "why": loop.explained,
            "known": loop.pace.known,
        }
        finding.facts.append(f"first token after {1e3 * answers[-1].stats.first_token_s:.0f} ms")
        finding.facts.append(f"the gate would {mode}: {loop.explained}")
        if loop.drift is not None:
            finding.figures["drift"] = loop.drift.figures
            finding.facts.append(loop.drift.told)
            finding.problem = loop.drift.problem


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 3)
