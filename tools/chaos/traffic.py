"""Which rounds are under way, from the messages that pass the proxy's lanes."""

from __future__ import annotations

import threading

from shared.codec import decode
from shared.errors import ProtocolError
from shared.messages import Close, Draft, Fault, Verdict
from shared.topics import SessionTopic, Topics
from tools.chaos.schedule import BROKER
from tools.rig.packets import Publish


class Traffic:
    """Notes drafts without their verdicts, at the node that waits for one and at the hub that has to give it.

    A round is under way at a node from when its draft has left the node's lane, and at a hub from when the draft has
    come out of the hub's lane; either way until the first verdict passes the same lane. A node speaks one session at a time.
    """

    def __init__(self) -> None:
        self._topics = Topics()
        self._lock = threading.Lock()
        self._waiting: dict[str, bytes] = {}  # the session in which a node waits
        self._at_hub: dict[str, tuple[str, bytes]] = {}  # of a node: the hub that has its draft, and the session

    def passed(self, lane: str, upward: bool, publish: Publish) -> None:
        """Note a message that passed a lane."""
        try:
            parties = self._topics.session_of(publish.topic)
            message = decode(publish.payload)
        except ProtocolError:
            return
        with self._lock:
            if isinstance(message, Draft):
                self._begin(lane, upward, parties)
            elif isinstance(message, (Verdict, Fault, Close)):
                self._end(lane, parties)

    def is_in_round(self, victim: str) -> bool:
        """Whether a round of that hub or node is under way; of the broker: any."""
        with self._lock:
            if victim == BROKER:
                return bool(self._waiting)
            return victim in self._waiting or any(hub == victim for hub, _ in self._at_hub.values())

    def ended(self, victim: str) -> None:
        """What was under way at that program ended with it."""
        with self._lock:
            self._waiting.pop(victim, None)
            self._at_hub = {
                node: (hub, session) for node, (hub, session) in self._at_hub.items() if victim not in (hub, node)
            }

    def _begin(self, lane: str, upward: bool, parties: SessionTopic) -> None:
        if lane == parties.node and upward:
            self._waiting[parties.node] = parties.session
        elif lane == parties.hub and not upward:
            self._at_hub[parties.node] = parties.hub, parties.session

    def _end(self, lane: str, parties: SessionTopic) -> None:
        if lane == parties.node and self._waiting.get(parties.node) == parties.session:
            del self._waiting[parties.node]
        elif lane == parties.hub and self._at_hub.get(parties.node) == (parties.hub, parties.session):
            del self._at_hub[parties.node]
