"""A chat: the turns that it begins with, and what the user is told of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Tool, Turn
from edge_node.rounds.round_loop import RoundLoop
from edge_node.settings import Mode, NodeSettings
from shared.messages import Fault, FaultCode
from shared.pair import load_pair
from tests.scripted_hub import ScriptedHub


class CountingLoop:
    """Counts the sessions that were left."""

    left = 0

    def reset(self) -> None:
        self.left += 1


def test_a_renewed_chat_keeps_its_system_message_when_cleared() -> None:
    loop = CountingLoop()
    conversation = Conversation(cast(Any, None), cast(Any, loop), "Areas: hall")
    for system, opening in (("Areas: barn", [Turn("system", "Areas: barn")]), (None, []), ("", [])):
        conversation.turns.append(Turn("user", "hello"))
        conversation.renew(system)
        assert conversation.turns == opening
        conversation.turns.append(Turn("user", "hello"))
        conversation.clear()
        assert conversation.turns == opening
    assert loop.left == 6


def chat_with(hub: ScriptedHub, tokenizer: ChatTokenizer) -> Conversation:
    settings = NodeSettings(name="node", mode=Mode.STREAM, credit=1)
    loop = RoundLoop(hub, settings, None, clock=hub.clock)  # type: ignore[arg-type]  # what the hub's scripts stand in for
    return Conversation(tokenizer, loop)


def test_a_prompt_that_fits_is_written_once_and_one_that_does_not_is_written_again_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.scripted_hub.CONTEXT", 120)
    hub, tokenizer, written = ScriptedHub(lambda ids: 1000 + len(ids) % 50), ChatTokenizer(load_pair("home")), []
    prompt = tokenizer.prompt

    def counted(turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> list[int]:
        written.append([turn.content for turn in turns if turn.role == "user"])
        return prompt(turns, tools)

    monkeypatch.setattr(tokenizer, "prompt", counted)
    conversation = chat_with(hub, tokenizer)
    requests = ["what time is it?", "what date is it?", "what day is it?", "how is the weather?"]
    for request in requests:
        for _ in conversation.ask(request, Generation(max_tokens=20), Answer()):
            pass
    whole = [requests[:count] for count in (1, 2, 3)]
    assert written[:3] == whole, "no other prompt is written while all turns fit"
    assert written[3:5] == [requests, requests[3:]]
    assert [turn.content for turn in conversation.turns if turn.role == "user"] == requests[3:]


def test_the_user_is_told_of_a_full_context_and_of_other_bits_in_one_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.scripted_hub.CONTEXT", 120)
    hub = ScriptedHub(lambda ids: 1000 + len(ids) % 50)
    conversation = chat_with(hub, ChatTokenizer(load_pair("home")))
    hub.bits, notices = "0 threads", []
    for number in range(1, 5):
        answer = Answer()
        for _ in conversation.ask("what time is it?", Generation(max_tokens=20), answer):
            if not answer.stats.reopened:
                hub.bits = f"{number} threads"
                hub._coming.appendleft((0.0, Fault(FaultCode.UNKNOWN_SESSION)))
        notices.append(answer.notice)
    moved = "the answer went on at hub 'hub', which computes a little differently"
    assert notices[0].startswith(moved)
    assert any(f"earlier turns are forgotten; {moved}" in notice for notice in notices)
