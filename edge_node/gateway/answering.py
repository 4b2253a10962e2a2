"""Between HTTP, which is asynchronous, and the service, whose workers are threads: requests go in, pieces of answers come out."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from edge_node.dialogue.calls import Call, in_a_line
from edge_node.dialogue.tokenizer import Turn
from edge_node.gateway.tool_text import TaggedText, calls_among, calls_in_lines, in_tags
from edge_node.gateway.wanted import Unanswerable, Wanted, WriteCall, read_grammar
from edge_node.home_assistant.confirming import CONFIRMED_S, Outcome, Question, reply_to
from edge_node.service.requests import Asked
from shared.grammar import Grammar

_ASKER = ".http"  # who asks; no user of a broker is called so
_LOOK_S = 0.25  # seconds between two looks whether a client that waits is still there
_NO_SUCH_TOOL = "I can't do that here."
_REMEMBERED = 256  # answers with calls, and questions
V = TypeVar("V")
_LONGEST_ERROR = 500  # characters of what a tool says
_FIGURES = (
    "mode", "rounds", "drafted", "accepted", "streamed", "tokens", "ms_per_token", "first_token_ms", "rtt_ms", "seed", "temperature", "notice",
)  # fmt: skip
_REFUSED: dict[str, tuple[int, str | None]] = {
    "GrammarError": (400, None),
    "PairError": (400, None),  # the chat template refuses the messages
    "PromptTooLong": (400, "context_length_exceeded"),
    "RequestError": (400, None),
    "SettingsError": (400, None),
}


class Service(Protocol):
    """What answers."""

    def ask(self, asked: Asked, asker: str, to: Callable[[dict[str, Any]], object]) -> None:
        """Have a request answered; `to` is given the messages of its stream, and at last its answer, which has a `finish`."""

    def cancel(self, asker: str, request_id: str) -> None:
        """End the answer."""


@dataclass(frozen=True)
class Finished:
    """How an answer ended."""

    calls: tuple[Call, ...]
    is_cut: bool  # it is as long as it may be
    prompt_tokens: int
    tokens: int
    figures: dict[str, Any]


Gone = Callable[[], Awaitable[bool]]  # whether a client has hung up


class Answering:
    """Asks the service of one pair."""

    def __init__(self, service: Service, pair: str, most_tokens: int, *, has_calls: bool) -> None:
        """`has_calls` says that the pair's answers make calls of their own, one in a line."""
        self.pair, self.most_tokens = pair, most_tokens
        self._service, self._has_calls = service, has_calls
        # By request and calls, as the pair writes them.
        self._said_with: OrderedDict[tuple[str, str], str] = OrderedDict()
        # By request and what was asked back about it.
        self._asked_back: OrderedDict[tuple[str, str], Question] = OrderedDict()

    @property
    def write_call(self) -> WriteCall:
        """Writes a call as the pair's answers have it."""
        return in_a_line if self._has_calls else in_tags

    async def answer(self, wanted: Wanted, gone: Gone) -> AsyncGenerator[str | Finished, None]:
        """What is said, piece by piece, and at last how it ended. Raises Unanswerable.

        A client that hangs up ends the answer, at the hub too.
        """
        if self._has_calls and wanted.turns[-1].role == "tool":
            yield self._what_came_of(wanted)
            yield Finished((), is_cut=False, prompt_tokens=0, tokens=0, figures={})
            return
        if self._has_calls and wanted.tools and (outcome := self._confirmed(wanted)) is not None:
            if not outcome.others:
                yield outcome.say
            yield Finished(outcome.others, is_cut=False, prompt_tokens=0, tokens=0, figures={})
            return
        if wanted.must_call:
            style = "called lines" if self._has_calls else "tags"
            grammar = read_grammar(lambda: Grammar.of_calls(wanted.functions, style), "tools")
            wanted = replace(wanted, generation=replace(wanted.generation, grammar=grammar))
        asked = _as_trained(wanted).asked() if self._has_calls else wanted.asked()
        sorts_calls = self._has_calls and bool(wanted.tools)
        text = TaggedText(frozenset() if self._has_calls else wanted.tool_names)
        async with aclosing(self._messages(asked, gone)) as messages:
            async for message in messages:
                if "finish" not in message:
                    if not sorts_calls and (piece := text.take(message.get("text") or "")):
                        yield piece
                    continue
                is_whole = message["finish"] == "end"
                left, calls = text.finish(is_whole=is_whole)
                if sorts_calls:
                    given = calls_in_lines(message["text"]) if wanted.must_call else message["calls"]
                    calls = calls_among(given, wanted.tool_names) if is_whole else ()
                    left = self._said_beside(wanted, calls, message)
                if left:
                    yield left
                figures = {key: message[key] for key in _FIGURES if key in message}
                is_cut = message["finish"] == "length"
                yield Finished(calls, is_cut, message["prompt_tokens"], message["tokens"], figures)

    def _said_beside(self, wanted: Wanted, calls: Sequence[Call], message: Mapping[str, Any]) -> str:
        """What a pair with calls says now; what it says of calls is kept until the program has carried them out."""
        said: str = message["say"].strip()
        if calls:
            _remember(self._said_with, _asked_and_called(wanted.turns, "\n".join(map(in_a_line, calls))), said)
            return ""
        if doubted := calls_among(message["doubted_calls"], wanted.tool_names):
            question = Question(doubted, time.monotonic() + CONFIRMED_S)
            _remember(self._asked_back, (wanted.turns[-1].content, said), question)
        return _NO_SUCH_TOOL if message["calls"] else said

    def _confirmed(self, wanted: Wanted) -> Outcome | None:
        """What a yes or a no to what was asked back leads to; None where the request is for the pair to answer."""
        *before, request = wanted.turns
        if len(before) < 2 or request.role != "user":
            return None
        question = self._asked_back.pop((before[-2].content, before[-1].content), None)
        if question is None:
            return None
        last, now = before[-1].content, time.monotonic()
        return reply_to(request.content, question, last, now, lambda asked: Outcome("", others=asked.calls))

    def _what_came_of(self, wanted: Wanted) -> str:
        """A sentence on calls that the program has carried out: what was said with them, or what went wrong."""
        turns = list(wanted.turns)
        while turns and turns[-1].role == "tool":
            if wrong := _error_in(turns.pop().content):
                return f"That did not work: {wrong}"
        called = turns.pop().content if turns else ""
        return self._said_with.get(_asked_and_called(turns, called)) or "Done."

    async def _messages(self, asked: Asked, gone: Gone) -> AsyncGenerator[dict[str, Any], None]:
        """The messages of the answer's stream, and at last the answer. Raises Unanswerable."""
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def to(message: dict[str, Any]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(told.put_nowait, message)

        self._service.ask(asked, _ASKER, to)
        is_over, looked_at = False, loop.time()
        try:
            while not is_over:
                message = None
                with suppress(asyncio.TimeoutError):
                    message = await asyncio.wait_for(told.get(), _LOOK_S)
                if loop.time() >= looked_at + _LOOK_S:
                    looked_at = loop.time()
                    if await gone():
                        return
                if message is None:
                    continue
                is_over = "finish" in message
                if is_over:
                    _require_answer(message, is_bound=asked.generation.grammar is not None)
                yield message
        finally:
            if not is_over:
                self._service.cancel(_ASKER, asked.id)


def _remember(memory: OrderedDict[tuple[str, str], V], key: tuple[str, str], value: V) -> None:
    """Keep what is newest."""
    memory[key] = value
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _require_answer(message: dict[str, Any], *, is_bound: bool) -> None:
    """Raise Unanswerable where there is no answer. A hub that refuses one that `is_bound` to a grammar refuses the grammar."""
    finish, said = message["finish"], message.get("error")
    if finish == "busy":
        raise Unanswerable(said or "the node is busy", status=429, code="rate_limit_exceeded")
    if finish == "cancelled" and not message.get("provisional"):
        # Clients ask again by themselves after a 503: what a "stop" has ended must not begin anew.
        raise Unanswerable("the answer was cancelled", code="cancelled")
    if finish in {"error", "cancelled"}:
        kind = message.get("error_kind", "")
        refused = {**_REFUSED, "HubRefused": (400, None)} if is_bound else _REFUSED
        status, code = refused.get(kind, (503, "unavailable"))
        raise Unanswerable(said or "the answer broke off", status=status, code=code)


def _as_trained(wanted: Wanted) -> Wanted:
    """A chat as a pair with calls was trained with it: it knows its own calls, and no turns of tools; a call and what was said of it are one turn."""
    turns: list[Turn] = []
    for turn in wanted.turns:
        if turn.role == "tool":
            continue
        if turns and turns[-1].role == turn.role == "assistant":
            turns[-1] = Turn("assistant", f"{turns[-1].content}\n{turn.content}")
        else:
            turns.append(turn)
    return replace(wanted, turns=tuple(turns), tools=())


def _asked_and_called(turns: Sequence[Turn], calls: str) -> tuple[str, str]:
    return next((turn.content for turn in reversed(turns) if turn.role == "user"), ""), calls


def _error_in(result: str) -> str:
    """What a tool says went wrong; nothing where nothing did."""
    try:
        read = json.loads(result)
    except (ValueError, RecursionError):
        return ""
    wrong = (read.get("error_text") or read.get("error")) if isinstance(read, dict) else None
    return str(wrong)[:_LONGEST_ERROR] if wrong else ""
