"""What every browser is told, made once a second for all of them."""

from __future__ import annotations

import json
import logging
import threading
import time

from hub.fleet.fleet import FleetView
from hub.fleet.order import Sort, ordered
from hub.fleet.printed import as_json
from hub.fleet.rights import doubts
from hub.fleet.screen import summary
from hub.fleet.settings import FleetSettings
from hub.fleet.watching import Watch
from hub.ui.history import STEP_S, History

log = logging.getLogger(__name__)

_EVERY_S = 1.0
_QUIET_S = 3.0  # seconds after which the page says why nobody may be seen
MOST_HUBS, MOST_NODES = 100, 400  # that are shown: the busiest


class Feed:
    """A thread makes the events; `latest` and `beginning` are for any thread."""

    def __init__(self, watch: Watch, settings: FleetSettings) -> None:
        self._watch, self._settings = watch, settings
        self._history = History()
        self._making = threading.Lock()  # around the history
        self._number, self._latest = 0, b""
        self._begun_at = self._drawn_at = time.monotonic() - STEP_S
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Make an event each second."""
        self._begun_at = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Make no more."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_over(self) -> bool:
        """Whether no more events come."""
        return self._ends.is_set()

    @property
    def latest(self) -> tuple[int, bytes]:
        """The last event, and its number."""
        return self._number, self._latest

    def beginning(self) -> bytes:
        """What a browser is told first: what was before."""
        with self._making:
            return _event("history", self._history.told)

    def _run(self) -> None:
        while not self._ends.wait(_EVERY_S):
            try:
                self.make()
            except Exception:
                # The page would stand still for good.
                log.exception("the page can't be brought up to date")

    def make(self) -> None:
        """Make the next event of how the fleet stands now."""
        view, now = self._watch.view, time.monotonic()
        told = self._told(view, now)
        with self._making:
            if now >= self._drawn_at + STEP_S - _EVERY_S / 2:
                self._drawn_at = now
                told["point"] = self._history.add(view)
            self._number, self._latest = self._number + 1, _event("fleet", told)

    def _told(self, view: FleetView, now: float) -> dict[str, object]:
        hubs, nodes = ordered(view.hubs, Sort.LOAD), ordered(view.nodes, Sort.LOAD)
        broker = self._settings.broker
        return {
            "broker": {
                "address": f"{broker.host}:{broker.port}",
                "prefix": broker.prefix,
                "trouble": self._watch.trouble,
            },
            "summary": summary(view),
            "doubt": "" if now < self._begun_at + _QUIET_S else doubts(view, self._settings),
            # By name: what the page shows keeps its place.
            "hubs": list(map(as_json, ordered(hubs[:MOST_HUBS], Sort.NAME))),
            "nodes": list(map(as_json, ordered(nodes[:MOST_NODES], Sort.NAME))),
            "more_hubs": len(hubs[MOST_HUBS:]),
            "more_nodes": len(nodes[MOST_NODES:]),
        }


def _event(name: str, data: object) -> bytes:
    """An event as browsers read it: JSON has no line feeds of its own."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
