"""What programs do with Ollama's client."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import ollama

from tools.gateway.served import LIGHTS, TOOL, Trial

_CALL = ("HassTurnOn", {"area": "kitchen", "domain": "light"})


class OllamaTrial:
    """Each method is a check of its own."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._served = trial, trial.served
        self._client: Any = ollama.Client(trial.served.url)

    @property
    def checks(self) -> list[Callable[[], None]]:
        """All of them, in order."""
        return [
            self.models,
            self.chats,
            self.streams,
            self.generates,
            self.tools,
            self.formats,
            self.refusals,
            self.clients_at_once,
        ]

    def close(self) -> None:
        """Leave the server."""
        self._client.close()

    def models(self) -> None:
        """What is served."""
        names = [model.model for model in self._client.list().models]
        self._trial.check("the pair is the one model", names == ["home:latest"], names)
        self._trial.check("it can call tools", "tools" in (self._client.show("home").capabilities or []))
        self._trial.check("it is loaded", len(self._client.ps().models) == 1)
        self._trial.refused("another model is unknown", lambda: self._client.show("llama3"), ollama.ResponseError)

    def chats(self) -> None:
        """The text is that of the service."""
        for options in ({"temperature": 0}, {"temperature": 1.0, "seed": 5}):
            answer = self._chat(LIGHTS, options=options)
            said = self._served.answer(LIGHTS, **options)["text"]
            self._trial.check(f"the text is the service's ({options})", answer.message.content == said, answer)
        self._trial.check("tokens are counted", answer.eval_count > 0 and answer.prompt_eval_count > 0, answer)
        self._trial.check("it is done", answer.done and answer.done_reason == "stop", answer)

    def streams(self) -> None:
        """Lines add up to the answer."""
        given = {"temperature": 1.0, "seed": 9}
        lines = list(self._chat(LIGHTS, options=given, stream=True))
        whole = self._chat(LIGHTS, options=given).message.content
        text = "".join(line.message.content or "" for line in lines)
        self._trial.check("a stream has the same text", text == whole, text)
        self._trial.check("it comes in pieces", len(lines) > 3, len(lines))
        self._trial.check("it ends", lines[-1].done and not lines[0].done, lines[-1])

    def generates(self) -> None:
        """A prompt without a chat."""
        answer = self._client.generate("home", LIGHTS, options={"temperature": 0})
        said = self._served.answer(LIGHTS, temperature=0)["text"]
        self._trial.check("generate has the same text", answer.response == said, answer)
        cut = self._client.generate("home", LIGHTS, options={"temperature": 0, "num_predict": 4})
        self._trial.check("num_predict ends it", cut.done_reason == "length", cut)
        self._trial.check("an empty prompt loads", self._client.generate("home", "").done_reason == "load")

    def tools(self) -> None:
        """Calls are the program's to carry out."""
        chat: list[Any] = [{"role": "user", "content": LIGHTS}]
        answer = self._client.chat("home", chat, tools=[TOOL], options={"temperature": 0})
        calls = [(call.function.name, dict(call.function.arguments)) for call in answer.message.tool_calls or []]
        self._trial.check("a tool is called", calls == [_CALL], answer)
        lines = list(self._client.chat("home", chat, tools=[TOOL], options={"temperature": 0}, stream=True))
        streamed = [call.function.name for line in lines for call in line.message.tool_calls or []]
        self._trial.check("in a stream too", streamed == [_CALL[0]], lines)
        chat += [answer.message, {"role": "tool", "tool_name": "HassTurnOn", "content": '{"success": true}'}]
        said = self._client.chat("home", chat, tools=[TOOL], options={"temperature": 0}).message.content
        self._trial.check("its result is told", "kitchen" in (said or ""), said)

    def formats(self) -> None:
        """Answers keep to a schema, or are JSON at least."""
        schema = {
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"],
            "additionalProperties": False,
        }
        for seed in range(3):
            said = self._chat(LIGHTS, format=schema, options={"temperature": 1.5, "seed": seed}).message.content
            self._trial.check("an answer fits its schema", json.loads(said) in ({"on": True}, {"on": False}), said)
        free = self._chat(LIGHTS, format="json", options={"temperature": 0})
        said = free.message.content  # of a model that was never taught to write any
        is_object = free.done_reason == "length" or isinstance(json.loads(said), dict)
        self._trial.check("an answer is an object", said.startswith("{") and is_object, said)

    def refusals(self) -> None:
        """What can't be done is said."""
        cases: dict[str, dict[str, Any]] = {
            "a format that nothing follows": {"format": {"type": "no such thing"}},
            "a penalty": {"options": {"repeat_penalty": 1.3}},
            "a temperature below zero": {"options": {"temperature": -1}},
        }
        for what, given in cases.items():
            self._trial.refused(f"{what} is refused", partial(self._chat, LIGHTS, **given), ollama.ResponseError)

    def clients_at_once(self) -> None:
        """Each has its own answer."""

        def text(seed: int) -> str | None:
            said: str | None = self._chat(LIGHTS, options={"temperature": 1.0, "seed": seed}).message.content
            return said

        self._trial.at_once(text)

    def _chat(self, text: str, **given: Any) -> Any:
        return self._client.chat("home", [{"role": "user", "content": text}], **given)
