"""The hub as a systemd service."""

from __future__ import annotations

from hub.settings import HubSettings
from shared.service_unit import Kind

HUB_SERVICE = Kind(
    "hub", "serve", "verifies the drafts of many devices in one batch", HubSettings, watchdog_s=300, start_s=3600
)
