"""What waits for a yes, and what becomes of a yes and a no."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.carrier import Result
from edge_node.home_assistant.wording import key

CONFIRMED_S = 45.0  # seconds within which a yes is one to what was asked back
NOT_SURE = "I am not sure that I have understood, so I have changed nothing."
_YES = re.compile(
    r"(?:please )?(?:yes|yeah|yep|yup|sure|of course|confirm|do it|go ahead|ok|okay)"
    r"(?: (?:please|sure|do|do it|do that|go ahead|(?:open|close|lock|unlock) (?:it|them)|turn (?:it|them) (?:on|off)))*"
)
_NO = re.compile(
    r"(?:no|nope|no thanks|no thank you|don't|do not|cancel|stop|never mind|nevermind)(?: (?:please|don't|thanks))*"
)
_AGREED = re.compile(r"ok|okay|sure|of course")  # what people say of an answer too


@dataclass(frozen=True)
class Question:
    """Calls that wait for a yes."""

    calls: tuple[Call, ...]
    until: float  # by time.monotonic


@dataclass(frozen=True)
class Outcome:
    """What became of an answer's calls: what is to be said, and what a yes would be to."""

    say: str
    results: tuple[Result, ...] = ()
    question: Question | None = None
    others: tuple[Call, ...] = ()  # calls that are not Home Assistant's

    def as_json(self) -> dict[str, Any]:
        """What an answer tells of it."""
        results = [
            {**asdict(each.call), "done": each.done, "say": each.say, "targets": list(each.targets)}
            for each in self.results
        ]
        return {"results": results, "asks": self.question is not None}


def reply_to(
    request: str, question: Question | None, last: str, now: float, confirmed: Callable[[Question], Outcome]
) -> Outcome | None:
    """What becomes of a yes or a no; None where the request is neither, or may be to what the pair has asked in its `last` answer.

    `confirmed` carries out what was asked back about.
    """
    said = key(request)
    yes, no = _YES.fullmatch(said), _NO.fullmatch(said)
    if not (yes or no) or (question is None and last.rstrip().endswith("?")):
        return None
    if question is None:
        return Outcome("All right." if no or _AGREED.fullmatch(said) else "I have not asked anything.")
    if no:
        return Outcome("All right.")
    if now > question.until:
        return Outcome("That was too long ago, so I have changed nothing. Please ask again.")
    return confirmed(question)
