"""One request and its answer, for scripts."""

from __future__ import annotations

from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.calls import CallReader, ParsedAnswer
from edge_node.dialogue.conversation import Answer, Generation
from edge_node.frontends.request import check_options, request_text
from edge_node.settings import NodeSettings
from shared.pair import load_pair
from shared.streams import put, put_json


def ask(settings: NodeSettings, generation: Generation, system: str | None, request: str, *, as_json: bool) -> None:
    """Print the answer as it grows, or one JSON object at its end. The request "-" is read from standard input.

    Raises SledError.
    """
    check_options(system, generation)
    text = request_text(request)
    reader = CallReader(load_pair(settings.pair)) if as_json else None
    answer = Answer()
    with connected(settings, system) as conversation:
        for piece in conversation.ask(text, generation, answer):
            if reader is None:
                put(piece)
        # Leaving the connection takes a moment: the answer is printed before.
        if reader is None:
            put("\n")
        else:
            put_json(_figures(answer, reader.read(answer.text)))


def _figures(answer: Answer, reading: ParsedAnswer) -> dict[str, Any]:
    stats = answer.stats
    return {
        "text": answer.text,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in reading.calls],
        "say": reading.say,
        "refused_calls": [{"text": line.text, "error": line.error} for line in reading.refused],
        "mode": stats.mode,
        "tokens": stats.tokens,
        "streamed": stats.streamed,
        "rounds": stats.rounds,
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "ms_per_token": round(stats.ms_per_token, 3),
        "first_token_ms": round(1e3 * stats.first_token_s, 3),
        "rtt_ms": round(stats.rtt_ms, 3),
        "seed": answer.sampling.seed,
        "temperature": answer.sampling.temperature,
        "notice": answer.notice,
    }
