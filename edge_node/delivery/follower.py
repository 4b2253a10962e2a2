"""Has a service use the best draft that a hub offers: looks now and then, fetches it beside the answers, and says when it is there."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing

from edge_node.delivery.choice import this_device, tokens_per_s
from edge_node.delivery.hub_files import HubFiles, SeenOffers
from edge_node.delivery.pull import AUTO, Found, find, pull
from edge_node.delivery.store import PairStore
from shared.errors import SledError
from shared.pair import load_pair
from shared.settings import BrokerSettings

log = logging.getLogger(__name__)

_FIRST_S, _EVERY_S = 5.0, 600.0  # seconds before the first look, and between two; a fleet spreads over half of it more
_GIVE_WAY_S, _LOOK_S = 2.0, 0.1  # seconds for which a piece waits for the end of answers at most, and between two looks
_GAIN = 1.1  # by which a draft must be faster, as predicted, to be worth a download


class DraftFollower:
    """A thread beside a service whose pair was pulled."""

    def __init__(
        self,
        broker: BrokerSettings,
        node: str,
        draft: str,
        store: PairStore,
        is_busy: Callable[[], bool],
        arrived: Callable[[Found], None],
    ) -> None:
        """`draft` is a draft's name or AUTO; `arrived` is called on the thread once another version is in the store.

        While the service `is_busy`, pieces come seldom: on a small device each takes milliseconds from the draft model.
        """
        self._broker, self._node, self._draft, self._store, self._arrived = broker, node, draft, store, arrived
        self._is_busy = is_busy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drafts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; what has come of a draft is kept."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = _FIRST_S
        while not self._stop.wait(pause_s * random.uniform(0.5, 1.5)):
            pause_s = _EVERY_S
            try:
                self._look()
            except SledError as error:
                log.info("no draft is fetched: %s", error)
            except Exception:
                log.exception("a draft could not be fetched")

    def _look(self) -> None:
        with closing(HubFiles(self._broker, self._node, self._stop.is_set)) as files:
            seen = files.offers()
            found = find(seen, self._store.pair, self._draft)
            if not self._is_better(seen, found) or not pull(files, found, self._store, self):
                return
        self._arrived(found)

    def begin(self, _total: int, _there: int) -> None:
        """See `edge_node.delivery.pull.Progress`."""

    def advance(self, _size: int) -> None:
        """See `edge_node.delivery.pull.Progress`."""
        until = time.monotonic() + _GIVE_WAY_S
        while self._is_busy() and time.monotonic() < until and not self._stop.wait(_LOOK_S):
            pass

    def _is_better(self, seen: SeenOffers, found: Found) -> bool:
        """Whether to fetch it: one that this device's own is slower than, or that has taken its place at the hubs."""
        current = self._store.current
        if current is None or self._store.has(found.draft) or self._store.has_failed(found.draft):
            return False
        own = next(iter(load_pair(str(current)).drafts.values()))
        wanted = self._draft in (AUTO, own.name)
        at_hubs = [offer for hub, offer in seen.offers.items() if hub in seen.online]
        if not wanted or not any(each.version == current.name for offer in at_hubs for each in offer.drafts.values()):
            return True
        device = this_device()
        return tokens_per_s(found.draft, device) > _GAIN * tokens_per_s(own, device)
