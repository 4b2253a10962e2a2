"""What a hub tells Prometheus: the counters of its `stats`, and how it stands at the moment of a scrape."""

from __future__ import annotations

from shared.metrics import MICROSECOND, Durations, Facts, Figure, Row

ROWS: tuple[Row, ...] = (
    Facts(
        "sled_hub_info",
        "Always 1; its labels say which hub this is, what it serves on what device, and its version.",
        ("hub", "pair", "target", "device", "version"),
    ),
    Figure("sled_hub_mqtt_connected", "1 while the hub has its connection to the MQTT broker, else 0.", "connected"),
    Figure(
        "sled_hub_stats_age_seconds",
        "Seconds since the hub wrote its stats topic last; nodes leave a hub that is silent for 1.6.",
        "stats_age_s",
    ),
    Figure("sled_hub_sessions", "Open sessions, idle ones included.", "sessions"),
    Figure("sled_hub_nodes", "Nodes that have an open session.", "nodes"),
    Figure("sled_hub_unread_messages", "Messages of nodes that wait to be read.", "unread"),
    Figure("sled_hub_kv_size_bytes", "Memory for K/V, held or not: the setting kv_memory.", "kv_bytes"),
    Figure(
        "sled_hub_kv_held_bytes",
        "Memory for K/V that sessions hold; idle ones let go of theirs when others need it.",
        "held_bytes",
    ),
    Figure(
        "sled_hub_drafts_total",
        "Drafts of nodes that were taken in, repeated ones included; without drafted tokens they ask for text.",
        "drafts",
    ),
    Figure("sled_hub_rounds_total", "Drafts that were answered with tokens of the target.", "rounds"),
    Figure("sled_hub_speculated_rounds_total", "Rounds that came with drafted tokens.", "speculated"),
    Figure(
        "sled_hub_committed_tokens_total",
        "Tokens of the target that sessions were given, accepted drafted ones included.",
        "committed",
    ),
    Figure("sled_hub_drafted_tokens_total", "Drafted tokens that the target verified.", "drafted"),
    Figure("sled_hub_accepted_tokens_total", "Drafted tokens that were the target's own.", "accepted"),
    Figure(
        "sled_hub_trimmed_tokens_total",
        "Drafted tokens that were not verified, as they would not have paid for their place.",
        "trimmed",
    ),
    Figure("sled_hub_early_verdicts_total", "Early verdicts that were sent.", "early"),
    Figure("sled_hub_right_early_verdicts_total", "Early verdicts whose verdict was the same.", "early_right"),
    Durations(
        "sled_hub_forward_seconds",
        "Seconds that forwards of the target over a batch took, sampling included, and the number of forwards.",
        "forwards",
        "forward_us",
        MICROSECOND,
    ),
    Figure("sled_hub_prefill_forwards_total", "Forwards in which a prompt was computed.", "prefill_forwards"),
    Figure("sled_hub_model_seconds_total", "Seconds of forwards in the model itself.", "model_us", MICROSECOND),
    Figure("sled_hub_guiding_seconds_total", "Seconds in which grammars were followed.", "guiding_us", MICROSECOND),
    Figure(
        "sled_hub_waited_seconds_total",
        "Seconds without work, or waiting for more drafts to share a forward; what is left of the time the engine was busy.",
        "waited_us",
        MICROSECOND,
    ),
    Figure(
        "sled_hub_energy_joules_total",
        "Joules of the hub's machine since it started, as far as anything measures or states them.",
        "energy_j",
    ),
    Figure("sled_hub_forward_energy_joules_total", "Those of them that fell to forwards.", "forward_j"),
    Figure("sled_hub_prompt_tokens_total", "Tokens of prompts that were computed.", "prefill_tokens"),
    Figure(
        "sled_hub_shared_prompt_tokens_total",
        "Tokens of prompts that were not computed, since another session had computed the same beginning.",
        "shared_tokens",
    ),
    Figure("sled_hub_faults_total", "Faults that nodes were told: they open a session anew, or give up.", "faults"),
    Figure(
        "sled_hub_evicted_sessions_total", "Sessions that were forgotten for others or for their silence.", "evicted"
    ),
    Figure(
        "sled_hub_preempted_sessions_total",
        "Times that a session in the middle of an answer lost its K/V to an older one, which is computed anew.",
        "preempted",
    ),
    Figure("sled_hub_malformed_messages_total", "Messages that could not be read, and were dropped.", "malformed"),
    Figure("sled_hub_dropped_messages_total", "Messages that had no room, of nodes and to them.", "dropped"),
    Figure(
        "sled_hub_handler_errors_total", "Messages that a mistake in the hub kept from being handled.", "handler_errors"
    ),
    Figure("sled_hub_refused_publishes_total", "Messages that the broker did not take.", "refused_publishes"),
    Figure("sled_hub_delivered_bytes_total", "Bytes of the pair's files that were sent to nodes.", "delivered_bytes"),
    Figure("sled_hub_refused_fetches_total", "Requests for files that had no room, or were none.", "delivery_refused"),
)
