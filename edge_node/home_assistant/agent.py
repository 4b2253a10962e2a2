"""What is done about an answer's calls at home: nothing that was not asked for, and nothing twice; what opens the house is asked back about."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.carrier import Carrier, NeedsYes, Rest, Result
from edge_node.home_assistant.guard import ASKING, is_question, unsaid
from edge_node.home_assistant.home import Home
from edge_node.home_assistant.listing import listing
from edge_node.home_assistant.wording import key
from edge_node.settings import GUARDED

_CONFIRMED_S = 45.0  # seconds within which a yes is one to what was asked back
_YES = frozenset(
    {
        "yes",
        "yeah",
        "yep",
        "yup",
        "sure",
        "ok",
        "okay",
        "do it",
        "go ahead",
        "yes do it",
        "yes go ahead",
        "yes do",
        "of course",
        "confirm",
    }
)
_NO = frozenset(
    {"no", "nope", "no thanks", "no thank you", "no don't", "don't", "do not", "cancel", "stop", "never mind"}
)
_OURS = "Hass"  # what the names of Home Assistant's calls begin with
_SEEN_BEFORE = 2  # requests of the chat that choose what is listed, beside the new one


class Follower(Protocol):
    """`HomeFollower`."""

    home: Home | None
    trouble: str


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
            {
                "name": each.call.name,
                "arguments": each.call.arguments,
                "done": each.done,
                "say": each.say,
                "targets": list(each.targets),
            }
            for each in self.results
        ]
        return {"results": results, "asks": self.question is not None}


class HomeAgent:
    """Any thread may use it."""

    def __init__(
        self,
        follower: Follower,
        rest: Rest,
        *,
        unasked: Sequence[str],
        most_listed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unasked` are the domains of GUARDED that are switched without asking back, `most_listed` the devices in a list."""
        self._follower, self._clock = follower, clock
        self._carrier = Carrier(rest, frozenset(GUARDED).difference(unasked))
        self._most_listed = most_listed

    def system(self, request: str, earlier: Sequence[str]) -> str | None:
        """The list of the home for a request behind `earlier` ones of its chat; None where there is nothing to list."""
        home = self._follower.home
        said = [*earlier[-_SEEN_BEFORE:], request]
        return None if home is None else listing(home, self._most_listed, said) or None

    def reply(self, request: str, question: Question | None, last: str) -> Outcome | None:
        """What becomes of a yes or a no; None where the request is neither, or may be to what the pair has asked in its `last` answer."""
        said = key(request).removesuffix(" please").removeprefix("please ")
        if said not in _YES | _NO or (question is None and last.rstrip().endswith("?")):
            return None
        if question is None:
            return Outcome("I have not asked anything.")
        if said in _NO:
            return Outcome("All right.")
        if self._clock() > question.until:
            return Outcome("That was too long ago, so I have changed nothing. Please ask again.")
        results = [self._carried_out(call, is_confirmed=True) for call in question.calls]
        return Outcome(_said(results), tuple(results))

    def carry_out(self, calls: Sequence[Call], request: str, heard: str, *, can_confirm: bool) -> Outcome | None:
        """Carry out the calls of an answer; None where it has none for Home Assistant.

        `heard` is all that the calls' words may be from: the request, its chat and the list. `can_confirm`: whether somebody can
        say yes to what is asked back.
        """
        own = [call for call in calls if call.name.startswith(_OURS)]
        if not own:
            return None
        results: list[Result] = []
        waiting: list[tuple[Call, str]] = []
        asks = is_question(request)
        for call in own:
            if call.name == "HassNevermind":
                results.append(Result(call, done=True, say="All right."))
            elif asks and call.name not in ASKING:
                results.append(Result(call, done=False, say="That was a question, so I have changed nothing."))
            elif missing := unsaid(call, heard):
                say = f"I have not heard “{missing}”, so I have changed nothing."
                results.append(Result(call, done=False, say=say))
            else:
                try:
                    results.append(self._carried_out(call, is_confirmed=False))
                except NeedsYes as needed:
                    if can_confirm:
                        waiting.append((call, str(needed)))
                    else:
                        say = f"I {needed} only after a yes; ask for it in a chat."
                        results.append(Result(call, done=False, say=say))
        others = tuple(call for call in calls if not call.name.startswith(_OURS))
        question, asked = None, ""
        if waiting:
            question = Question(tuple(call for call, _ in waiting), self._clock() + _CONFIRMED_S)
            asked = f"Shall I {' and '.join(phrase for _, phrase in waiting)}?"
        return Outcome(" ".join(filter(None, [_said(results), asked])), tuple(results), question, others)

    def _carried_out(self, call: Call, *, is_confirmed: bool) -> Result:
        home = self._follower.home
        if home is None:
            return Result(call, done=False, say=f"I can't do that now: {self._follower.trouble}.")
        return self._carrier.carry_out(call, home, is_confirmed=is_confirmed)


def _said(results: Sequence[Result]) -> str:
    """What is said of several calls, each sentence once."""
    return " ".join(dict.fromkeys(filter(None, (result.say for result in results))))
