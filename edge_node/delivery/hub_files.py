"""The way to the files of hubs: what they offer, and pieces, one asked for at a time.

A node that ends in the middle, or a broker, has cost one piece at most: the next one is asked for when the last is on disk. The hub sends
pieces at its own pace, and the way to it and back fits between two of them, so more in flight would gain nothing.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

from edge_node.delivery.offer import Offer, OfferedFile, read_offer
from shared.codec import decode, encode
from shared.errors import BrokerRefused, DeliveryError, ProtocolError
from shared.json_object import json_object
from shared.limits import MAX_PIECE
from shared.malformed import MalformedFrames
from shared.messages import DIGEST_BYTES, Fault, Fetch, Piece
from shared.mqtt import NOT_SENT, MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics

log = logging.getLogger(__name__)

_MOST_HUBS = 256
_MOST_ARRIVALS = 16  # messages that wait to be read; there is one when all is well
_LOOK_S = 0.2  # seconds between two looks at what is wrong
_UNREAD_S = 1.0  # seconds after which is asked again what nobody has read
_PATIENCE_S = 10.0  # seconds after which is asked again in any case: a hub may have 64 nodes waiting
_GIVE_UP_S = 60.0  # seconds without a piece
_EXPIRY_S = 10
_AGAIN = None  # in the queue: the connection is there again


@dataclass(frozen=True)
class SeenOffers:
    """What hubs offer, by name, and which of them are online."""

    offers: dict[str, Offer]
    online: frozenset[str]


class HubFiles:
    """A connection to the broker of its own: what a conversation says or is told never waits behind a piece."""

    def __init__(self, broker: BrokerSettings, node: str, is_over: Callable[[], bool] = lambda: False) -> None:
        """Connect. `is_over` is asked while pieces are awaited. Raises LinkError."""
        self._topics, self._node, self._is_over = Topics(broker.prefix), node, is_over
        self._arrivals: queue.Queue[tuple[str, Piece | Fault] | None] = queue.Queue(_MOST_ARRIVALS)
        self._malformed = MalformedFrames(log)
        self._hub, self._fetch, self._sent, self._asked_at = "", Fetch(bytes(32), 0, 1), NOT_SENT, 0.0
        self._link = MqttLink(broker, node)
        self._link.on_refused = lambda reason: log.info("the broker refused a publish: %s", reason)
        self._link.connect()
        self._link.subscribe(self._topics.piece("+", node), self._on_piece, retained=False)
        self._link.greet(lambda: self._put(_AGAIN))

    def close(self) -> None:
        """Leave the broker."""
        self._link.close()

    def offers(self) -> SeenOffers:
        """What hubs have told last. Raises LinkError."""
        offers: dict[str, Offer] = {}
        online: set[str] = set()

        def note(topic: str, payload: bytes) -> None:
            try:
                hub = self._topics.hub_of(topic)
                if topic == self._topics.offer(hub) and payload and len(offers) < _MOST_HUBS:
                    offers[hub] = read_offer(payload)
                elif topic == self._topics.hub(hub, "status") and len(online) < _MOST_HUBS:
                    (online.add if json_object(payload, "a status").get("online") is True else online.discard)(hub)
            except ProtocolError as error:
                self._malformed.note(topic, error)

        for topic_filter in (self._topics.offer("+"), self._topics.hub("+", "status")):
            self._link.subscribe(topic_filter, note)
        self._link.flush()  # the broker's word on this comes behind what it has kept
        return SeenOffers(dict(offers), frozenset(online))

    def ask(self, hub: str, file: OfferedFile, offset: int) -> None:
        """Ask for the next piece; `piece` waits for it."""
        self._hub, self._fetch = hub, Fetch(file.sha256, offset, min(MAX_PIECE, file.size - offset))
        with suppress(queue.Empty):
            while True:
                self._arrivals.get_nowait()  # nothing that came so far is about what is asked for now
        self._ask()

    def piece(self) -> bytes:
        """The piece that was asked for last. It is asked for again when the connection was lost, or it came damaged.

        Raises DeliveryError when the hub can't send it, or none comes for _GIVE_UP_S, and BrokerRefused.
        """
        began, damaged = time.monotonic(), False
        while True:
            if self._is_over():
                raise DeliveryError("the download was ended; what has come is kept")
            with suppress(queue.Empty):
                arrival = self._arrivals.get(timeout=_LOOK_S)
                if arrival is _AGAIN:
                    self._ask()
                elif (piece := self._wanted(*arrival)) is not None:
                    if blake2b(piece.data, digest_size=DIGEST_BYTES).digest() == piece.digest:
                        return piece.data
                    if damaged:
                        raise DeliveryError(
                            f"a piece came damaged twice from hub {self._hub!r}; look for what changes messages on the way"
                        )
                    damaged = True
                    self._ask()
                continue
            self._look(time.monotonic() - began)

    def _ask(self) -> None:
        self._sent = self._link.publish(
            self._topics.fetch(self._hub, self._node), encode(self._fetch), expiry_s=_EXPIRY_S
        )
        self._asked_at = time.monotonic()

    def _wanted(self, hub: str, message: Piece | Fault) -> Piece | None:
        """The piece that was asked for; None for what is about something else. Raises DeliveryError."""
        if hub != self._hub:
            return None
        if isinstance(message, Fault):
            if message.session == self._fetch.file[:16]:
                raise DeliveryError(f"hub {hub!r} does not send a file: {message.detail}")
            return None
        asked = (self._fetch.file, self._fetch.offset, self._fetch.length)
        return message if (message.file, message.offset, len(message.data)) == asked else None

    def _look(self, silent_s: float) -> None:
        """Nothing has come: see whether to ask again. Raises DeliveryError or BrokerRefused."""
        if self._sent.refusal:
            raise BrokerRefused(
                f"the broker does not let {self._node!r} ask hub {self._hub!r} for files ({self._sent.refusal}); renew its "
                "rules on its machine: sudo sled-hub init-broker"
            )
        if silent_s > _GIVE_UP_S:
            why = self._link.trouble or f"hub {self._hub!r} has sent nothing for {silent_s:.0f} s"
            raise DeliveryError(f"{why}; what has come is kept, so run it again")
        asked_s = time.monotonic() - self._asked_at
        unread = self._sent.is_answered and not self._sent.was_read
        if self._link.connected and asked_s > (_UNREAD_S if unread else _PATIENCE_S):
            self._ask()

    def _on_piece(self, topic: str, payload: bytes) -> None:
        try:
            hub, message = self._topics.sender_of(topic), decode(payload, Piece, Fault)
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return
        assert isinstance(message, (Piece, Fault))
        self._put((hub, message))

    def _put(self, arrival: tuple[str, Piece | Fault] | None) -> None:
        with suppress(queue.Full):  # what nobody asked for fills it: the piece that was asked for is asked for again
            self._arrivals.put_nowait(arrival)
