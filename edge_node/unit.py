"""The node as a systemd service."""

from __future__ import annotations

from edge_node.settings import NodeSettings
from shared.service_unit import Kind

NODE_SERVICE = Kind(
    "node",
    "run",
    "drafts on this device, a hub on the MQTT broker verifies",
    NodeSettings,
    watchdog_s=30,
    start_s=300,
    own_secrets={"token": "--home-assistant-token-file", "http-key": "--http-key-file"},
)
