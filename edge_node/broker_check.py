"""Whether the broker knows a node and has rules for it: found out when the node joins."""

from __future__ import annotations

from edge_node.link.echo import echoing
from shared.settings import BrokerSettings


def check_broker(broker: BrokerSettings, node: str) -> None:
    """Connect, and write to the node's own echo topic. Raises LinkError, or SettingsError for the credential's files."""
    with echoing(broker, node):
        pass
