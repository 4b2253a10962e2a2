"""What a node's service tells Prometheus: the sums of its `stats`, and how it stands at the moment of a scrape."""

from __future__ import annotations

from shared.metrics import Durations, Facts, Figure, Row, Spread

ROWS: tuple[Row, ...] = (
    Facts(
        "sled_node_info",
        "Always 1; its labels say which node this is, which pair it drafts for, and its version.",
        ("node", "pair", "version"),
    ),
    Figure(
        "sled_node_mqtt_connected", "1 while the service has its connection to the MQTT broker, else 0.", "connected"
    ),
    Figure(
        "sled_node_hub_reachable",
        "1 while a hub that serves the pair is online and has spoken within the last 3.5 seconds, else 0.",
        "has_hub",
    ),
    Figure("sled_node_requests_waiting", "Requests that wait for their turn.", "waiting"),
    Figure("sled_node_requests_answering", "Requests that are being answered.", "answering"),
    Figure("sled_node_chats", "Chats that the service remembers.", "chats"),
    Figure("sled_node_answers_total", "Requests that are over, whatever has become of them.", "answers"),
    Figure("sled_node_failed_answers_total", "Answers that an error ended.", "errors"),
    Figure(
        "sled_node_cancelled_answers_total",
        "Answers that somebody cancelled, or that ended with the service.",
        "cancelled",
    ),
    Figure("sled_node_busy_requests_total", "Requests that were turned away, as too many waited.", "busy"),
    Figure(
        "sled_node_refused_requests_total", "Requests that were refused, as nothing could be made of them.", "refused"
    ),
    Figure("sled_node_lost_messages_total", "Messages that were dropped unread, as too many came at once.", "lost"),
    Figure("sled_node_committed_tokens_total", "Tokens of answers, all of them the target's own.", "tokens"),
    Figure(
        "sled_node_streamed_tokens_total",
        "Tokens of answers that the hub decoded by itself; the others came of rounds with drafted tokens.",
        "streamed",
    ),
    Figure("sled_node_rounds_total", "Drafts that were sent to a hub.", "rounds"),
    Figure("sled_node_drafted_tokens_total", "Tokens that were drafted here and sent.", "drafted"),
    Figure("sled_node_accepted_tokens_total", "Drafted tokens that the hub accepted.", "accepted"),
    Figure(
        "sled_node_rejected_rounds_total",
        "Rounds in which the target wrote another token than the drafted one.",
        "rejected",
    ),
    Figure(
        "sled_node_reopened_sessions_total",
        "Times that an answer lost its hub or its session there, and went on in a new one.",
        "reopened",
    ),
    Durations(
        "sled_node_answer_seconds",
        "Seconds from a request's turn until its answer's last token, and the number of answers that have any.",
        "written",
        "written_s",
    ),
    Spread(
        "sled_node_first_token_seconds", "Seconds from a request's turn until its answer's first token.", "first_tokens"
    ),
    Figure(
        "sled_node_streaming",
        "1 where most tokens of the last answer were streamed by the hub, 0 where drafting brought them.",
        "streams",
    ),
    Figure(
        "sled_node_draft_acceptance_ratio",
        "Share of the last 256 or so greedy tokens that the draft model said as the target did, 0 to 1.",
        "draft_acceptance",
    ),
    Figure("sled_node_draft_promised_ratio", "The same share as the pair's manifest promises it.", "draft_promised"),
    Figure(
        "sled_node_draft_fallen",
        "1 once the draft model is accepted far less often than promised, until it is back.",
        "draft_fallen",
    ),
)
