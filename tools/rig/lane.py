"""One program's way to the broker, and what the network does to it: cuts, and faults of single messages."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from tools.rig.packets import Publish, changed, doubled, puback

HELD_S = 0.5  # seconds after which a message that was held back for the next one goes without it


class Disturbance(Enum):
    """What may happen to a PUBLISH."""

    DELAY = "delay"  # it and all behind it come later, by up to so many seconds
    DROP = "drop"  # it is confirmed to its sender, and never delivered: a broker's full queue does so
    DOUBLE = "double"  # it comes twice
    REORDER = "reorder"  # it comes behind the next one
    CHANGE = "change"  # its last byte comes as another one


@dataclass(frozen=True)
class Window:
    """From now until `end` (time.monotonic), each PUBLISH that `hits` is true of is disturbed with the chance `share`."""

    disturbance: Disturbance
    end: float
    share: float
    delay_s: float = 0.0  # the longest delay
    hits: Callable[[Publish], bool] = lambda _: True
    most: float = math.inf  # messages that are disturbed


def one_loss(leaf: str, seconds: float) -> Window:
    """The next `draft` or `verdict` within that time is lost. Early verdicts go at QoS 0, and the verdict says what they do."""

    def hits(publish: Publish) -> bool:
        return publish.topic.endswith(f"/{leaf}") and publish.mid is not None

    return Window(Disturbance.DROP, time.monotonic() + seconds, 1.0, hits=hits, most=1)


@dataclass
class Passage:
    """What becomes of a packet: what to write onward with its delay in seconds, and what to write back to its sender."""

    onward: list[tuple[float, bytes]]
    back: bytes = b""


class Witness(Protocol):
    """Who is told what passes, on the proxy's thread."""

    def passed(self, lane: str, upward: bool, publish: Publish) -> None:
        """A message has passed a lane; `upward` is to the broker."""

    def disturbed(self, disturbance: Disturbance, publish: Publish) -> None:
        """That has become of a message."""


class Lane:
    """The connections of one program. Only the proxy's thread and whoever sets faults write here."""

    def __init__(self, name: str, rng: random.Random, witness: Witness) -> None:
        self.name = name
        self.port = 0  # that the program is to connect to
        self.counted: Counter[Disturbance] = Counter()
        self.cut_until = 0.0  # by time.monotonic: nothing passes before
        self.closes = False  # the cut ends with the connections closed
        self._rng = rng
        self._witness = witness
        self._window: Window | None = None
        self._hit = 0  # messages that were disturbed in this window

    def open_window(self, window: Window) -> None:
        """Disturb messages from now on; a window that is open ends."""
        self._window, self._hit = window, 0

    def treat(self, packet: bytes, held: list[bytes]) -> Passage:
        """What becomes of a packet; `held` is the message of its direction that waits for the next one, if any."""
        publish = Publish.read(packet)
        if publish is None:
            return Passage([(0.0, packet)])
        passage = self._disturbed(packet, publish, held)
        if held and passage.onward:
            passage.onward.append((0.0, held.pop()))
        return passage

    def _disturbed(self, packet: bytes, publish: Publish, held: list[bytes]) -> Passage:
        window = self._window
        if window is None or not self._is_hit(window, publish):
            return Passage([(0.0, packet)])
        if window.disturbance is Disturbance.REORDER and held:
            return Passage([(0.0, packet)])
        self._hit += 1
        self.counted[window.disturbance] += 1
        self._witness.disturbed(window.disturbance, publish)
        match window.disturbance:
            case Disturbance.DELAY:
                passage = Passage([(self._rng.uniform(0, window.delay_s), packet)])
            case Disturbance.DROP:
                passage = Passage([], b"" if publish.mid is None else puback(publish.mid))
            case Disturbance.DOUBLE:
                passage = Passage([(0.0, packet), (0.0, doubled(packet) if publish.mid is not None else packet)])
            case Disturbance.CHANGE:
                passage = Passage([(0.0, changed(packet))])
            case Disturbance.REORDER:
                held.append(packet)
                passage = Passage([])
        return passage

    def _is_hit(self, window: Window, publish: Publish) -> bool:
        is_open = time.monotonic() <= window.end and self._hit < window.most
        return is_open and window.hits(publish) and self._rng.random() < window.share
