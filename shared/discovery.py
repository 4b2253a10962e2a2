"""How a program shows itself to Home Assistant: MQTT device discovery, one retained message with all that it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.errors import LinkError
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.streams import put_line

_OURS = "sled"  # the level below which the programs' topics stand, their names being levels of their own
_EXPIRE_S = 180  # seconds after which a figure that was not told again is unknown
AGAIN_S = 60.0  # seconds after which figures are told again, though nothing has changed
_STARTED = b"online"  # what Home Assistant says when it has
_ONLINE = "{{ 'online' if value_json.online else 'offline' }}"


def config_topic(prefix: str, name: str) -> str:
    """Where a program describes itself."""
    return f"{prefix}/device/{_OURS}/{name}/config"


def birth_topic(prefix: str) -> str:
    """Where Home Assistant says that it is there: who describes itself does so again then."""
    return f"{prefix}/status"


@dataclass(frozen=True)
class Device:
    """A program as Home Assistant shows it."""

    name: str
    kind: str  # node or hub
    model: str
    version: str
    status: str  # the topic of its status
    components: dict[str, dict[str, Any]]

    def config(self) -> dict[str, Any]:
        """The content of its discovery message."""
        unique = f"sled_{self.kind}_{self.name}"
        components = {
            key: {"unique_id": f"{unique}_{key}", "object_id": f"{unique}_{key}", **component}
            for key, component in self.components.items()
        }
        return {
            "device": {
                "identifiers": [unique],
                "name": f"SLED {self.kind} {self.name}",
                "manufacturer": "SLED",
                "model": self.model,
                "sw_version": self.version,
            },
            "origin": {"name": "SLED", "sw_version": self.version},
            "availability": [{"topic": self.status, "value_template": _ONLINE}],
            "components": components,
            "qos": 1,
        }


def figure(name: str, topic: str, template: str, **more: Any) -> dict[str, Any]:
    """A sensor whose value is made from the program's stats."""
    return {
        "platform": "sensor",
        "name": name,
        "state_topic": topic,
        "value_template": f"{{{{ {template} }}}}",
        "expire_after": _EXPIRE_S,
        "entity_category": "diagnostic",
        **more,
    }


class Discovery:
    """Describes a program, and again whenever Home Assistant says that it has started."""

    def __init__(self, settings: BrokerSettings, device: Device) -> None:
        self._prefix, self._device, self._wanted = settings.discovery_prefix, device, settings.discovery

    def tell(self, link: MqttLink) -> None:
        """Publish the description, if the settings want that."""
        if self._wanted:
            link.publish_json(config_topic(self._prefix, self._device.name), self._device.config())

    def follow(self, link: MqttLink, again: Callable[[], object]) -> None:
        """Call `again`, on the client's thread, whenever Home Assistant says that it has started. Raises LinkError."""
        if self._wanted:
            link.subscribe(birth_topic(self._prefix), lambda _, payload: payload == _STARTED and again())


def forget(settings: BrokerSettings, name: str) -> None:
    """Have Home Assistant forget a program, and say so. Raises LinkError."""
    topic = config_topic(settings.discovery_prefix, name)
    link = MqttLink(settings, name)
    link.connect()
    try:
        refused = link.refused_publishes
        link.publish(topic, b"", retain=True)
        link.flush()
        if link.refused_publishes > refused:
            raise LinkError(
                f"the broker does not let {name!r} write to {topic}; have `sled-hub init-broker` write its rules anew"
            )
    finally:
        link.close()
    put_line(f"emptied {topic}: Home Assistant removes the device and its entities")
    if settings.discovery:
        put_line("the setting broker.discovery is on, so the program shows itself again when it starts")
