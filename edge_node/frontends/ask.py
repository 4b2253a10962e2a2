"""One request and its answer, for scripts."""

from __future__ import annotations

from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.calls import CallReader, calls_that_may_be_made
from edge_node.dialogue.conversation import Answer, Generation
from edge_node.frontends.request import check_options, request_text
from edge_node.settings import NodeSettings
from shared.errors import SledError
from shared.pair import load_pair
from shared.program import sentence
from shared.streams import note, put, put_json

_MARK = "[provisional] "  # in front of text that no hub has verified


def ask(settings: NodeSettings, generation: Generation, system: str | None, request: str, *, as_json: bool) -> None:
    """Print the answer as it grows, or one JSON object at its end. The request "-" is read from standard input.

    What is waited for is told on standard error. Text that no hub has verified is marked. Raises SledError; what was answered
    by then is printed all the same.
    """
    check_options(system, generation)
    text = request_text(request)
    reader = CallReader(load_pair(settings.pair)) if as_json else None
    answer = Answer()
    with connected(settings, system, _tell) as conversation:
        try:
            for piece in conversation.ask(text, generation, answer):
                if reader is None:
                    put(piece)
        except SledError as error:
            if reader is not None:
                put_json(_figures(answer, reader, str(error)))
            elif answer.text:
                put("\n")
            raise
        # Leaving the connection takes a moment: the answer is printed before.
        if reader is not None:
            put_json(_figures(answer, reader))
        else:
            put(f"{_MARK}{answer.provisional}\n" if answer.provisional else "\n")


def _tell(what: str) -> None:
    note(f"sled-node: waiting: {sentence(what)}" if what else "sled-node: going on")


def _figures(answer: Answer, reader: CallReader, error: str = "") -> dict[str, Any]:
    stats = answer.stats
    reading = reader.read(answer.text + answer.provisional)
    calls = calls_that_may_be_made(reader, answer.text, answer.provisional)
    return {
        "text": answer.text + answer.provisional,
        "provisional": answer.provisional,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in calls],
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
        **({"error": error} if error else {}),
    }
