"""A hub's end of a link in this process: the real hub session over a target that is a function, for tests of the node's loop.

Time is a clock that moves where somebody waits or works, so that a test is about what was decided and not about this machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge_node.link.channel import Channel, HubMessage, News
from edge_node.link.directory import SeenHub
from hub.sessions.session import HubSession, Limits, SessionKey
from shared.errors import HubSilent
from shared.messages import Draft, Early, Fault, Opened, Verdict
from tests.clock import Clock

SESSION = bytes(16)
CONTEXT = 4096


class Opening:
    """Stands in for `edge_node.link.opening.Opening`: the hub opens a session as soon as it can be reached."""

    def __init__(self, hub: ScriptedHub) -> None:
        self._hub = hub
        self.hub: str | None = None

    def step(self, timeout_s: float) -> Channel | None:
        if self._hub.gone:
            self._hub.clock.sleep(timeout_s)
            return None
        return self._hub.open()

    def abandon(self) -> None:
        """Nothing was asked for."""

    def failure(self) -> Exception:
        return HubSilent("the broker is away")


class ScriptedHub:
    """Stands in for `HubLink`. Every decision takes `step_s`; `target` gives the id that follows a text."""

    def __init__(self, target: Callable[[Sequence[int]], int], step_s: float = 0.0, advised: int | None = None) -> None:
        self.clock = Clock()
        self.bytes_down = 0
        self.drafts: list[Draft] = []
        self.advised = advised
        self.early: Callable[[Verdict], Early | None] = lambda _: None
        self.lost = 0  # of the next verdicts
        self.announces_s: float | None = None  # seconds after a loss when the hub announces itself anew
        self.bits = ""  # as the hub says them of sessions that are opened from now on
        self.gone = False  # whether neither broker nor hub can be reached
        self._target, self._step_s = target, step_s
        self._limits = Limits(CONTEXT, 2**20, frozenset({0}), 16)
        self._coming: deque[tuple[float, Verdict | Early | Fault | News]] = deque()
        self._busy_until = 0.0

    @property
    def trouble(self) -> str:
        return "the broker is away" if self.gone else ""

    def opening(self, prefer: str | None = None, target: str | None = None) -> Opening:
        return Opening(self)

    def open(self) -> Channel:
        """Open a session, as an opening does when a hub has answered."""
        self._session = HubSession(SessionKey("node", SESSION), self._limits)
        self._coming.clear()
        return Channel("hub", SESSION, Opened(SESSION, "target", CONTEXT, 16, (0,), 0.0, 0, 1.0, self.bits))

    def leave(self, channel: Channel) -> None:
        """The session ends."""

    def seen(self, hub: str) -> SeenHub:
        return SeenHub(online=True)

    def is_silent(self, hub: str) -> bool:
        return self.gone

    def has_other(self, hub: str, target: str) -> bool:
        return False

    def excess(self, hub: str, target: str) -> float:
        return 0.0

    def send(self, channel: Channel, draft: Draft) -> int:
        if self.gone:
            return 10
        self._decode()
        self.drafts.append(draft)
        reply = self._session.receive(draft)
        if reply is not None:
            self._coming.append((self.clock.now, reply))
        self._busy_until = max(self._busy_until, self.clock.now)
        return 10

    def receive(self, channel: Channel, timeout_s: float) -> HubMessage | News | None:
        if self.gone:
            self.clock.sleep(timeout_s)
            return None
        deadline = self.clock.now + timeout_s
        while True:
            self._decode()
            if self._coming and self._coming[0][0] <= self.clock.now:
                at, message = self._coming.popleft()
                return message if isinstance(message, News) else HubMessage(SESSION, message, at)
            if self.clock.now >= deadline:
                return None
            self.clock.reach(min(self._coming[0][0], deadline) if self._coming else deadline)

    def _decode(self) -> None:
        """Decide what there was time to begin with; it is heard of when it is done."""
        session = self._session
        while session.wants_tokens and self._busy_until <= self.clock.now:
            began = self._busy_until
            self._busy_until += max(self._step_s, 1e-6)
            ids = [*session.transcript.ids, *session.drafted]
            drawn = [self._target(ids[: session.committed + place]) for place in range(len(session.drafted) + 1)]
            said = session.commit(drawn)
            verdict = replace(said, forward_us=int(1e6 * self._step_s), advised=self.advised)
            early = self.early(verdict)
            if early is not None:
                self._coming.append((began + self._step_s / 3, early))
            if self.lost:
                self.lost -= 1
                if self.announces_s is not None:
                    self._coming.append((self._busy_until + self.announces_s, News.HUB))
            else:
                self._coming.append((self._busy_until, verdict))
