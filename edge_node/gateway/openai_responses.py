"""OpenAI's responses, as far as its client's helpers need them: texts and calls of functions, whole or as a stream of events."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from edge_node.gateway.answering import Finished
from edge_node.gateway.openai_chat import EVENTS, error_body, event, read_generation, refuse_unknown, with_choice
from edge_node.gateway.wanted import (
    MOST_MESSAGES,
    Fields,
    Unanswerable,
    Wanted,
    WriteCall,
    bound_to,
    read_messages,
    read_tools,
)


def read_response(body: Any, write_call: WriteCall, most_tokens: int) -> Wanted:
    """A request for a response. Raises Unanswerable."""
    fields = Fields(body)
    refuse_unknown(fields)
    for key in ("previous_response_id", "conversation", "prompt"):
        fields.refuse(key, "nothing is kept here; send the whole chat as input")
    fields.refuse("background", "answers come at once")
    text = fields.get("text")
    messages = _messages(fields)
    if instructions := fields.text("instructions", default=""):
        messages.insert(0, {"role": "system", "content": instructions})
    system, turns = read_messages(messages, write_call, "input")
    given = read_generation(fields, most_tokens, "max_output_tokens")
    given = replace(given, grammar=bound_to(text.get("format") if isinstance(text, dict) else None, "text.format"))
    return with_choice(fields, Wanted(system, turns, given, read_tools(fields, nested=False), fields.flag("stream")))


def _messages(fields: Fields) -> list[Any]:
    """The input as messages of a chat."""
    if isinstance(fields.get("input"), str):
        return [{"role": "user", "content": fields.text("input")}]
    messages: list[Any] = []
    for at, item in enumerate(fields.list("input", MOST_MESSAGES)):
        given = Fields(item, f"input[{at}]")
        match given.get("type"):
            case None | "message":
                messages.append(item)
            case "function_call":
                call = {"function": {"name": given.text("name"), "arguments": given.text("arguments")}}
                if messages and isinstance(messages[-1], dict) and isinstance(messages[-1].get("tool_calls"), list):
                    messages[-1]["tool_calls"].append(call)
                else:
                    messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
            case "function_call_output":
                messages.append({"role": "tool", "content": given.content("output")})
            case "reasoning":
                continue
            case other:
                raise Unanswerable(f"input[{at}].type {other!r:.40} is not understood", field=f"input[{at}].type")
    return messages


@dataclass
class Response:
    """The forms of one answer."""

    media_type: ClassVar[str] = EVENTS
    model: str
    created: int  # seconds since 1970
    body: dict[str, Any]  # of the request, some of which is said again
    id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(12)}")
    _number: int = 0

    def whole(self, said: str, end: Finished | None) -> dict[str, Any]:
        """The answer at once; without an `end` one that is in progress."""
        cut = end is not None and end.is_cut
        body = self.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": "in_progress" if end is None else "incomplete" if cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "metadata": body.get("metadata") or {},
            "model": self.model,
            "output": [] if end is None else self._output(said, end),
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "temperature": body.get("temperature"),
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p"),
            "usage": None if end is None else _usage(end),
            "sled": {} if end is None else end.figures,
        }

    async def stream(self, answer: AsyncIterator[str | Finished]) -> AsyncGenerator[str, None]:
        """The answer as server-sent events."""
        yield self._event("response.created", response=self.whole("", None))
        yield self._event("response.in_progress", response=self.whole("", None))
        said, place = "", {"item_id": f"msg_{self.id[5:]}", "output_index": 0, "content_index": 0}
        async for piece in answer:
            if isinstance(piece, str):
                if not said:
                    yield self._event(
                        "response.output_item.added", output_index=0, item=self._message("", "in_progress")
                    )
                    yield self._event("response.content_part.added", **place, part=_part(""))
                said += piece
                yield self._event("response.output_text.delta", **place, delta=piece, logprobs=[])
                continue
            if said:
                yield self._event("response.output_text.done", **place, text=said, logprobs=[])
                yield self._event("response.content_part.done", **place, part=_part(said))
            for at, item in enumerate(self._output(said, piece)):
                if item["type"] == "function_call":
                    begun = {**item, "arguments": "", "status": "in_progress"}
                    yield self._event("response.output_item.added", output_index=at, item=begun)
                    arguments = {"item_id": item["id"], "output_index": at}
                    yield self._event("response.function_call_arguments.delta", **arguments, delta=item["arguments"])
                    yield self._event(
                        "response.function_call_arguments.done",
                        **arguments,
                        name=item["name"],
                        arguments=item["arguments"],
                    )
                yield self._event("response.output_item.done", output_index=at, item=item)
            ended = self.whole(said, piece)
            yield self._event(f"response.{ended['status']}", response=ended)

    def broken(self, error: Unanswerable) -> str:
        """What a stream ends with that can't go on."""
        return event(error_body(error))

    def _output(self, said: str, end: Finished) -> list[dict[str, Any]]:
        items = [self._message(said, "completed")] if said or not end.calls else []
        for at, call in enumerate(end.calls):
            items.append(
                {
                    "id": f"fc_{self.id[5:]}_{at}",
                    "type": "function_call",
                    "status": "completed",
                    "call_id": f"call_{self.id[5:]}_{at}",
                    "name": call.name,
                    "arguments": json.dumps(call.arguments, ensure_ascii=False),
                }
            )
        return items

    def _message(self, said: str, status: str) -> dict[str, Any]:
        content = [_part(said)] if said or status == "completed" else []
        return {
            "id": f"msg_{self.id[5:]}",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _event(self, kind: str, /, **content: Any) -> str:
        written = event({"type": kind, "sequence_number": self._number, **content}, kind)
        self._number += 1
        return written


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(end: Finished) -> dict[str, Any]:
    return {
        "input_tokens": end.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": end.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": end.prompt_tokens + end.tokens,
    }
