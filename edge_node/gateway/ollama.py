"""Ollama's API, as its clients, Home Assistant and Open WebUI use it: what is asked, and answers whole or line by line."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import Turn
from edge_node.gateway.answering import Finished
from edge_node.gateway.wanted import (
    MOST_MESSAGES,
    Fields,
    Unanswerable,
    Wanted,
    WriteCall,
    generation,
    grammar_of,
    read_messages,
    read_tools,
)

_NEUTRAL = {
    "repeat_penalty": 1, "tfs_z": 1, "typical_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "mirostat": 0, "min_p": 0,
}  # fmt: skip


def read_chat(body: Any, write_call: WriteCall, most_tokens: int) -> Wanted:
    """A request of /api/chat. Raises Unanswerable."""
    fields = Fields(body)
    _refuse(fields)
    system, turns = read_messages(fields.list("messages", MOST_MESSAGES), write_call)
    given, tools = _generation(fields, most_tokens), read_tools(fields)
    if tools and given.grammar is not None:
        raise Unanswerable("an answer can't both keep to a format and call tools: send one of them", field="format")
    return Wanted(system, turns, given, tools, fields.flag("stream", default=True))


def read_generate(body: Any, most_tokens: int) -> Wanted:
    """A request of /api/generate, which is answered as a chat of one turn. Raises Unanswerable."""
    fields = Fields(body)
    _refuse(fields)
    for key in ("suffix", "template", "images", "raw", "context"):
        fields.refuse(key, "requests go through the model's chat template")
    prompt = fields.text("prompt")
    if not prompt.strip():
        raise Unanswerable("there is nothing to answer: prompt is empty", field="prompt")
    turns = (Turn("user", prompt),)
    system = fields.text("system", default="") or None
    return Wanted(system, turns, _generation(fields, most_tokens), streams=fields.flag("stream", default=True))


def is_only_loading(body: Mapping[str, Any], key: str) -> bool:
    """Whether a request asks for the model to be loaded and nothing else: `key` is what would be answered."""
    return not body.get(key)


def _refuse(fields: Fields) -> None:
    fields.refuse("logprobs", "the hub sends ids alone", 0)


def _generation(fields: Fields, most_tokens: int) -> Generation:
    options = Fields(fields.get("options") or {}, "options")
    for key, without_effect in _NEUTRAL.items():
        options.refuse(key, "there are temperature, top_k and top_p", without_effect, float(without_effect))
    length, seed = options.get("num_predict"), options.whole("seed", -(2**63), 2**64 - 1)
    form = fields.get("format")
    grammar = None
    if form:
        grammar = grammar_of({"type": "object"} if form == "json" else form, "format")
    given = generation(
        options.number("temperature", 0, 100),
        options.number("top_p", 0, 1),
        options.whole("top_k", 0, 2**31 - 1),
        None if seed is None or seed < 0 else seed,  # -1 is chance
        None if isinstance(length, int) and length < 0 else options.whole("num_predict", 1, 1_000_000),
        options.stops("stop"),
        most_tokens,
    )
    return replace(given, grammar=grammar)


@dataclass
class OllamaAnswer:
    """The forms of one answer."""

    media_type: ClassVar[str] = "application/x-ndjson"
    model: str
    created: str  # ISO 8601
    is_chat: bool
    begun: float = field(default_factory=time.monotonic)

    def whole(self, said: str, end: Finished) -> dict[str, Any]:
        """The answer at once."""
        return {**self._piece(said, end), **_end(end, time.monotonic() - self.begun)}

    async def stream(self, answer: AsyncIterator[str | Finished]) -> AsyncGenerator[str, None]:
        """The answer as lines of JSON."""
        async for piece in answer:
            if isinstance(piece, str):
                yield _line({**self._piece(piece, None), "done": False})
                continue
            if piece.calls:
                yield _line({**self._piece("", piece), "done": False})
            yield _line({**self._piece("", None), **_end(piece, time.monotonic() - self.begun)})

    def broken(self, error: Unanswerable) -> str:
        """What a stream ends with that can't go on."""
        return _line({"error": str(error)})

    def loaded(self) -> dict[str, Any]:
        """What is answered where nothing was asked."""
        return {**self._piece("", None), "done": True, "done_reason": "load"}

    def _piece(self, said: str, end: Finished | None) -> dict[str, Any]:
        head = {"model": self.model, "created_at": self.created}
        if not self.is_chat:
            return {**head, "response": said}
        message: dict[str, Any] = {"role": "assistant", "content": said}
        if end is not None and end.calls:
            message["tool_calls"] = [
                {"function": {"name": call.name, "arguments": call.arguments}} for call in end.calls
            ]
        return {**head, "message": message}


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"


def _end(end: Finished, seconds: float) -> dict[str, Any]:
    first = end.figures.get("first_token_ms", 0.0) / 1e3
    return {
        "done": True,
        "done_reason": "length" if end.is_cut else "stop",
        "total_duration": int(1e9 * seconds),
        "load_duration": 0,
        "prompt_eval_count": end.prompt_tokens,
        "prompt_eval_duration": int(1e9 * min(first, seconds)),
        "eval_count": end.tokens,
        "eval_duration": int(1e9 * max(0.0, seconds - first)),
        "sled": end.figures,
    }
