"""What a node tells about a request, as the page may be told it: known fields of the right kinds, and no more of them than can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.fleet.facts import count, number, text
from shared.program import sentence

_SOURCES = ("drafted", "corrected", "target", "provisional")
_LONGEST = 100_000  # characters of an answer
_MOST_RUNS, _MOST_STEPS = 4_096, 256
_LONGEST_SENTENCE = 400
_COUNTS = ("tokens", "streamed", "rounds", "drafted", "accepted")
_TIMES = ("ms_per_token", "first_token_ms", "rtt_ms")


def piece(message: Mapping[str, Any]) -> dict[str, object]:
    """A message of an answer's stream."""
    told: dict[str, object] = {"text": _text(message), "sources": _runs(message)}
    if isinstance(message.get("waits_for"), str):
        told["waits_for"] = _sentence(message, "waits_for")
    return told


def answer(message: Mapping[str, Any]) -> dict[str, object]:
    """A whole answer, or why there is none."""
    return {
        "text": _text(message),
        "sources": _runs(message),
        "steps": _steps(message),
        "finish": text(message, "finish"),
        "error": _sentence(message, "error"),
        "notice": _sentence(message, "notice"),
        **{key: count(message, key) for key in _COUNTS},
        **{key: number(message, key) for key in _TIMES},
    }


def _text(message: Mapping[str, Any]) -> str:
    given = message.get("text")
    return given[:_LONGEST] if isinstance(given, str) else ""


def _sentence(message: Mapping[str, Any], key: str) -> str:
    given = message.get(key)
    return sentence(given[:_LONGEST_SENTENCE]) if isinstance(given, str) else ""


def _runs(message: Mapping[str, Any]) -> list[list[str | int]]:
    """Runs of characters with their source; those before the first that is none."""
    runs: list[list[str | int]] = []
    for run in _list(message, "sources")[:_MOST_RUNS]:
        match run:
            case [str() as source, int() as length] if source in _SOURCES and 0 < length <= _LONGEST:
                runs.append([source, length])
            case _:
                break
    return runs


def _steps(message: Mapping[str, Any]) -> list[list[int]]:
    """Rounds, each as five counts; those before the first that is none."""
    steps: list[list[int]] = []
    for step in _list(message, "steps")[-_MOST_STEPS:]:
        if not (isinstance(step, list) and len(step) == 5 and all(type(n) is int and 0 <= n <= _LONGEST for n in step)):
            break
        steps.append(step)
    return steps


def _list(message: Mapping[str, Any], key: str) -> list[Any]:
    given = message.get(key)
    return given if isinstance(given, list) else []
