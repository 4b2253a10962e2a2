"""What is done about an answer's calls at home: nothing that was not asked for, and nothing twice; what opens the house is asked back about."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edge_node.dialogue.calls import Call, stops
from edge_node.home_assistant.carrier import Carrier, NeedsYes, Result, YesFor
from edge_node.home_assistant.confirming import CONFIRMED_S, NOT_SURE, Outcome, Question, reply_to
from edge_node.home_assistant.follower import HomeFollower
from edge_node.home_assistant.guard import ASKING, is_for_many, is_question, not_at_once, unsaid
from edge_node.home_assistant.listing import listing
from edge_node.home_assistant.rest import HomeAssistantRest
from edge_node.settings import GUARDED

_OURS = "Hass"  # what the names of Home Assistant's calls begin with
_SEEN_BEFORE = 2  # requests of the chat that choose what is listed, beside the new one


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
        """What becomes of a yes or a no, as `reply_to` has it."""
        return reply_to(request, question, last, self._clock(), self._confirmed)

    def _confirmed(self, question: Question) -> Outcome:
        own, others = _sorted(question.calls)
        results = [self._carried_out(call, YesFor.NOTHING, many=True) for call in own]
        return Outcome(_said(results) or "All right.", tuple(results), others=others)

    def carry_out(
        self,
        calls: Sequence[Call],
        request: str,
        earlier: Sequence[str],
        listed: str,
        *,
        can_confirm: bool,
        doubt: str = "",
    ) -> Outcome | None:
        """Carry out the calls of an answer; None where it has none for Home Assistant.

        The calls' words must be from the request or the last of the `earlier` ones in its chat, or be names that are `listed`.
        `can_confirm`: whether somebody can say yes to what is asked back. `doubt` is what is asked where the pair is not sure of them, if it
        is also about others than Home Assistant's: nothing is changed before a yes, then.
        """
        own, others = _sorted(calls)
        if not own:
            return None
        results: list[Result] = []
        waiting: list[tuple[Call, NeedsYes]] = []
        many = is_for_many(request)
        said = "\n".join([*earlier[-_SEEN_BEFORE:], request])
        for call in own:
            if call.name == "HassNevermind":
                results.append(Result(call, done=True, say="All right."))
            elif wrong := _refusal(call, request, said, listed):
                results.append(Result(call, done=False, say=f"{wrong}, so I have changed nothing."))
            else:
                try:
                    results.append(self._carried_out(call, YesFor.ALL if doubt else YesFor.GUARDED, many=many))
                except NeedsYes as needed:
                    waiting.append((call, needed))
        made = tuple(filter(stops, others)) if doubt else others
        unsure = tuple(call for call in others if call not in made)
        if not can_confirm:
            results += (Result(call, done=False, say=_unconfirmed(needed)) for call, needed in waiting)
            waiting, unsure = [], ()
        waits = (*(call for call, _ in waiting), *unsure)
        question, asked = None, ""
        if waits:
            question = Question(waits, self._clock() + CONFIRMED_S)
            asked = doubt if unsure else _question([needed for _, needed in waiting])
        return Outcome(" ".join(filter(None, [_said(results), asked])), tuple(results), question, made)

    def _carried_out(self, call: Call, needs_yes: YesFor, *, many: bool) -> Result:
        home = self._follower.home
        if home is None:
            return Result(call, done=False, say=f"I can't do that now: {self._follower.trouble}.")
        return self._carrier.carry_out(call, home, needs_yes, many=many)


def _refusal(call: Call, request: str, said: str, listed: str) -> str:
    """Why a call may not be carried out, whatever it is about; nothing if it may."""
    if call.name not in ASKING:
        if is_question(request):
            return "That was a question"
        if wrong := not_at_once(call, request):
            return wrong
    missing = unsaid(call, said, listed)
    return f"I have not heard “{missing}”" if missing else ""


def _sorted(calls: Sequence[Call]) -> tuple[list[Call], tuple[Call, ...]]:
    """Home Assistant's calls, each once, as what is said twice is meant once; and the others."""
    own: list[Call] = []
    for call in calls:
        if call.name.startswith(_OURS) and call not in own:
            own.append(call)
    return own, tuple(call for call in calls if not call.name.startswith(_OURS))


def _question(waiting: Sequence[NeedsYes]) -> str:
    """What is asked back."""
    would = " and ".join(map(str, waiting))
    return f"Shall I {would}?" if any(each.opens for each in waiting) else f"Did you mean: {would}?"


def _unconfirmed(needed: NeedsYes) -> str:
    """What is said where nobody can say yes."""
    return f"I would {needed} after a yes only; ask for it in a chat." if needed.opens else NOT_SURE


def _said(results: Sequence[Result]) -> str:
    """What is said of several calls, each sentence once."""
    return " ".join(dict.fromkeys(filter(None, (result.say for result in results))))
