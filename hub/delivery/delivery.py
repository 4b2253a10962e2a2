"""Delivers the pair's files: a thread of its own, over a connection of its own, so that no verdict waits behind a piece."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from hub.delivery.counter import Counter
from hub.delivery.offer import Offer, make_offer, nothing
from shared.codec import decode, encode
from shared.errors import LinkError, PairError, ProtocolError
from shared.malformed import MalformedFrames
from shared.messages import DIGEST_BYTES, Fault, FaultCode, Fetch, Piece
from shared.mqtt import NOT_SENT, MqttLink
from shared.pair import Pair
from shared.settings import BrokerSettings
from shared.topics import Topics

log = logging.getLogger(__name__)

_MOST_REQUEST = 256  # bytes of a packet with a request
_LEAST_CHARGED = 16_384  # bytes that an answer counts as at least: a fault takes work too
_GIVE_WAY_S = 0.25  # seconds for which a piece waits for the end of a forward at most
_GATHER_S, _LONGEST_TURN_S = 0.002, 0.03  # seconds for which a flood of requests gathers before it is read
_EXPIRY_S = 60  # seconds after which a piece that was not delivered is of no use
_LOOK_S = 0.5  # seconds between two looks at whether the hub ends
_UNKNOWN = "the hub does not offer this file (any more); look at what it offers"
_LOST = "the hub can't read this file any more; see its log"
_REFUSED = "the broker refuses what delivery writes (%s); renew its rules: sudo sled-hub init-broker"


class Delivery:
    """Offers a pair's files to nodes, and sends the pieces that they ask for."""

    def __init__(
        self, broker: BrokerSettings, hub: str, pair: Pair, rate: int, await_pause: Callable[[float], None]
    ) -> None:
        """`rate` is in bytes a second; `await_pause` waits for a moment between two forwards, at most so many seconds."""
        self.delivered_bytes = 0  # of files, as often as they were sent
        self._topics, self._hub, self._pair, self._rate = Topics(broker.prefix), hub, pair, rate
        self._await_pause = await_pause
        self._counter = Counter()
        self._malformed = MalformedFrames(log)
        self._offer = Offer({}, {})
        self._free_at = 0.0  # when the next piece may be sent, by time.monotonic
        self._stop = threading.Event()
        self._link = MqttLink(broker, hub, gate=self, most_bytes=_MOST_REQUEST + 1024)
        self._link.on_refused = lambda reason: log.warning(_REFUSED, reason)
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        """Deliver from now on, as soon as the files are hashed."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and the connection."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def refused(self) -> int:
        """Requests that found too many others waiting, or were none."""
        return self._counter.refused + self._malformed.count

    def admits(self, topic: bytes, size: int) -> bool:
        """See `Gate`."""
        node = topic.rsplit(b"/", 1)[-1].decode("ascii", "replace")
        if size <= _MOST_REQUEST and self._counter.has_room(node):
            return True
        self._counter.refused += 1
        return False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Gate`."""
        time.sleep(_GATHER_S)
        self._await_pause(_LONGEST_TURN_S)
        yield

    def _on_fetch(self, topic: str, payload: bytes) -> None:
        try:
            node, fetch = self._topics.fetcher_of(topic), decode(payload, Fetch)
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return
        assert isinstance(fetch, Fetch)
        self._counter.put(node, fetch)

    def _run(self) -> None:
        try:
            offer = self._made_offer()
            if offer is None:
                return
            self._offer = offer
            self._link.connect(at_once=False)
            self._link.subscribe(self._topics.fetch(self._hub, "+"), self._on_fetch, retained=False)
            self._link.greet(lambda: self._link.publish_json(self._topics.offer(self._hub), offer.told))
            while not self._stop.is_set():
                request = self._counter.take(_LOOK_S)
                if request is not None:
                    self._answer(*request)
        except LinkError as error:
            log.warning("no files are delivered: %s", error)
        except Exception:
            log.exception("delivery has failed; the hub serves on without it")
        finally:
            self._link.close()

    def _made_offer(self) -> Offer | None:
        """What is offered: nothing of a pair whose files are not in order. None where the hub ends meanwhile."""
        try:
            return make_offer(self._pair, lambda: not self._stop.is_set())
        except PairError as error:
            log.warning("no files are delivered: %s", error)
            return Offer({}, nothing(self._pair))

    def _answer(self, node: str, fetch: Fetch) -> None:
        """Send a piece, or say why not, when it is its time and no forward is computed."""
        if self._stop.wait(max(0.0, self._free_at - time.monotonic())):
            return
        self._await_pause(_GIVE_WAY_S)
        message = self._message(fetch)
        try:
            sent = self._link.publish(self._topics.piece(self._hub, node), encode(message), expiry_s=_EXPIRY_S)
        except LinkError as error:
            log.warning("%s", error)  # the node asks again
            return
        size = len(message.data) if isinstance(message, Piece) else 0
        self._free_at = time.monotonic() + max(size, _LEAST_CHARGED) / self._rate
        if sent is not NOT_SENT:
            self.delivered_bytes += size

    def _message(self, fetch: Fetch) -> Piece | Fault:
        file = self._offer.files.get(fetch.file)
        about = fetch.file[:16]
        if file is None or fetch.offset + fetch.length > file.size:
            return Fault(FaultCode.UNKNOWN_FILE, _UNKNOWN, session=about)
        try:
            data = file.read(fetch.offset, fetch.length)
        except OSError as error:
            log.warning("%s", error)
            return Fault(FaultCode.UNKNOWN_FILE, _LOST, session=about)
        return Piece(fetch.file, fetch.offset, blake2b(data, digest_size=DIGEST_BYTES).digest(), data)
