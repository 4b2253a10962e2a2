"""One request and its answer, for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any

from edge_node.assembly import connected
from edge_node.dialogue.calls import CallReader, calls_that_may_be_made
from edge_node.dialogue.conversation import Answer, Generation
from edge_node.settings import NodeSettings
from shared.errors import SledError
from shared.pair import load_pair

_MARK = "[provisional] "  # in front of text that no hub has verified


def ask(settings: NodeSettings, generation: Generation, system: str | None, request: str, *, as_json: bool) -> None:
    """Print the answer as it grows, or one JSON object at its end. The request "-" is read from standard input.

    What is waited for is told on standard error. Text that no hub has verified is marked. Raises SledError; what was answered
    by then is printed all the same.
    """
    reader = CallReader(load_pair(settings.pair)) if as_json else None
    answer = Answer()
    text = sys.stdin.read().strip() if request == "-" else request
    with connected(settings, system, _tell) as conversation:
        try:
            for piece in conversation.ask(text, generation, answer):
                if reader is None:
                    sys.stdout.write(piece)
                    sys.stdout.flush()
        except SledError as error:
            if reader is not None:
                sys.stdout.write(_line(answer, reader, str(error)))
            elif answer.text:
                sys.stdout.write("\n")
            raise
        # Leaving the connection takes a moment: the answer is printed before.
        marked = f"{_MARK}{answer.provisional}" if answer.provisional else ""
        sys.stdout.write(_line(answer, reader) if reader is not None else f"{marked}\n")
        sys.stdout.flush()


def _tell(what: str) -> None:
    sys.stderr.write(f"sled-node: waiting: {what}\n" if what else "sled-node: going on\n")
    sys.stderr.flush()


def _line(answer: Answer, reader: CallReader, error: str = "") -> str:
    return f"{json.dumps(_figures(answer, reader, error), ensure_ascii=False)}\n"


def _figures(answer: Answer, reader: CallReader, error: str) -> dict[str, Any]:
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
