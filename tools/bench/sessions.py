"""Very many sessions of the built-in pair at once, from several processes through one broker; then many, one after another.

answered      rounds that were answered, of ten for each session
lost          rounds that were not, faults, and verdicts after which a text was not the one that the hub had streamed before
p50_ms, p99_ms   from sending a round to its verdict; every session sends its next round upon the verdict of the last
hub_rss_mb    the hub's memory while all of them are open
rss_growth_mb    by how much another hub, with little memory for K/V, is larger after `churned` sessions, one after another, of
                 which every tenth is never closed, than after the first tenth of these
"""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Barrier

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from shared.pair import load_pair
from shared.settings import BrokerSettings
from tools.bench.report import progress, quantile, show
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.fleet import Device, Drafting, Fleet
from tools.rig.memory import rss_mb
from tools.rig.testbed import running_hub
from tools.rig.transport import BrokerTransport

_PAIR = "home"
_PROCESSES = 4
_ROUNDS = 10
_DRAFTING = Drafting(acceptance=0.8, length=4)
_LENGTH = 60  # ids of an answer at most, where sessions stay
_CHURNED_LENGTH = 3  # ids of an answer at most, where sessions come one after another
_PATIENCE_S = 120.0
_OPENED_AT_ONCE = 50


@dataclass(frozen=True)
class _Outcome:
    """Of one process."""

    answered: int
    faults: int
    differing: int
    waits_s: list[float]


def run(count: int, churned: int, as_json: bool) -> None:
    """Print the figures above."""
    names = [f"fleet-{number}" for number in range(_PROCESSES)]
    shares = [count // _PROCESSES + (number < count % _PROCESSES) for number in range(_PROCESSES)]
    context = get_context("spawn")
    with progress() as bars, context.Manager() as manager:
        at_once = bars.add_task(f"{count} sessions at once", total=None)
        options = ["--threads", "1", "--max-sessions-per-node", str(count)]
        with running_hub(names, _PAIR, options) as bed, ProcessPoolExecutor(_PROCESSES, mp_context=context) as pool:
            gates = manager.Barrier(_PROCESSES), manager.Barrier(_PROCESSES + 1), manager.Barrier(_PROCESSES + 1)
            futures = [
                pool.submit(_speak_at_once, bed.broker.settings(name), name, share, 1000 * number, gates)
                for number, (name, share) in enumerate(zip(names, shares, strict=True))
            ]
            gates[1].wait()
            rss = rss_mb(bed.hub_pid)
            gates[2].wait()
            outcomes = [future.result() for future in futures]
        bars.remove_task(at_once)
        tenth = churned // 10
        with running_hub(names, _PAIR, ["--threads", "1", "--kv-memory", "16M"]) as bed:
            settings = bed.broker.settings(names[0])
            _churn(settings, names[0], tenth, seed=0)
            settled = rss_mb(bed.hub_pid)
            for number in bars.track(range(1, 10), description=f"{10 * tenth} sessions, one after another"):
                _churn(settings, names[0], tenth, seed=number * tenth)
            grown = rss_mb(bed.hub_pid) - settled
            left_open = bed.hub_stats()["sessions"]
    waits = [wait for outcome in outcomes for wait in outcome.waits_s]
    answered = sum(outcome.answered for outcome in outcomes)
    figures = {
        "count": count,
        "answered": answered,
        "lost": count * _ROUNDS - answered + sum(outcome.faults + outcome.differing for outcome in outcomes),
        "p50_ms": round(1e3 * quantile(waits, 0.5), 1),
        "p99_ms": round(1e3 * quantile(waits, 0.99), 1),
        "hub_rss_mb": round(rss, 1),
        "churned": 10 * tenth,
        "rss_growth_mb": round(grown, 1),
        "left_open": left_open,
    }
    show("sessions", figures, as_json)


def _speak_at_once(
    settings: BrokerSettings, name: str, count: int, seed: int, gates: tuple[Barrier, Barrier, Barrier]
) -> _Outcome:
    """In a process of its own: let `count` sessions stream their answers and then, with the other processes', speak ten rounds.

    They stay open until the last gate.
    """
    transport, fleet = _fleet(settings, name)
    devices = _devices(count, seed)
    for first in range(0, count, _OPENED_AT_ONCE):
        fleet.open(devices[first : first + _OPENED_AT_ONCE])
    fleet.record()
    together, measured, over = gates
    together.wait()
    fleet.start(_DRAFTING, rounds=_ROUNDS)
    fleet.is_idle_within(_PATIENCE_S)
    measured.wait()
    over.wait()
    tallies = [device.tally for device in devices]
    fleet.dismiss(count)
    transport.close()
    return _Outcome(
        sum(tally.rounds for tally in tallies),
        len(fleet.faults),
        sum(tally.differing for tally in tallies),
        [wait for tally in tallies for wait in tally.waits_s],
    )


def _churn(settings: BrokerSettings, name: str, count: int, seed: int) -> None:
    """Open and ask that many sessions, one after another, and close all but every tenth."""
    transport, fleet = _fleet(settings, name)
    for number, device in enumerate(_devices(count, seed, _CHURNED_LENGTH)):
        fleet.open([device])
        fleet.record()
        if number % 10:
            fleet.dismiss(1)
        else:
            fleet.devices.clear()
    fleet.dismiss(len(fleet.devices))
    transport.close()


def _fleet(settings: BrokerSettings, name: str) -> tuple[BrokerTransport, Fleet]:
    pair = load_pair(_PAIR)
    transport = BrokerTransport(settings, name)
    return transport, Fleet(transport, pair.name, pair.tokenizer_hash())


def _devices(count: int, seed: int, length: int = _LENGTH) -> list[Device]:
    tokenizer, rng = ChatTokenizer(load_pair(_PAIR)), random.Random(seed)
    prompts = [tokenizer.prompt([Turn("user", exchange(rng, HELD_OUT).request)]) for _ in range(count)]
    return [Device(seed + number, prompt, length) for number, prompt in enumerate(prompts)]
