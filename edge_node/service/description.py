"""A node as Home Assistant shows it: its figures, and what can be asked and pressed there."""

from __future__ import annotations

from edge_node.settings import Mode
from shared.discovery import Device, figure
from shared.topics import Topics

_MOST_STATE = 255  # characters of a state in Home Assistant
_CHAT = "home-assistant"  # of what is asked there


def description(topics: Topics, node: str, pair: str, version: str) -> Device:
    """The device and its entities."""

    def own(leaf: str) -> str:
        return topics.node(node, leaf)

    stats, answer = own("stats"), own("answer")
    said = "(value_json.say or value_json.error or value_json.finish)"
    diagnostic = {"entity_category": "diagnostic"}
    components = {
        "acceptance": figure(
            "Acceptance",
            stats,
            "(100 * value_json.acceptance) | round(1) if value_json.acceptance is number else none",
            unit_of_measurement="%",
            state_class="measurement",
            icon="mdi:check-all",
        ),
        "speed": figure(
            "Speed",
            stats,
            "value_json.tokens_per_s if value_json.tokens_per_s is number else none",
            unit_of_measurement="tokens/s",
            state_class="measurement",
            icon="mdi:speedometer",
        ),
        "round_trip": figure(
            "Round trip",
            stats,
            "value_json.rtt_ms if value_json.rtt_ms is number else none",
            unit_of_measurement="ms",
            device_class="duration",
            state_class="measurement",
        ),
        "mode": figure("Last mode", stats, "value_json.mode | default(none)", icon="mdi:source-branch"),
        "sessions": figure("Answering", stats, "value_json.answering", icon="mdi:message-processing"),
        "hub": {
            "platform": "binary_sensor",
            "name": "Hub reachable",
            "device_class": "connectivity",
            "state_topic": stats,
            "value_template": "{{ 'ON' if value_json.hub else 'OFF' }}",
            **diagnostic,
        },
        "ask": {
            "platform": "text",
            "name": "Ask",
            "command_topic": own("ask"),
            "command_template": f"{{{{ {{'text': value, 'chat': '{_CHAT}'}} | to_json }}}}",
            "max": _MOST_STATE,
            "icon": "mdi:comment-question",
        },
        "answer": {
            "platform": "event",
            "name": "Answer",
            "event_types": ["answer"],
            "state_topic": answer,
            "value_template": "{{ dict(value_json, event_type='answer') | to_json }}",
            "icon": "mdi:comment-text",
        },
        "said": {
            "platform": "sensor",
            "name": "Last answer",
            "state_topic": answer,
            "value_template": f"{{{{ {said} | truncate({_MOST_STATE - 5}, true) }}}}",
            "icon": "mdi:comment-text",
        },
        "cancel": {
            "platform": "button",
            "name": "Cancel",
            "command_topic": own("cancel"),
            "payload_press": "{}",
            "icon": "mdi:stop",
        },
        "set_mode": {
            "platform": "select",
            "name": "Mode",
            "options": [mode.value for mode in Mode],
            "command_topic": own("mode"),
            "state_topic": stats,
            "value_template": "{{ value_json.set_mode }}",
            "entity_category": "config",
        },
    }
    return Device(node, "node", f"node, pair {pair}", version, own("status"), components)
