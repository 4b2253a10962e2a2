"""A client that publishes as fast as the broker confirms, and comes back when the broker throws it out."""

from __future__ import annotations

import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared.settings import BrokerSettings

_IN_FLIGHT = 500  # messages that may wait for their PUBACK
_PATIENCE_S = 20.0


class Sender:
    """paho's own client, so that nothing of the product stands between the frames and the broker."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.sent = 0  # messages that the broker confirmed, refused ones included
        self.refused = 0  # of them: messages that the broker's rules do not allow
        self.thrown_out = 0  # times that the broker ended the connection
        self._settings = settings
        self._connect()

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1. Raises RuntimeError where the broker confirms nothing any more."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self._room.acquire(timeout=0.1):
            if self._lost.is_set():
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker has confirmed nothing for {_PATIENCE_S:.0f} s")
        if self._lost.is_set():
            self.thrown_out += 1
            self._client.loop_stop()
            self._connect()
            self._room.acquire()
        self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self) -> None:
        """Wait until all is confirmed, and leave."""
        deadline = time.monotonic() + _PATIENCE_S
        for _ in range(_IN_FLIGHT):
            if self._lost.is_set() or not self._room.acquire(timeout=max(0.0, deadline - time.monotonic())):
                break
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self) -> None:
        room, lost = threading.Semaphore(_IN_FLIGHT), threading.Event()

        def published(_client: Any, _data: Any, _mid: int, reason: ReasonCode, _properties: Properties | None) -> None:
            self.sent += 1
            self.refused += reason.is_failure
            room.release()

        def ended(*_: Any) -> None:
            lost.set()
            client.disconnect()  # or paho would connect again, and send what was not confirmed for ever

        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.max_inflight_messages_set(2 * _IN_FLIGHT)
        client.on_publish = published
        client.on_disconnect = ended
        client.username_pw_set(self._settings.username, self._settings.password())
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                client.connect(self._settings.host, self._settings.port)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError("the broker is gone") from None
                time.sleep(0.1)
        client.loop_start()
        self._client, self._room, self._lost = client, room, lost
