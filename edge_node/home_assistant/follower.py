"""Keeps in mind what is in the home: reads it, follows its changes, and connects again where the connection is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing

from edge_node.home_assistant.home import Home, read_home
from edge_node.home_assistant.socket import HomeAssistantSocket
from shared.errors import HomeAssistantError

log = logging.getLogger(__name__)

_EVENTS = (
    "area_registry_updated",
    "floor_registry_updated",
    "device_registry_updated",
    "entity_registry_updated",
    "core_config_updated",
    "component_loaded",
)
_QUIET_S = 1.0  # seconds without a change, after which the home is read again
_MOST_OF_BURST = 200  # changes after which the home is read, though others follow
_OFTEN_ENOUGH_S = 600.0  # not all changes have an event: those of entities without a unique id have none
_LOOK_S = 0.2  # seconds between two looks whether to end
_END_S = 2.0  # seconds to wait for that
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


class HomeFollower:
    """`home` is replaced by another thread as the home changes; None until it was read once."""

    def __init__(self, url: str, token: str, on_change: Callable[[Home], None] = lambda _: None) -> None:
        """`on_change` is called on that thread with each home that differs from the one before."""
        self.home: Home | None = None
        self.trouble = "Home Assistant was not asked yet"
        self._url, self._token, self._on_change = url, token, on_change
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="home", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Follow no more."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._ends.is_set():
            try:
                with closing(HomeAssistantSocket(self._url, self._token)) as socket:
                    for event in _EVENTS:
                        socket.ask("subscribe_events", event_type=event)
                    self._read(socket)
                    pause_s = _FIRST_PAUSE_S
                    while self._wait(socket):
                        self._read(socket)
            except HomeAssistantError as error:
                self._note(str(error))
            except Exception:
                log.exception("the home can't be followed")
                self._note("what Home Assistant tells of the home can't be read; its log and this one say more")
            self._ends.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble and not self._ends.is_set():
            log.warning("%s", trouble)
        self.trouble = trouble

    def _read(self, socket: HomeAssistantSocket) -> None:
        home = read_home(socket)
        if self.trouble:
            log.info("Home Assistant is there: %d entities are exposed", len(home.exposed))
        self.trouble = ""
        if home != self.home:
            self.home = home
            self._on_change(home)

    def _wait(self, socket: HomeAssistantSocket) -> bool:
        """Wait until the home is to be read again; False when nobody wants that any more."""
        waited = 0.0
        while waited < _OFTEN_ENOUGH_S and not self._ends.is_set():
            if socket.next_event(_LOOK_S) is not None:
                for _ in range(_MOST_OF_BURST):  # changes come in bursts
                    if self._ends.is_set() or socket.next_event(_QUIET_S) is None:
                        break
                break
            waited += _LOOK_S
        return not self._ends.is_set()
