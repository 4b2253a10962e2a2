"""Between HTTP, which is asynchronous, and the service, whose workers are threads: requests go in, pieces of answers come out."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from edge_node.gateway.tool_text import TaggedText, calls_among, in_a_line, in_tags
from edge_node.gateway.wanted import ToolCall, Unanswerable, Wanted, WriteCall
from edge_node.service.requests import Asked

_ASKER = ".http"  # who asks; no user of a broker is called so
_LOOK_S = 0.25  # seconds between two looks whether a client that waits is still there
_REMEMBERED = 256  # answers with calls
_LONGEST_ERROR = 500  # characters of what a tool says
_FIGURES = (
    "mode", "rounds", "drafted", "accepted", "streamed", "tokens", "ms_per_token", "first_token_ms", "rtt_ms", "seed", "temperature", "notice", "provisional",
)  # fmt: skip
_REFUSED = {
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

    text: str  # what was said, all of it
    calls: tuple[ToolCall, ...]
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
        self._said_with: OrderedDict[str, str] = OrderedDict()  # by the calls, as the pair writes them

    @property
    def write_call(self) -> WriteCall:
        """Writes a call as the pair's answers have it."""
        return in_a_line if self._has_calls else in_tags

    async def answer(self, wanted: Wanted, gone: Gone) -> AsyncGenerator[str | Finished, None]:
        """What is said, piece by piece, and at last how it ended. Raises Unanswerable.

        A client that hangs up ends the answer, at the hub too.
        """
        if self._has_calls and wanted.turns[-1].role == "tool":
            said = self._what_came_of(wanted)
            yield said
            yield Finished(said, (), is_cut=False, prompt_tokens=0, tokens=0, figures={})
            return
        # A pair with calls knows its own; a description of the program's tools would only confuse it.
        asked = replace(wanted, tools=()).asked() if self._has_calls else wanted.asked()
        sorts_calls = self._has_calls and bool(wanted.tools)
        text = TaggedText(frozenset() if self._has_calls else wanted.tool_names)
        said = ""
        async for message in self._messages(asked, gone):
            if "finish" not in message:
                if not sorts_calls and (piece := text.take(message.get("text") or "")):
                    said += piece
                    yield piece
                continue
            left, calls = text.finish()
            if sorts_calls:
                calls = calls_among(message["calls"], wanted.tool_names)
                left = message["say"].strip()
            if sorts_calls and calls:
                self._remember(calls, left)
            elif left:
                said += left
                yield left
            figures = {key: message[key] for key in _FIGURES if key in message}
            is_cut = message["finish"] == "length"
            yield Finished(said, calls, is_cut, message["prompt_tokens"], message["tokens"], figures)

    def _remember(self, calls: Sequence[ToolCall], say: str) -> None:
        """What was said with these calls is told once the program has carried them out."""
        self._said_with["\n".join(map(in_a_line, calls))] = say
        while len(self._said_with) > _REMEMBERED:
            self._said_with.popitem(last=False)

    def _what_came_of(self, wanted: Wanted) -> str:
        """A sentence on calls that the program has carried out: what was said with them, or what went wrong."""
        turns = list(wanted.turns)
        while turns and turns[-1].role == "tool":
            if wrong := _error_in(turns.pop().content):
                return f"That did not work: {wrong}"
        return self._said_with.get(turns[-1].content if turns else "") or "Done."

    async def _messages(self, asked: Asked, gone: Gone) -> AsyncIterator[dict[str, Any]]:
        """The messages of the answer's stream, and at last the answer. Raises Unanswerable."""
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def to(message: dict[str, Any]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(told.put_nowait, message)

        self._service.ask(asked, _ASKER, to)
        is_over = False
        try:
            while not is_over:
                try:
                    message = await asyncio.wait_for(told.get(), _LOOK_S)
                except asyncio.TimeoutError:
                    if await gone():
                        return
                    continue
                is_over = "finish" in message
                if is_over:
                    _require_answer(message)
                yield message
        finally:
            if not is_over:
                self._service.cancel(_ASKER, asked.id)


def _require_answer(message: dict[str, Any]) -> None:
    """Raise Unanswerable where there is no answer."""
    finish, said = message["finish"], message.get("error")
    if finish == "busy":
        raise Unanswerable(said or "the node is busy", status=429, code="rate_limit_exceeded")
    if finish in {"error", "cancelled"}:
        status, code = _REFUSED.get(message.get("error_kind", ""), (503, "unavailable"))
        raise Unanswerable(said or "the answer broke off", status=status, code=code)


def _error_in(result: str) -> str:
    """What a tool says went wrong; nothing where nothing did."""
    try:
        read = json.loads(result)
    except (ValueError, RecursionError):
        return ""
    wrong = (read.get("error_text") or read.get("error")) if isinstance(read, dict) else None
    return str(wrong)[:_LONGEST_ERROR] if wrong else ""
