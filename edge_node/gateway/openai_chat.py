"""OpenAI's chat completions: what is asked, and answers in that form, whole or as a stream of events."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from edge_node.dialogue.calls import Call
from edge_node.dialogue.generation import Generation
from edge_node.gateway.answering import Finished
from edge_node.gateway.wanted import (
    MOST_MESSAGES,
    Fields,
    Unanswerable,
    Wanted,
    WriteCall,
    bound_to,
    generation,
    most_of_tokens,
    read_messages,
    read_tools,
)

EVENTS = "text/event-stream"
_PENALTY = "the target's own distribution is what devices verify by, and it knows no penalties"


def read_chat(body: Any, write_call: WriteCall, most_tokens: int) -> Wanted:
    """A request for a chat completion. Raises Unanswerable."""
    fields = Fields(body)
    refuse_unknown(fields)
    fields.refuse("n", "there is one answer to a request", 1)
    for key in ("functions", "function_call"):
        fields.refuse(key, "use tools")
    system, turns = read_messages(fields.list("messages", MOST_MESSAGES), write_call)
    given = read_generation(fields, most_tokens, "max_completion_tokens", "max_tokens")
    given = replace(given, grammar=bound_to(fields.get("response_format"), "response_format"))
    return with_choice(fields, Wanted(system, turns, given, read_tools(fields), fields.flag("stream")))


def read_generation(fields: Fields, most_tokens: int, *most: str) -> Generation:
    """How to answer; the first of the fields `most` that is given says how many tokens at most. Raises Unanswerable."""
    return generation(
        fields.number("temperature", 0, 2),
        fields.number("top_p", 0, 1),
        fields.whole("top_k", 0, 2**31 - 1),
        fields.whole("seed", -(2**63), 2**64 - 1),
        most_of_tokens(fields, *most),
        fields.stops("stop"),
        most_tokens,
    )


def refuse_unknown(fields: Fields) -> None:
    """Raise Unanswerable for what would change an answer and can't be done."""
    for key in ("logit_bias", "presence_penalty", "frequency_penalty"):
        fields.refuse(key, _PENALTY, 0, 0.0)
    for key in ("logprobs", "top_logprobs"):
        fields.refuse(key, "the hub sends ids alone", 0)
    for key in ("audio", "prediction", "web_search_options"):
        fields.refuse(key, "only texts are written")
    fields.refuse("modalities", "only texts are written", ["text"])


def with_choice(fields: Fields, wanted: Wanted) -> Wanted:
    """The request by its `tool_choice`: with all tools, with those that must be called, or with none. Raises Unanswerable."""
    choice = fields.get("tool_choice")
    tools, must_call = wanted.tools, False
    if choice == "none":
        tools = ()
    elif choice == "required":
        must_call = True
    elif isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else choice.get("name")
        tools, must_call = tuple(tool for tool in tools if tool["function"]["name"] == name), True
    elif choice not in {None, "auto"} if isinstance(choice, str | None) else True:
        raise Unanswerable("tool_choice must be auto, none, required or a function", field="tool_choice")
    if must_call and not tools:
        raise Unanswerable("tool_choice asks for a call, and there is no such tool", field="tool_choice")
    if tools and wanted.generation.grammar is not None:
        raise Unanswerable("an answer can't both keep to a schema and call tools: send one of them", field="tools")
    return replace(wanted, tools=tools, must_call=must_call)


@dataclass
class ChatCompletion:
    """The forms of one answer."""

    media_type: ClassVar[str] = EVENTS
    model: str
    created: int  # seconds since 1970
    with_usage: bool = False  # whether a stream ends with what was used
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")

    def whole(self, said: str, end: Finished) -> dict[str, Any]:
        """The answer at once."""
        message: dict[str, Any] = {"role": "assistant", "content": said or (None if end.calls else ""), "refusal": None}
        if end.calls:
            message["tool_calls"] = [_call(call) for call in end.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(end)}
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": _usage(end),
            "sled": end.figures,
        }

    async def stream(self, answer: AsyncIterator[str | Finished]) -> AsyncGenerator[str, None]:
        """The answer as server-sent events."""
        yield self._chunk({"role": "assistant", "content": ""})
        async for piece in answer:
            if isinstance(piece, str):
                yield self._chunk({"content": piece})
                continue
            for at, call in enumerate(piece.calls):
                yield self._chunk({"tool_calls": [{"index": at, **_call(call)}]})
            yield self._chunk({}, _reason(piece), sled=piece.figures)
            if self.with_usage:
                yield event({**self._head(), "choices": [], "usage": _usage(piece)})
        yield "data: [DONE]\n\n"

    def broken(self, error: Unanswerable) -> str:
        """What a stream ends with that can't go on."""
        return event(error_body(error))

    def _chunk(self, delta: dict[str, Any], reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self.with_usage else {}
        return event({**self._head(), "choices": [choice], **usage, **more})

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}


def event(content: dict[str, Any], name: str = "") -> str:
    """A server-sent event."""
    return f"{f'event: {name}{chr(10)}' if name else ''}data: {json.dumps(content, ensure_ascii=False)}\n\n"


def error_body(error: Unanswerable) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": {"message": str(error), "type": kind, "param": error.field, "code": error.code}}


def _call(call: Call) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _reason(end: Finished) -> str:
    return "tool_calls" if end.calls else "length" if end.is_cut else "stop"


def _usage(end: Finished) -> dict[str, int]:
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.tokens,
        "total_tokens": end.prompt_tokens + end.tokens,
    }
