"""What a user of the broker may read: mosquitto grants every subscription, so that it shows in what arrives alone."""

from __future__ import annotations

from hub.fleet.fleet import FleetView
from hub.fleet.settings import FleetSettings
from shared.errors import BrokerRefused
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings

_HOW = (
    "`sudo sled-hub enroll NAME --role observer` on the broker's machine makes a bundle of one who may, and "
    "`sled-hub join NAME.bundle` takes it here"
)


def check_observer(broker: BrokerSettings, name: str) -> None:
    """Connect, and write the one topic that everybody who is enrolled may write. Raises LinkError, or SettingsError for the credential's files."""
    link = MqttLink(broker, name)
    link.on_refused = lambda _: None
    link.connect()
    try:
        link.flush()
        if link.refused_publishes:
            raise BrokerRefused(
                f"the broker has no rules for its user {name!r}; on its machine run `sudo sled-hub init-broker`, which "
                "writes the rules of all users anew, and let mosquitto read them: systemctl reload mosquitto"
            )
    finally:
        link.close()


def doubts(view: FleetView, settings: FleetSettings) -> str:
    """Why nothing is to be seen, or nobody but this user itself, in a sentence; nothing where others are."""
    broker, user = settings.broker, settings.broker.username or settings.name
    names = [*(hub.name for hub in view.hubs), *(node.name for node in view.nodes)]
    if not names:
        return (
            f"nothing was heard of hubs or nodes below {broker.prefix!r} on the broker at {broker.host}:{broker.port}: "
            f"either there are none, or its user {user!r} may not read their state; {_HOW}"
        )
    if names == [user]:
        return f"{user!r} itself is all that was heard of: a hub's credential may not read others' state; {_HOW}"
    return ""
