"""The batch window: how long a batch waits for sessions that are in the middle of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from hub.sessions.service_classes import ServiceClass
from hub.sessions.session import HubSession
from shared.running_mean import RunningMean

_PATIENCE_S = 0.1  # seconds after which a session that has not submitted is no longer waited for
_RATE = 0.3  # weight of the last pause in a session's mean pause
_RATE_OF_WAITS = 0.1  # weight of the last wait in the mean wait
_NO_WAITS = 9  # waits of 0 s that a hub counts as having had at first
_SLACK = 1.5  # a session is waited for so many times its mean pause


class Window:
    """Closes when its time is over, when every session that is expected within it has submitted, or when a draft is due."""

    def __init__(self, length_s: float | None, due_s: float) -> None:
        """`length_s` None: as long as a forward's fixed time, which is what waiting saves. Drafts are due after `due_s`."""
        self._waits = RunningMean(0.0, _RATE_OF_WAITS, believed=_NO_WAITS)
        self._length_s = length_s
        self._due_s = due_s
        # A session that was closed is held by nobody, and falls out of both.
        self._asked: WeakKeyDictionary[HubSession, float] = WeakKeyDictionary()  # when it got the verdict it answers
        self._pauses: WeakKeyDictionary[HubSession, RunningMean] = WeakKeyDictionary()  # seconds from verdict to draft

    @property
    def mean_wait(self) -> float:
        """Seconds for which it was open of late, when it was for drafted tokens."""
        return self._waits.value

    def expect(self, session: HubSession, now: float) -> None:
        """A verdict went out to the session: its next draft should come soon."""
        self._asked[session] = now

    def submitted(self, session: HubSession, at: float) -> None:
        """The session's draft came."""
        asked = self._asked.pop(session, None)
        if asked is not None and at - asked < _PATIENCE_S:
            self._pauses.setdefault(session, RunningMean(rate=_RATE)).add(at - asked)

    def close(self, waited_s: float, *, speculating: bool) -> None:
        """The window was open for so long; it counts if it was for drafted tokens."""
        if speculating:
            self._waits.add(waited_s)

    def remaining(
        self, opened: float, first: float, now: float, fixed_s: float, forward_s: float, service_class: ServiceClass
    ) -> float:
        """Seconds for which it is worth waiting for another draft; 0 when the window is closed.

        It opened at `opened`; the highest class of what waits is `service_class`, whose oldest draft came at `first`; the forward of what is
        there takes about `forward_s`, of which `fixed_s` do not depend on what is in it. Sessions of lower classes are not waited for, those of
        higher ones whatever that costs: a forward that has begun would be in their way.
        """
        length = fixed_s if self._length_s is None else self._length_s
        closes = min(opened + length, first + self._due_s - forward_s)
        latest = max(self._dues(now, closes, service_class), default=now)
        return max(0.0, latest - now)

    def _dues(self, now: float, closes: float, service_class: ServiceClass) -> Iterator[float]:
        """Until when each session that is expected is waited for; nobody waits for one that is silent for long."""
        for session, asked in list(self._asked.items()):
            due = asked + _SLACK * self._pause(session)
            if now - asked >= _PATIENCE_S:
                del self._asked[session]
            elif session.service_class < service_class:
                yield asked + _PATIENCE_S
            elif session.service_class == service_class and due <= closes:
                yield due

    def _pause(self, session: HubSession) -> float:
        pauses = self._pauses.get(session)
        return _PATIENCE_S if pauses is None else pauses.value
