"""A hub, healthy sessions, and messages that nobody should send: what became of all of them."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress

from shared.pair import load_pair
from tools.fuzz.attackers import HostileHub, HostileNode
from tools.fuzz.frames import Frames
from tools.fuzz.ward import KINDS, Disturbance, Report, Ward, disturbance, ward
from tools.rig.memory import peak_rss_mb, rss_mb
from tools.rig.testbed import HUB, HubBed, running_hub

_HEALTHY = ("healthy-0", "healthy-1", "healthy-2")
_NODES = tuple(f"mallory-{number}" for number in range(3))  # a hub reads only so much of each
_HUB = "evil"
_NODES_SHARE = 0.7  # of the messages, those that the nodes send; the hub's credential sends the others
_QUIET_ROUNDS = 3  # times that each session asks each request before anything happens
_NICE = 10
_CALM_S = 3.0  # after the last message, before the sessions are asked whether all is well


@dataclass
class Storm:
    """Figures, and what is to be told about failures."""

    figures: dict[str, Any]
    complaints: list[str] = field(default_factory=list)


def storm(messages: int, rate: float, seed: int, bars: Progress) -> Storm:
    """Send so many messages, at most `rate` a second (0: as fast as the broker confirms them). Raises RuntimeError where hub, broker or healthy nodes do not even start."""
    options = ("--threads", "1", "--kv-memory", "64M")
    with running_hub([*_HEALTHY, *_NODES], hub_options=options, other_hubs=[_HUB]) as bed:
        brokers = {name: bed.broker.settings(name) for name in _HEALTHY}
        with ward(bed.broker.folder, brokers) as healthy:
            quiet = healthy.quiet(_QUIET_ROUNDS)
            complaints: list[str] = []
            lines, hub_mb = _log_lines(bed), rss_mb(bed.hub_pid)
            rage = _rage(bed, messages, rate, seed, bars)
            figures: dict[str, Any] = {
                "sent": rage.sent,
                "crashes": 0,
                "faults_by_code": rage.faults,
                "healthy_sessions_disturbed": len(healthy.names),
                "rss_growth_mb": 0.0,
                "broker_rss_mb": 0.0,
                "log_lines": _log_lines(bed) - lines,
                "senders_thrown_out": rage.thrown_out,
                "messages_per_s": round(rage.sent / rage.seconds, 1),
                "quiet_p95_ms": _p95_ms(quiet),
            }
            crashes = _crashes(bed, healthy)
            if bed.hub_runs and healthy.runs and bed.broker.process.poll() is None:
                stormy, calm = healthy.report(), _calm(healthy)
                disturbed = _disturbed(healthy, quiet, stormy, calm)
                complaints = [f"{name}: {each.sentence}" for name, each in disturbed.items()]
                crashes = _crashes(bed, healthy)
                kinds = [each.kind for each in disturbed.values()]
                figures |= {
                    "healthy_sessions_disturbed": len(disturbed),
                    **{f"sessions_{kind}": kinds.count(kind) for kind in KINDS},
                    "rss_growth_mb": round(rss_mb(bed.hub_pid) - hub_mb, 1),
                    "broker_rss_mb": round(peak_rss_mb(bed.broker.process.pid), 1),
                    "stormy_p95_ms": _p95_ms(stormy),
                    "healthy_answers": sum(len(report.answers) for report in stormy.values()),
                    **{key: bed.hub_stats()[key] for key in ("malformed", "dropped")},
                }
            figures["crashes"] = len(crashes)
    return Storm(figures, crashes + complaints)


def _calm(healthy: Ward) -> dict[str, Report]:
    """What the sessions are answered once all is over."""
    time.sleep(_CALM_S)
    return healthy.quiet(1)


def _disturbed(
    healthy: Ward, quiet: dict[str, Report], stormy: dict[str, Report], calm: dict[str, Report]
) -> dict[str, Disturbance]:
    """What was wrong, by node."""
    found = {
        name: disturbance(quiet[name], stormy[name]) or disturbance(quiet[name], calm[name]) for name in healthy.names
    }
    return {name: each for name, each in found.items() if each is not None}


@dataclass(frozen=True)
class _Rage:
    """What the senders did, and what they were told."""

    sent: int  # messages that the broker confirmed
    thrown_out: int
    faults: dict[str, int]
    seconds: float


def _rage(bed: HubBed, messages: int, rate: float, seed: int, bars: Progress) -> _Rage:
    """Send until so many messages are confirmed."""
    pair = load_pair(bed.pair)
    rng = random.Random(seed)
    frames = Frames(rng, pair.name, pair.tokenizer_hash())
    nodes = [HostileNode(bed.broker.settings(name), name, HUB, frames, rng) for name in _NODES]
    hub = HostileHub(bed.broker.settings(_HUB), _HUB, _HEALTHY, frames, rng)
    senders = [hub.sender, *(node.sender for node in nodes)]
    os.nice(_NICE)  # the senders stand for other machines: they give way to those who serve
    began = time.monotonic()
    task = bars.add_task("the storm", total=messages)
    for number in itertools.count():
        confirmed = sum(sender.sent for sender in senders)
        if confirmed >= messages:
            break
        bars.update(task, completed=confirmed)
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        (rng.choice(nodes) if rng.random() < _NODES_SHARE else hub).send()
    bars.remove_task(task)
    seconds = time.monotonic() - began
    hub.close()
    for node in nodes:
        node.close()
    faults = sum((node.faults for node in nodes), Counter[str]())
    return _Rage(sum(s.sent for s in senders), sum(s.thrown_out for s in senders), dict(faults), seconds)


def _crashes(bed: HubBed, healthy: Ward) -> list[str]:
    """Processes that ended, and exceptions that they logged."""
    found = [] if bed.hub_runs else [f"the hub ended: {bed.hub_log[-1000:]}"]
    found += [] if healthy.runs else ["the healthy nodes' process ended"]
    found += [] if bed.broker.process.poll() is None else ["the broker ended"]
    found += ["the hub logged an exception"] * bed.hub_log.count("Traceback (most recent call last)")
    return found + ["a healthy node logged an exception"] * healthy.tracebacks


def _p95_ms(reports: dict[str, Report]) -> float | None:
    """The slowest session's; None where one got no answer."""
    slowest = max(report.p95_s for report in reports.values())
    return round(1e3 * slowest, 1) if slowest < float("inf") else None


def _log_lines(bed: HubBed) -> int:
    return bed.hub_log.count("\n")
