"""What a program with tools of its own is told where the pair is not sure, and what a yes leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import Tool, Turn
from edge_node.gateway.answering import Answering, Finished
from edge_node.gateway.wanted import Wanted
from edge_node.service.requests import Asked

ON: dict[str, Any] = {"name": "HassTurnOn", "arguments": {"area": "kitchen"}}
QUESTION = "Did you mean: turn on the kitchen?"
TOOL: Tool = {"type": "function", "function": {"name": "HassTurnOn", "description": "", "parameters": {}}}


class UnsureService:
    """Is sure of nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, asked: Asked, asker: str, to: Callable[[dict[str, Any]], object]) -> None:
        self.asked.append(asked.text)
        message = {"finish": "end", "text": "", "say": QUESTION, "calls": [], "doubted_calls": [ON]}
        to({**message, "prompt_tokens": 9, "tokens": 9})

    def cancel(self, asker: str, request_id: str) -> None:
        raise AssertionError("every answer is whole")


def told(answering: Answering, *turns: Turn, tools: tuple[Tool, ...] = (TOOL,)) -> list[str | Finished]:
    async def gone() -> bool:
        return False

    async def collected() -> list[str | Finished]:
        wanted = Wanted(None, turns, Generation(), tools=tools)
        return [each async for each in answering.answer(wanted, gone)]

    return asyncio.run(collected())


def test_a_yes_makes_the_calls_that_were_asked_back_about_and_makes_them_once() -> None:
    service = UnsureService()
    answering = Answering(service, "home", 100, has_calls=True)
    request = Turn("user", "kitchen, go")
    say, finished = told(answering, request)
    assert say == QUESTION
    assert isinstance(finished, Finished)
    assert finished.calls == ()
    agreed = (request, Turn("assistant", QUESTION), Turn("user", "Yes, please!"))
    (done,) = told(answering, *agreed)
    assert isinstance(done, Finished)
    assert done.calls == (Call(**ON),)
    assert service.asked == ["kitchen, go"]
    told(answering, *agreed)
    assert service.asked == ["kitchen, go", "Yes, please!"]


def test_a_no_changes_nothing_and_another_request_is_for_the_pair() -> None:
    for reply, answered in (("no", False), ("what time is it", True)):
        service = UnsureService()
        answering = Answering(service, "home", 100, has_calls=True)
        request = Turn("user", "kitchen, go")
        told(answering, request)
        *_, finished = told(answering, request, Turn("assistant", QUESTION), Turn("user", reply))
        assert isinstance(finished, Finished)
        assert finished.calls == ()
        assert (reply in service.asked) == answered


def test_a_yes_to_what_nobody_asked_is_for_the_pair() -> None:
    service = UnsureService()
    answering = Answering(service, "home", 100, has_calls=True)
    told(answering, Turn("user", "x"), Turn("assistant", QUESTION), Turn("user", "yes"))
    assert service.asked == ["yes"]
