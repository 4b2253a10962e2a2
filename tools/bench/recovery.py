"""How long an answer stands still after a trouble of each sort."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.settings import Mode, NodeSettings
from shared.errors import SledError
from tools.bench.report import progress, quantile, show
from tools.rig.stage import NODE, Stage, stage
from tools.rig.trouble import Trouble, make

log = logging.getLogger(__name__)

_HUBS = ("hub-0", "hub-1")
_REQUEST = "tell me everything"
# At this temperature and with this seed the answer is hundreds of tokens long.
_LONG = Generation(temperature=100.0, seed=2, max_tokens=300)
_BEFORE = (5, 60)  # tokens of the answer that have come before the trouble, at least and at most
_MODES = (Mode.STREAM, Mode.SPECULATE)  # in turn
_END_S = 120.0  # seconds within which an answer ends


@dataclass
class _Seen:
    """What troubles of one sort have cost, in milliseconds."""

    recovery: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)


class _Asking:
    """An answer that is asked for on a thread of its own."""

    def __init__(self, node: Conversation) -> None:
        self.answer = Answer()
        self.error: SledError | None = None  # that it ended with
        self._came_at = [time.monotonic()]  # when it was asked for, and when its pieces came
        self._told_at: list[float] = []  # when the person was told what it waits for
        self._node = node
        node.loop.on_wait = self._note
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reach(self, tokens: int) -> None:
        """Wait until so much of the answer has come. Raises RuntimeError where it ends before."""
        while self.answer.stats.tokens < tokens:
            if not self._thread.is_alive():
                raise RuntimeError(
                    f"an answer ended before anything was done to it: {self.error or self.answer.text!r}"
                )
            time.sleep(0.001)

    def end(self) -> None:
        """Wait for the end of the answer. Raises RuntimeError where it does not come."""
        self._thread.join(_END_S)
        if self._thread.is_alive():
            raise RuntimeError("an answer does not come to its end")

    def stood_still_ms(self, since: float) -> float:
        """The longest time without a token from that moment on."""
        times = [since, *(at for at in self._came_at if at > since)]
        return 1e3 * max((b - a for a, b in pairwise(times)), default=0.0)

    def told_ms(self) -> list[float]:
        """For each wait of which the person was told: how long after the last token."""
        last = [max(came for came in self._came_at if came <= at) for at in self._told_at]
        first = dict(zip(reversed(last), reversed(self._told_at), strict=True))
        return [1e3 * (at - came) for came, at in first.items()]

    def _note(self, what: str) -> None:
        if what:
            self._told_at.append(time.monotonic())

    def _run(self) -> None:
        try:
            for _ in self._node.ask(_REQUEST, _LONG, self.answer):
                self._came_at.append(time.monotonic())
        except SledError as error:
            log.warning("an answer failed: %s", error)
            self.error = error


def run(repeats: int, kinds: Sequence[Trouble], as_json: bool) -> None:
    """Print for each kind of trouble how long the answer's tokens stayed away: `…_ms_p50`, `…_ms_p99` and `…_count`.

    That is the longest time without a token from when the answer could recover to its end. `told_ms_…` is when, after the last
    token, the person was told what is waited for. `wrong` are answers that differ from the undisturbed one, `failed` those
    that ended with an error, `load` the machine's load before.
    """
    for product in ("edge_node", "shared"):
        logging.getLogger(product).setLevel(logging.ERROR)  # what is lost here is lost on purpose
    load = os.getloadavg()[0]
    seen = {kind: _Seen() for kind in Trouble if kind in kinds}  # those with one hub first
    wrong = failed = 0
    expected = ""
    with stage(_HUBS) as everybody, progress() as bars:
        task = bars.add_task("starting", total=repeats * len(seen))
        for kind, costs in seen.items():
            bars.update(task, description=kind.value)
            for number in range(repeats):
                _make_ready(everybody, _HUBS if kind.takes_two_hubs else _HUBS[:1])
                settings = NodeSettings(
                    name=NODE, mode=_MODES[number % 2], credit=8, threads=1, wait_s=60, broker=everybody.node
                )
                with connected(settings) as node:
                    expected = expected or _undisturbed(node)
                    asking = _disturbed(node, kind, everybody, random.Random(f"{kind.value}/{number}"), costs)
                failed += asking.error is not None
                wrong += asking.error is None and asking.answer.text != expected
                bars.advance(task)
    show("recovery", _figures(seen) | {"wrong": wrong, "failed": failed, "load": round(load, 2)}, as_json)


def _make_ready(everybody: Stage, hubs: Sequence[str]) -> None:
    """Have those hubs online."""
    for hub in hubs:
        program = everybody.hubs[hub]
        if program.is_frozen:
            program.thaw()
        if not program.runs:
            everybody.start_hub(hub)


def _undisturbed(node: Conversation) -> str:
    asking = _Asking(node)
    asking.end()
    node.clear()
    return asking.answer.text


def _disturbed(node: Conversation, kind: Trouble, everybody: Stage, rng: random.Random, seen: _Seen) -> _Asking:
    """An answer with one trouble in the middle."""
    asking = _Asking(node)
    asking.reach(rng.randrange(*_BEFORE))
    assert node.loop.channel is not None
    back = make(kind, everybody, node.loop.channel.hub, rng)
    asking.end()
    seen.recovery.append(asking.stood_still_ms(back))
    seen.told += asking.told_ms()
    return asking


def _figures(seen: dict[Trouble, _Seen]) -> dict[str, Any]:
    """p50 and p99 of each kind; with fewer than 100 values p99 is the largest."""
    figures: dict[str, Any] = {}
    for kind, each in seen.items():
        figures |= {f"{kind.value}_ms_{name}": _at(each.recovery, share) for name, share in _SHARES.items()}
        figures[f"{kind.value}_count"] = len(each.recovery)
    told = [ms for each in seen.values() for ms in each.told]
    return figures | {f"told_ms_{name}": _at(told, share) for name, share in _SHARES.items()}


_SHARES = {"p50": 0.5, "p99": 0.99}


def _at(values: Sequence[float], share: float) -> float | None:
    return round(quantile(values, share), 1) if values else None
