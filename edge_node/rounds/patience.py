"""When a round is sent again, and when its hub counts as lost."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_node.rounds.timing import RoundTimes

_FIRST_S = 0.7  # seconds after which a round is sent again at the soonest
_LONGEST_S = 5.0  # seconds that the pause grows to
_USUAL = 4  # times the usual wait for a verdict that a hub is given
_GROWTH = 1.5  # of the pause from one repetition to the next
_LOOK_S = 0.1  # seconds between two looks at what is wrong while no verdict comes
_NO_VERDICT_S = 120.0  # seconds for which a hub that lives may be at work on a round


class Patience:
    """Of one answer. A repetition costs a hub that has the round next to nothing, and a lost message then costs no more than a pause."""

    def __init__(self, times: RoundTimes, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`timeout_s` is the silence after which a hub counts as lost."""
        self._times, self._timeout_s, self._clock = times, timeout_s, clock
        self.reset()

    def reset(self) -> None:
        """Something came of the hub, or a new round was sent."""
        self._pause_s = self._patience_s = min(max(_FIRST_S, _USUAL * self._times.wait_s), _LONGEST_S)
        self._began_at = self._sent_at = self._served_at = self._clock()

    def give_up(self) -> None:
        """There is no hub, and it is known already."""
        self._served_at = self._clock() - self._timeout_s - _LOOK_S

    def sent_again(self) -> None:
        """The round was sent once more."""
        self._pause_s = min(_GROWTH * self._pause_s, _LONGEST_S)
        self._sent_at = self._clock()

    def look(self, *, served: bool) -> None:
        """Note whether somebody is there who should answer: the broker answers, the hub lives and the session is open."""
        if served and self._clock() - self._began_at < _NO_VERDICT_S:
            self._served_at = self._clock()

    @property
    def wait_s(self) -> float:
        """Seconds until something is to be done if nothing comes."""
        return max(0.0, min(_LOOK_S, self._sent_at + self._pause_s - self._clock()))

    @property
    def sends_again(self) -> bool:
        """Whether it is time to send the round once more."""
        return self._clock() >= self._sent_at + self._pause_s

    @property
    def is_late(self) -> bool:
        """Whether a verdict would have come by now, as they usually do."""
        return self._clock() - self._sent_at > self._times.wait_s

    def is_told(self, *, troubled: bool) -> bool:
        """Whether the person should know by now what is being waited for; more is wrong than a slow verdict when `troubled`."""
        return self._clock() - self._began_at >= (_FIRST_S if troubled else self._patience_s)

    @property
    def lost_s(self) -> float:
        """Seconds for which nobody was there who would answer."""
        return self._clock() - self._served_at

    @property
    def is_lost(self) -> bool:
        """Whether the hub counts as lost."""
        return self.lost_s > self._timeout_s
