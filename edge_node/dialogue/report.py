"""An answer as one JSON object, for programs."""

from __future__ import annotations

from dataclasses import asdict, astuple
from typing import Any

from edge_node.dialogue.answer import Answer
from edge_node.dialogue.calls import CallReader, calls_that_may_be_made
from edge_node.dialogue.source_runs import told_runs


def told_doubt(answer: Answer) -> str:
    """What a person is told of calls that the pair is not sure of, or that name what the home has not."""
    if answer.doubt.lacks:
        return answer.question
    return f"not sure ({100 * (answer.confidence or 0):.0f} %): {answer.question}"


def answer_json(answer: Answer, reader: CallReader, error: str = "") -> dict[str, Any]:
    """Its text, calls and figures; `error` is the sentence of what broke it off."""
    stats = answer.stats
    reading = reader.read(answer.meant + answer.provisional)
    calls = calls_that_may_be_made(reader, answer.meant, answer.provisional, are_doubted=bool(answer.question))
    return {
        "text": answer.text + answer.provisional,
        "provisional": answer.provisional,
        "sources": told_runs(answer.runs, 0, len(answer.text), len(answer.provisional)),
        "calls": list(map(asdict, calls)),
        "say": answer.question or reading.say,
        "confidence": None if answer.confidence is None else round(answer.confidence, 3),
        "doubted_calls": [asdict(call) for call in reading.calls if call not in calls] if answer.question else [],
        "refused_calls": [{"text": line.text, "error": line.error} for line in reading.refused],
        "finish": "error" if error else answer.ending.value,
        "mode": stats.mode,
        "prompt_tokens": answer.prompt_tokens,
        "tokens": stats.tokens,
        "streamed": stats.streamed,
        "rounds": stats.rounds,
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "steps": [astuple(step) for step in stats.steps],
        "ms_per_token": round(stats.ms_per_token, 3),
        "first_token_ms": round(1e3 * stats.first_token_s, 3),
        "rtt_ms": round(stats.rtt_ms, 3),
        "seed": answer.sampling.seed,
        "temperature": answer.sampling.temperature,
        "notice": answer.notice,
        **({"settled": [asdict(turn) for turn in answer.settled]} if answer.settled else {}),
        **({"error": error} if error else {}),
    }
