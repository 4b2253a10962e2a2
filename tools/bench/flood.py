"""What one device that floods the hub costs the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from edge_node.assembly import connected
from edge_node.dialogue.conversation import Conversation
from shared.errors import SledError
from tools.bench.asking import ask_afresh
from tools.bench.report import progress, quantile, show
from tools.rig.flooder import Kind, flooding
from tools.rig.testbed import HUB, HubBed, running_hub

log = logging.getLogger(__name__)

_OTHERS = ("calm-0", "calm-1")
_FLOODER = "flooder"
_REQUESTS = ("turn on the kitchen lights", "close the garage door and lock the front door", "what time is it?")
_SETTLE_S = 0.5  # seconds of a flood that pass before anything is measured


@dataclass
class _Seen:
    """What the others saw in the periods of one sort: seconds of each answer."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    wrong: int = 0


def run(seconds: float, periods: int, kinds: Sequence[Kind], as_json: bool) -> None:
    """Print `p95_ratio_by_kind`: the p95 of the others' answers during a flood over that in the quiet periods around it.

    `failed` and `wrong` count the answers that did not come or were not those of the quiet time.
    """
    ratios: dict[str, float] = {}
    p50_ratios: dict[str, float] = {}
    failed = wrong = 0
    with running_hub([*_OTHERS, _FLOODER], "home", ["--threads", "1"]) as bed, progress() as bars:
        task = bars.add_task("floods", total=len(kinds) * periods)
        with connected(bed.node(_OTHERS[0])) as first, connected(bed.node(_OTHERS[1])) as second:
            nodes = [first, second]
            expected = {request: ask_afresh(first, request) for request in _REQUESTS}
            for kind in kinds:
                quiet, flooded = _Seen(), _Seen()
                for _ in range(periods):
                    _measure(nodes, seconds, expected, quiet)
                    with flooding(bed.broker.settings(_FLOODER), _FLOODER, HUB, kind) as flooder:
                        time.sleep(_SETTLE_S)
                        _measure(nodes, seconds, expected, flooded)
                        if flooder.poll() is not None:
                            raise SledError(f"the flood of {kind.value} ended by itself")
                    _drain(bed)
                    bars.advance(task)
                ratios[kind.value] = round(quantile(flooded.seconds, 0.95) / quantile(quiet.seconds, 0.95), 3)
                p50_ratios[kind.value] = round(quantile(flooded.seconds, 0.5) / quantile(quiet.seconds, 0.5), 3)
                failed += quiet.failed + flooded.failed
                wrong += quiet.wrong + flooded.wrong
    figures = {"p95_ratio_by_kind": ratios, "p50_ratio_by_kind": p50_ratios, "failed": failed, "wrong": wrong}
    show("flood", figures, as_json)


def _measure(nodes: Sequence[Conversation], seconds: float, expected: dict[str, str], seen: _Seen) -> None:
    """Have the nodes ask, each one request after the other, for so long."""
    deadline = time.monotonic() + seconds
    lock = threading.Lock()

    def ask_on(node: Conversation) -> None:
        number = 0
        while time.monotonic() < deadline:
            request = _REQUESTS[number % len(_REQUESTS)]
            number += 1
            began = time.monotonic()
            try:
                right = ask_afresh(node, request) == expected[request]
            except SledError as error:
                log.warning("an answer failed: %s", error)
                seen.failed += 1
                continue
            with lock:
                seen.seconds.append(time.monotonic() - began)
                seen.wrong += not right

    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(ask_on, nodes))


def _drain(bed: HubBed) -> None:
    """Wait until the hub has nothing left of a flood."""
    before = -1
    while before != (now := _taken(bed)):
        before = now
        time.sleep(1.2)


def _taken(bed: HubBed) -> int:
    stats = bed.latest_stats()
    return sum(int(stats.get(key, 0)) for key in ("faults", "malformed", "dropped"))
