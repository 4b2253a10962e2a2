"""What is done about an answer's calls at home: nothing that was not asked for, and nothing twice; what opens the house is asked back about."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.carrier import Carrier, NeedsYes, Result
from edge_node.home_assistant.follower import HomeFollower
from edge_node.home_assistant.guard import ASKING, is_for_many, is_question, not_at_once, unsaid
from edge_node.home_assistant.listing import listing
from edge_node.home_assistant.rest import HomeAssistantRest
from edge_node.home_assistant.wording import key
from edge_node.settings import GUARDED

_CONFIRMED_S = 45.0  # seconds within which a yes is one to what was asked back
_YES = re.compile(
    r"(?:please )?(?:yes|yeah|yep|yup|sure|of course|confirm|do it|go ahead|ok|okay)"
    r"(?: (?:please|sure|do|do it|do that|go ahead|(?:open|close|lock|unlock) (?:it|them)|turn (?:it|them) (?:on|off)))*"
)
_NO = re.compile(
    r"(?:no|nope|no thanks|no thank you|don't|do not|cancel|stop|never mind|nevermind)(?: (?:please|don't|thanks))*"
)
_AGREED = re.compile(r"ok|okay|sure|of course")  # what people say of an answer too
_OURS = "Hass"  # what the names of Home Assistant's calls begin with
_SEEN_BEFORE = 2  # requests of the chat that choose what is listed, beside the new one


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
        follower: HomeFollower,
        rest: HomeAssistantRest,
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
        said = key(request)
        yes, no = _YES.fullmatch(said), _NO.fullmatch(said)
        if not (yes or no) or (question is None and last.rstrip().endswith("?")):
            return None
        if question is None:
            return Outcome("All right." if no or _AGREED.fullmatch(said) else "I have not asked anything.")
        if no:
            return Outcome("All right.")
        if self._clock() > question.until:
            return Outcome("That was too long ago, so I have changed nothing. Please ask again.")
        results = [self._carried_out(call, is_confirmed=True, many=True) for call in question.calls]
        return Outcome(_said(results), tuple(results))

    def carry_out(
        self, calls: Sequence[Call], request: str, earlier: Sequence[str], listed: str, *, can_confirm: bool
    ) -> Outcome | None:
        """Carry out the calls of an answer; None where it has none for Home Assistant.

        The calls' words must be from the request or the last of the `earlier` ones in its chat, or be names that are `listed`.
        `can_confirm`: whether somebody can say yes to what is asked back.
        """
        own: list[Call] = []
        for call in calls:
            if call.name.startswith(_OURS) and call not in own:  # what is said twice is meant once
                own.append(call)
        if not own:
            return None
        results: list[Result] = []
        waiting: list[tuple[Call, str]] = []
        many = is_for_many(request)
        said = "\n".join([*earlier[-_SEEN_BEFORE:], request])
        for call in own:
            if call.name == "HassNevermind":
                results.append(Result(call, done=True, say="All right."))
            elif wrong := _refusal(call, request, said, listed):
                results.append(Result(call, done=False, say=f"{wrong}, so I have changed nothing."))
            else:
                try:
                    results.append(self._carried_out(call, is_confirmed=False, many=many))
                except NeedsYes as needed:
                    waiting.append((call, str(needed)))
        if not can_confirm:
            says = ((call, f"I would {phrase} after a yes only; ask for it in a chat.") for call, phrase in waiting)
            results += (Result(call, done=False, say=say) for call, say in says)
            waiting = []
        others = tuple(call for call in calls if not call.name.startswith(_OURS))
        question, asked = None, ""
        if waiting:
            question = Question(tuple(call for call, _ in waiting), self._clock() + _CONFIRMED_S)
            asked = f"Shall I {' and '.join(phrase for _, phrase in waiting)}?"
        return Outcome(" ".join(filter(None, [_said(results), asked])), tuple(results), question, others)

    def _carried_out(self, call: Call, *, is_confirmed: bool, many: bool) -> Result:
        home = self._follower.home
        if home is None:
            return Result(call, done=False, say=f"I can't do that now: {self._follower.trouble}.")
        return self._carrier.carry_out(call, home, is_confirmed=is_confirmed, many=many)


def _refusal(call: Call, request: str, said: str, listed: str) -> str:
    """Why a call may not be carried out, whatever it is about; nothing if it may."""
    if call.name not in ASKING:
        if is_question(request):
            return "That was a question"
        if wrong := not_at_once(call, request):
            return wrong
    missing = unsaid(call, said, listed)
    return f"I have not heard “{missing}”" if missing else ""


def _said(results: Sequence[Result]) -> str:
    """What is said of several calls, each sentence once."""
    return " ".join(dict.fromkeys(filter(None, (result.say for result in results))))
