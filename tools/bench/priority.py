"""What a spoken request waits for the captions of a camera, at a hub that knows one from the other.

A real node speaks: its requests, one after the other with pauses between, are drafted and verified by the pair. A camera's program, a process of its own, has
every picture described on many sessions, without a pause. Both are at one hub, alone and together in turn.

    voice_p95_ratio, voice_p50_ratio   seconds of a spoken answer beside the captions over those without; a hub that has the classes
    unclassed_p95_ratio                the same at a hub that has not
    voice_p95_ms                       of a spoken answer beside the captions, with the classes
    captions_per_s                     that the camera was given beside the spoken requests, with the classes; captions_alone_per_s without any
    failed, wrong                      spoken answers that did not come, or were not those of the quiet time
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice

from edge_node.assembly import connected
from edge_node.dialogue.conversation import Conversation
from shared.errors import SledError
from tools.bench.asking import ask_afresh
from tools.bench.report import progress, quantile, show
from tools.rig.cameras import describing
from tools.rig.testbed import HubBed, running_hub

_VOICE, _CAMERA = "kitchen-mic", "camera-1"
_CLASSES = ("--voice", "*-mic", "--background", "camera-*")
_REQUESTS = ("turn on the kitchen lights", "close the garage door and lock the front door", "what time is it?")
_PAUSE_S = (0.0, 0.15)  # between two requests, drawn from there: captions are in full swing when the next comes
_SETTLE_S = 1.5  # seconds of captions that pass before anything is measured
_ALONE_S = 4.0  # seconds for which the camera is measured by itself


@dataclass
class _Heard:
    """Spoken answers of one sort: the seconds of each."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    wrong: int = 0


@dataclass
class _House:
    """A hub with a voice and a camera, and what became of both."""

    node: Conversation
    bed: HubBed
    sessions: int
    expected: dict[str, str]
    quiet: _Heard = field(default_factory=_Heard)
    flooded: _Heard = field(default_factory=_Heard)
    captions: int = 0
    captions_s: float = 0.0

    def measure(self, requests: int) -> None:
        """Have so many requests spoken alone, and as many beside the captions."""
        _speak(self.node, requests, self.expected, self.quiet)
        count, seconds = self.describe(lambda: _speak(self.node, requests, self.expected, self.flooded))
        self.captions += count
        self.captions_s += seconds

    def describe(self, work: Callable[[], object]) -> tuple[int, float]:
        """Do `work` while pictures are described: the captions that the camera was given, and in how many seconds."""
        began = time.monotonic()
        with describing(self.bed.broker.settings(_CAMERA), _CAMERA, self.bed.pair, self.sessions) as captions:
            time.sleep(_SETTLE_S)
            work()
        return captions[0], time.monotonic() - began

    def ratio(self, share: float) -> float:
        """Of that quantile of the seconds of spoken answers."""
        return round(quantile(self.flooded.seconds, share) / quantile(self.quiet.seconds, share), 3)


def run(requests: int, periods: int, sessions: int, pair: str, as_json: bool) -> None:
    """Print the figures above."""
    with _house(pair, sessions, _CLASSES) as classed:
        _periods(classed, requests, periods, "with classes")
        alone, alone_s = classed.describe(lambda: time.sleep(_ALONE_S))
    with _house(pair, sessions, ()) as unclassed:
        _periods(unclassed, requests, periods, "without classes")
    heard = (classed.quiet, classed.flooded, unclassed.quiet, unclassed.flooded)
    figures = {
        "voice_p95_ratio": classed.ratio(0.95),
        "voice_p50_ratio": classed.ratio(0.5),
        "unclassed_p95_ratio": unclassed.ratio(0.95),
        "voice_p95_ms": round(1e3 * quantile(classed.flooded.seconds, 0.95), 1),
        "requests": requests * periods,
        "camera_sessions": sessions,
        "captions_per_s": round(classed.captions / classed.captions_s, 2),
        "captions_alone_per_s": round(alone / alone_s, 2),
        "failed": sum(each.failed for each in heard),
        "wrong": sum(each.wrong for each in heard),
    }
    show("priority", figures, as_json)


@contextmanager
def _house(pair: str, sessions: int, classes: Sequence[str]) -> Iterator[_House]:
    options = ["--threads", "1", *classes]
    with running_hub([_VOICE, _CAMERA], pair, options) as bed, connected(bed.node(_VOICE)) as node:
        yield _House(node, bed, sessions, {request: ask_afresh(node, request) for request in _REQUESTS})


def _periods(house: _House, requests: int, periods: int, title: str) -> None:
    with progress() as bars:
        for _ in bars.track(range(periods), description=title):
            house.measure(requests)


def _speak(node: Conversation, requests: int, expected: dict[str, str], heard: _Heard) -> None:
    """Ask so many requests, each in a chat of its own."""
    rng = random.Random(requests)
    for request in islice(cycle(_REQUESTS), requests):
        time.sleep(rng.uniform(*_PAUSE_S))
        began = time.monotonic()
        try:
            text = ask_afresh(node, request)
        except SledError:
            heard.failed += 1
            continue
        heard.seconds.append(time.monotonic() - began)
        heard.wrong += text != expected[request]
