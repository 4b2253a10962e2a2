"""The fleet on a broker: hears what hubs and nodes publish of themselves, and what the broker has kept of it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from hub.fleet.fleet import MOST_STATE, Fleet, FleetView
from hub.fleet.settings import FleetSettings
from shared.errors import ProtocolError
from shared.malformed import MalformedFrames
from shared.mqtt import Handler, MqttLink
from shared.topics import Topics

log = logging.getLogger(__name__)

_MOST_PACKET = MOST_STATE + 1_024  # bytes; a longer one the broker does not send
_LEAST_S = 1.2  # seconds in which whoever speaks every second has spoken
_EMPTY_S = 1.3  # that are waited longer where nobody has spoken
_RATES_S = 2.5  # and where a hub that may live has not spoken; then it is silent


class _Take(Protocol):
    def __call__(self, topic: str, payload: bytes, *, kept: bool) -> None: ...


class Watch:
    """A connection that listens. The MQTT client's thread adds to the fleet while another looks at it."""

    def __init__(self, settings: FleetSettings) -> None:
        self._topics = Topics(settings.broker.prefix)
        self._fleet = Fleet(self._topics)
        self._fleet_changed = threading.Condition()  # held around all that is done with the fleet
        self._malformed = MalformedFrames(log)
        self._link = MqttLink(settings.broker, settings.name, most_bytes=_MOST_PACKET)
        self._link.on_refused = lambda _: None  # nothing is written but a marker

    def begin(self) -> None:
        """Connect, and take in what the broker has kept. Raises LinkError."""
        self._link.connect()
        for topic_of, take in ((self._topics.hub, self._fleet.take_hub), (self._topics.node, self._fleet.take_node)):
            for leaf in Fleet.LEAVES:
                new, kept = self._handler(take, kept=False), self._handler(take, kept=True)
                self._link.subscribe(topic_of("+", leaf), new, kept=kept)
        self._link.flush()  # the broker's word on this comes behind what it has kept

    def close(self) -> None:
        """Leave the broker."""
        self._link.close()

    @property
    def view(self) -> FleetView:
        """How the fleet stands now."""
        with self._fleet_changed:
            return self._fleet.view

    def listen(self) -> FleetView:
        """How it stands once all who live have spoken, hubs twice: in a second or two, in 4 s where what the broker keeps is of a dead one."""
        time.sleep(_LEAST_S)
        with self._fleet_changed:
            if self._fleet_changed.wait_for(lambda: not self._fleet.is_empty, _EMPTY_S):
                self._fleet_changed.wait_for(lambda: self._fleet.is_known, _RATES_S)
            return self._fleet.view

    @property
    def malformed(self) -> int:
        """Messages that were not what they should be."""
        return self._malformed.count

    @property
    def trouble(self) -> str:
        """What is wrong between this machine and the broker; nothing if all is well."""
        return self._link.trouble

    def _handler(self, take: _Take, *, kept: bool) -> Handler:
        def note(topic: str, payload: bytes) -> None:
            try:
                with self._fleet_changed:
                    take(topic, payload, kept=kept)
                    self._fleet_changed.notify_all()
            except ProtocolError as error:
                self._malformed.note(topic, error)

        return note
