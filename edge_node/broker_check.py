"""Whether the broker knows a node and has rules for it: found out when the node joins."""

from __future__ import annotations

import threading

from shared.errors import BrokerRefused
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics

_ECHO_S = 5.0  # seconds for a message to come back


def check_broker(broker: BrokerSettings, node: str) -> None:
    """Connect, and write to the node's own echo topic. Raises LinkError, or SettingsError for the credential's files."""
    link, heard, topic = MqttLink(broker, node), threading.Event(), Topics(broker.prefix).echo(node, "there")
    link.connect()
    try:
        link.subscribe(topic, lambda *_: heard.set(), retained=False)
        link.publish(topic, b"")
        if not heard.wait(_ECHO_S):
            raise BrokerRefused(
                f"the broker accepts {node!r}, but what is written to {topic} does not come back: its ACL has no rules for "
                "the name; on the broker's machine run `sled-hub init-broker`, which writes them anew, and let mosquitto "
                "read them: systemctl reload mosquitto"
            )
    finally:
        link.close()
