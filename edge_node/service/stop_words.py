"""What is no request to be thought about: a robot that is told to stop stops, whatever a hub or a queue is doing."""

from __future__ import annotations

import re
import unicodedata

from edge_node.dialogue.calls import Call, CallReader

_WORDS = frozenset({"stop", "halt", "freeze", "whoa"})
_BESIDE = frozenset(
    {"now", "it", "moving", "there", "right", "immediately", "please", "robot", "emergency", "everything"}
)
_MOST = 8  # words
_CALLS = ("RobotStop", "stop", "Stop")  # what a pair may call it, in the order in which they are tried


def is_stop(text: str) -> bool:
    """Whether a request is a word that stops, alone or beside words that only add weight."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    return 0 < len(words) <= _MOST and not _WORDS.isdisjoint(words) and _WORDS.union(_BESIDE).issuperset(words)


def stop_call(reader: CallReader) -> Call | None:
    """The call by which the pair's robots stop; None for a pair that has none."""
    return next((call for name in _CALLS if (call := reader.allowed(Call(name, {}))) is not None), None)
