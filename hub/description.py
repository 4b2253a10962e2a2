"""A hub as Home Assistant shows it."""

from __future__ import annotations

from shared.discovery import Device, figure
from shared.topics import Topics


def description(topics: Topics, hub: str, pair: str, version: str) -> Device:
    """The device and its entities."""
    stats = topics.hub(hub, "stats")
    components = {
        "sessions": figure("Sessions", stats, "value_json.sessions", state_class="measurement", icon="mdi:lan-connect"),
        "acceptance": figure(
            "Acceptance",
            stats,
            "(100 * value_json.accepted / value_json.drafted) | round(1) if value_json.drafted else none",
            unit_of_measurement="%",
            state_class="measurement",
            icon="mdi:check-all",
        ),
        "tokens": figure(
            "Tokens",
            stats,
            "value_json.committed",
            unit_of_measurement="tokens",
            state_class="total_increasing",
            icon="mdi:counter",
        ),
        "forward": figure(
            "Last forward",
            stats,
            "(value_json.last_forward_us / 1000) | round(1)",
            unit_of_measurement="ms",
            device_class="duration",
            state_class="measurement",
        ),
        "faults": figure("Faults", stats, "value_json.faults", state_class="total_increasing", icon="mdi:alert"),
    }
    return Device(hub, "hub", f"hub, pair {pair}", version, topics.hub(hub, "status"), components)
