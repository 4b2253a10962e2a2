"""How far the hub may decode by itself."""

from __future__ import annotations

from edge_node.rounds.pace import Pace
from edge_node.rounds.timing import RoundTimes
from edge_node.settings import Mode, NodeSettings
from shared.messages import Draft

_JOINING = 4  # tokens that the hub decodes alone while the drafter takes in the text, or where it has no idea
_TRYING = 16  # tokens while neither drafting nor streaming has been timed
_TRIPS = 3  # round trips that the credit of a stream should last for
_MOST_CREDIT = 512  # tokens that this may take


class Credit:
    """What the hub has of it in an answer, and what it is to get; lengths are those of the whole text."""

    def __init__(self, settings: NodeSettings, pace: Pace, times: RoundTimes, limit: int) -> None:
        self.limit = limit  # length at which the answer ends at the latest
        self.until = 0  # length up to which the hub may go on, by the last draft
        self._settings = settings
        self._pace = pace
        self._times = times

    def due(self, length: int, streams: bool) -> int:
        """How far the hub may go on from `length`: not far where drafted blocks are to follow, unless it `streams`."""
        credit, stream_s = self._settings.credit, self._times.stream_s
        if not streams:
            credit = min(credit, _JOINING)
        elif self._settings.mode is Mode.AUTO and not self._pace.known:
            credit = min(credit, _TRYING)
        elif stream_s.count:
            # Half of it is left when it is renewed, and has to last for a round trip.
            credit = min(max(credit, int(_TRIPS * self._times.trip_s.value / stream_s.value)), _MOST_CREDIT)
        return min(length + credit, self.limit)

    def renewed(self, length: int, streams: bool) -> int | None:
        """How far it may go on from here, or None while enough is left."""
        due = self.due(length, streams)
        return due if self.until < self.limit and self.until - length <= (due - length) // 2 else None

    def give(self, draft: Draft, length: int) -> bool:
        """Take over what a draft gives; whether that extends what the hub has and is using."""
        extends = draft.until > self.until > length and not draft.append and not draft.cut
        self.until = draft.until
        return extends
