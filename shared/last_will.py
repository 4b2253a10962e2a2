"""What the broker says for a client that is lost, as far as the broker can."""

from __future__ import annotations

import json
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

_NO_QOS_1, _NO_RETAINED = "QoS not supported", "Retain not supported"  # MQTT 5's names for why a will is refused


class LastWill:
    """A topic and the retained JSON object that the broker publishes there. Nodes notice a lost hub by its silence too."""

    def __init__(self, client: paho.Client, topic: str, value: dict[str, Any]) -> None:
        self._client, self._topic, self._value = client, topic, json.dumps(value)
        self._client.will_set(topic, self._value, qos=1, retain=True)

    def ask_less(self, refusal: ReasonCode) -> bool:
        """Whether the next attempt to connect asks less of a broker that refused this one, since it lacks something."""
        if refusal == _NO_QOS_1:
            self._client.will_set(self._topic, self._value, qos=0, retain=True)
            return True
        if refusal == _NO_RETAINED:
            self._client.will_clear()
            return True
        return False
