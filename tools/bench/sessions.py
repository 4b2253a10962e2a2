"""Very many sessions of the built-in pair at once, from several processes through one broker; then many, one after another.

answered      rounds that were answered, of ten for each session
lost          rounds that were not, and sessions that were not opened, were told of a fault, or got another text
p50_ms, p99_ms   from sending a round to its verdict, with all sessions at work at once
hub_rss_mb    the hub's memory then
rss_growth_mb    by how much it is larger after `churned` sessions that were opened, asked and closed one after another,
                 than after the first tenth of these
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from edge_node.tokenizer import ChatTokenizer, Turn
from shared.pair import load_pair
from shared.settings import BrokerSettings
from tools.bench.report import progress, quantile, show
from tools.fleet import Device, Drafting, Fleet
from tools.home.generate import exchange
from tools.home.invent import HELD_OUT
from tools.testbed import running_hub
from tools.transport import BrokerTransport

_PAIR = "home"
_PROCESSES = 4
_ROUNDS = 10
_DRAFTING = Drafting(acceptance=0.8, length=4)
_LENGTH = 60  # ids of an answer, at most
_PATIENCE_S = 120.0
_OPENED_AT_ONCE = 50


@dataclass(frozen=True)
class _Outcome:
    """Of one process."""

    answered: int
    faults: int
    waits_s: list[float]


def run(count: int, churned: int, as_json: bool) -> None:
    """Print the figures above."""
    names = [f"fleet-{number}" for number in range(_PROCESSES)]
    shares = [count // _PROCESSES + (number < count % _PROCESSES) for number in range(_PROCESSES)]
    with (
        running_hub(names, _PAIR, ["--threads", "1", "--max-sessions-per-node", str(count)]) as bed,
        progress() as bars,
    ):
        with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
            cases = (
                (bed.broker.settings(name), name, share, 1000 * i)
                for i, (name, share) in enumerate(zip(names, shares, strict=True))
            )
            at_once = bars.add_task(f"{count} sessions at once", total=_PROCESSES)
            outcomes = []
            for outcome in pool.map(_speak_at_once, *zip(*cases, strict=True)):
                outcomes.append(outcome)
                bars.advance(at_once)
        rss = _rss_mb(bed.hub_pid)
        first = churned // 10
        _churn(bed.broker.settings(names[0]), names[0], first)
        settled = _rss_mb(bed.hub_pid)
        for _ in bars.track(range(9), description=f"{churned} sessions, one after another"):
            _churn(bed.broker.settings(names[0]), names[0], first)
        grown = _rss_mb(bed.hub_pid) - settled
        open_sessions = bed.hub_stats()["sessions"]
    waits = [wait for outcome in outcomes for wait in outcome.waits_s]
    answered = sum(outcome.answered for outcome in outcomes)
    figures = {
        "count": count,
        "answered": answered,
        "lost": count * _ROUNDS - answered + sum(outcome.faults for outcome in outcomes),
        "p50_ms": round(1e3 * quantile(waits, 0.5), 1),
        "p99_ms": round(1e3 * quantile(waits, 0.99), 1),
        "hub_rss_mb": round(rss, 1),
        "churned": 10 * first,
        "rss_growth_mb": round(grown, 1),
        "open_afterwards": open_sessions,
    }
    show("sessions", figures, as_json)


def _speak_at_once(settings: BrokerSettings, name: str, count: int, seed: int) -> _Outcome:
    """In a process of its own: let `count` sessions stream their answers, then speak ten rounds each, all at once."""
    transport, fleet = _fleet(settings, name)
    devices = _devices(count, seed)
    for first in range(0, count, _OPENED_AT_ONCE):
        fleet.open(devices[first : first + _OPENED_AT_ONCE])
    fleet.record()
    fleet.start(_DRAFTING, rounds=_ROUNDS)
    fleet.is_idle_within(_PATIENCE_S)
    outcome = _Outcome(
        sum(device.tally.rounds for device in devices),
        len(fleet.faults),
        [wait for device in devices for wait in device.tally.waits_s],
    )
    fleet.dismiss(count)
    transport.close()
    return outcome


def _churn(settings: BrokerSettings, name: str, count: int) -> None:
    """Open, ask and close that many sessions, one after another."""
    transport, fleet = _fleet(settings, name)
    for device in _devices(count, seed=7):
        fleet.open([device])
        fleet.record()
        fleet.dismiss(1)
    transport.close()


def _fleet(settings: BrokerSettings, name: str) -> tuple[BrokerTransport, Fleet]:
    pair = load_pair(_PAIR)
    transport = BrokerTransport(settings, name)
    return transport, Fleet(transport, pair.name, pair.tokenizer_hash())


def _devices(count: int, seed: int) -> list[Device]:
    tokenizer, rng = ChatTokenizer(load_pair(_PAIR)), random.Random(seed)
    prompts = [tokenizer.prompt([Turn("user", exchange(rng, HELD_OUT).request)]) for _ in range(count)]
    return [Device(seed + number, prompt, _LENGTH) for number, prompt in enumerate(prompts)]


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
