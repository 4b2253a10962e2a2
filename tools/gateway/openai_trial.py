"""What programs do with OpenAI's client."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import httpx
import openai
import pydantic

from edge_node.home_assistant.confirming import NOT_SURE
from tools.gateway.served import LIGHTS, TOOL, Trial

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"room": {"enum": ["kitchen", "hall"]}, "percent": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["room", "percent"],
    "additionalProperties": False,
}
_CALL = {"name": "HassTurnOn", "arguments": {"area": "kitchen", "domain": "light"}}
_LONG = {"temperature": 2.0, "seed": 3, "max_tokens": 400}  # writes nonsense that comes to no end
_STREAMS = 50
_GROWTH = 1.1  # of memory, between 50 streams and 50 more
_ADDED_S = 0.005
_TIMED = 12


class Room(pydantic.BaseModel):
    """What a program may want filled in."""

    room: Literal["kitchen", "hall"]
    percent: int = pydantic.Field(ge=0, le=99)


class OpenAITrial:
    """Each method is a check of its own."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._served = trial, trial.served
        self._client: Any = openai.OpenAI(base_url=f"{trial.served.url}/v1", api_key="none", max_retries=0)

    @property
    def checks(self) -> list[Callable[[], None]]:
        """All of them, in order."""
        return [
            self.models,
            self.whole_answers,
            self.streams,
            self.ends,
            self.chats,
            self.tools,
            self.schemas,
            self.forced_calls,
            self.responses,
            self.refusals,
            self.clients_that_leave,
            self.clients_at_once,
            self.parallel_streams,
            self.first_token,
        ]

    def close(self) -> None:
        """Leave the server."""
        self._client.close()

    def models(self) -> None:
        """What is served."""
        names = [model.id for model in self._client.models.list()]
        self._trial.check("the pair is the one model", names == [self._served.model], names)
        self._trial.check("it is described", self._client.models.retrieve(names[0]).owned_by == "sled")
        self._trial.refused(
            "another model is unknown", lambda: self._client.models.retrieve("gpt-4"), openai.NotFoundError
        )

    def whole_answers(self) -> None:
        """The text is that of the service, greedy and drawn."""
        for given in ({"temperature": 0.0}, {"temperature": 1.0, "seed": 7}, {"temperature": 0.7, "seed": 2**63}):
            answer = self._ask(LIGHTS, **given)
            over_mqtt = self._served.answer(LIGHTS, **given)
            said = answer.choices[0].message.content
            self._trial.check(f"the text is the service's ({given})", said == over_mqtt["text"], said)
        usage = answer.usage
        self._trial.check("tokens are counted", usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage)
        self._trial.check("SLED's figures are there", answer.model_extra["sled"]["tokens"] == usage.completion_tokens)

    def streams(self) -> None:
        """Pieces add up to the answer."""
        given: dict[str, Any] = {"temperature": 1.0, "seed": 11}
        chunks = list(self._ask(LIGHTS, stream=True, stream_options={"include_usage": True}, **given))
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        whole = self._ask(LIGHTS, **given)
        self._trial.check("a stream has the same text", text == whole.choices[0].message.content, text)
        self._trial.check("it comes in pieces", len(chunks) > 3, len(chunks))
        self._trial.check("it says how it ended", chunks[-2].choices[0].finish_reason == "stop", chunks[-2])
        self._trial.check("and what was used", chunks[-1].usage == whole.usage, chunks[-1])

    def ends(self) -> None:
        """Bounds and stop strings end an answer."""
        short = self._ask(LIGHTS, temperature=0.0, max_completion_tokens=4).choices[0]
        self._trial.check("max_completion_tokens ends it", short.finish_reason == "length", short)
        cut = self._ask(LIGHTS, temperature=0.0, stop=["Turned"]).choices[0]
        self._trial.check("a stop string ends it", "Turned" not in (cut.message.content or "Turned"), cut)

    def chats(self) -> None:
        """The whole chat is sent with each request."""
        first = self._ask(LIGHTS, temperature=0.0).choices[0].message.content
        chat = [
            {"role": "user", "content": LIGHTS},
            {"role": "assistant", "content": first},
            {"role": "user", "content": [{"type": "text", "text": "and the bedroom too"}]},
        ]
        later = self._client.chat.completions.create(model=self._served.model, messages=chat, temperature=0.0)
        said = later.choices[0].message.content
        self._trial.check("what was said before counts", '"area":"bedroom"' in said, said)
        asked = "turn off the loft"  # which may be a room, a storey, or a lamp
        listed = [{"role": "system", "content": "Devices: loft"}, {"role": "user", "content": asked}]
        told = self._client.chat.completions.create(model=self._served.model, messages=listed, temperature=0.0)
        over_mqtt = self._served.answer(asked, system=listed[0]["content"], temperature=0.0)["text"]
        said = told.choices[0].message.content
        target = over_mqtt.removesuffix(f"\n{NOT_SURE}")  # what a service says behind calls that it does not make
        self._trial.check("a system message counts", said == target and '"name":"loft"' in said, said)

    def tools(self) -> None:
        """Calls are the program's to carry out."""
        chat: list[dict[str, Any]] = [{"role": "user", "content": LIGHTS}]
        answer = self._create(chat, tools=[TOOL])
        choice = answer.choices[0]
        calls = [
            {"name": call.function.name, "arguments": json.loads(call.function.arguments)}
            for call in choice.message.tool_calls or []
        ]
        self._trial.check("a tool is called", calls == [_CALL] and choice.finish_reason == "tool_calls", choice)
        chunks = list(self._create(chat, tools=[TOOL], stream=True))
        streamed = [call.function.name for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
        self._trial.check("in a stream too", streamed == [_CALL["name"]], chunks)
        chat.append(choice.message.model_dump(exclude_none=True))
        result = {"role": "tool", "tool_call_id": choice.message.tool_calls[0].id}
        done = self._create([*chat, {**result, "content": '{"success": true}'}], tools=[TOOL])
        said = done.choices[0].message.content
        self._trial.check("its result is told", "kitchen" in said, said)
        failed = self._create([*chat, {**result, "content": '{"error": "no such area"}'}], tools=[TOOL])
        said = failed.choices[0].message.content
        self._trial.check("its failure too", "no such area" in said, said)
        later = [*chat, {**result, "content": "ok"}, done.choices[0].message.model_dump(exclude_none=True)]
        later.append({"role": "user", "content": "and the bedroom too"})
        called = self._create(later, tools=[TOOL]).choices[0].message.tool_calls or []
        arguments = [json.loads(call.function.arguments).get("area") for call in called]
        self._trial.check("the chat goes on behind it", arguments == ["bedroom"], arguments)
        cut = self._create(chat[:1], tools=[TOOL], max_tokens=25).choices[0]
        self._trial.check("an answer that was cut calls nothing", cut.finish_reason == "length", cut)
        other = {"type": "function", "function": {**TOOL["function"], "name": "another"}}
        said = self._create(chat[:1], tools=[other]).choices[0].message.content
        self._trial.check("a call of no tool is not said to be done", "Turned" not in said, said)
        none = self._create(chat[:1], tools=[TOOL], tool_choice="none").choices[0]
        self._trial.check("no tool is called where none may be", none.finish_reason == "stop", none)
        self._trial.check("no call reached the house", not any(told.calls for told in self._since_mqtt()), "a call")

    def schemas(self) -> None:
        """Answers keep to a schema, of a class of pydantic too, and are those over MQTT."""
        for seed in range(3):
            given = {"temperature": 1.5, "seed": seed}
            answer = self._ask(LIGHTS, response_format=_FORM, **given).choices[0]
            read = json.loads(answer.message.content)
            self._trial.check("the answer fits the schema", _fits(read) and answer.finish_reason == "stop", answer)
            over_mqtt = self._served.answer(LIGHTS, schema=SCHEMA, **given)["text"]
            self._trial.check("it is the one over MQTT", answer.message.content == over_mqtt, over_mqtt)
        parsed = self._client.chat.completions.parse(
            model=self._served.model,
            messages=[{"role": "user", "content": LIGHTS}],
            response_format=Room,
            temperature=0,
        )
        room = parsed.choices[0].message.parsed
        self._trial.check("a class is filled in", isinstance(room, Room) and 0 <= room.percent <= 99, parsed)
        chunks = list(self._ask(LIGHTS, response_format=_FORM, temperature=0, stream=True))
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        self._trial.check("in a stream too", _fits(json.loads(streamed)), streamed)

    def forced_calls(self) -> None:
        """Where a call is asked for there is one, of tools that the pair has never seen too."""
        other = {"name": "feed_cat", "parameters": {**SCHEMA, "title": "Food"}}
        for name, choice in (("HassTurnOn", "required"), ("feed_cat", _named("feed_cat"))):
            tools = [TOOL, {"type": "function", "function": other}][: 1 + (name == "feed_cat")]
            message = self._ask("hm", tools=tools, tool_choice=choice, temperature=0).choices[0].message
            called = [call.function.name for call in message.tool_calls or []]
            self._trial.check(f"{name} is called", set(called) == {name}, message)
        arguments = json.loads(message.tool_calls[0].function.arguments)
        self._trial.check("its arguments fit", _fits(arguments), arguments)
        cut = self._ask("hm", tools=[TOOL], tool_choice="required", max_tokens=4).choices[0]
        self._trial.check("one that was cut calls nothing", cut.finish_reason == "length", cut)
        huge = {"type": "function", "function": {**other, "parameters": {"minimum": 10**400}}}
        self._trial.refused(
            "a huge number", partial(self._ask, "hm", tools=[huge], tool_choice="required"), openai.BadRequestError
        )

    def responses(self) -> None:
        """The newer API."""
        whole = self._client.responses.create(model=self._served.model, input=LIGHTS, temperature=0.0)
        over_mqtt = self._served.answer(LIGHTS, temperature=0.0)["text"]
        self._trial.check("a response has the same text", whole.output_text == over_mqtt, whole)
        with self._client.responses.stream(model=self._served.model, input=LIGHTS, temperature=0.0) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        self._trial.check("so has its stream", final.output_text == over_mqtt, kinds)
        self._trial.check(
            "in pieces", kinds.count("response.output_text.delta") > 1 and kinds[-1] == "response.completed"
        )
        function = {"type": "function", **TOOL["function"], "strict": False}
        called = self._client.responses.create(
            model=self._served.model, input=LIGHTS, temperature=0.0, tools=[function]
        )
        kinds = [item.type for item in called.output]
        self._trial.check("a function is called", kinds == ["function_call"], kinds)

    def refusals(self) -> None:
        """What can't be done is said, with the field."""
        cases: dict[str, dict[str, Any]] = {
            "n": {"n": 2},
            "frequency_penalty": {"frequency_penalty": 0.5},
            "response_format": {"response_format": {"type": "xml"}},
            "must hold a JSON schema": {
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 5}}
            },
            "can't be followed": {"response_format": _schema_form({"type": "no such thing"})},
            "tools": {"response_format": _FORM, "tools": [TOOL]},
            "temperature": {"temperature": 7},
            "max_tokens": {"max_tokens": 0},
            "tool_choice": {"tool_choice": _named("unknown"), "tools": [TOOL]},
            "messages": {"messages": []},
            "stop": {"stop": ["x"] * 50},
        }
        for field, given in cases.items():
            said = self._trial.refused(
                f"{field} that can't be is refused",
                partial(self._ask, LIGHTS, **given),
                openai.BadRequestError,
            )
            self._trial.check("  by its name", field in said, said)
        long = "turn on the lights " * 5000
        said = self._trial.refused("a prompt that is too long", lambda: self._ask(long), openai.BadRequestError)
        self._trial.check("  is told its length", "tokens" in said, said)
        self._trial.refused(
            "a picture",
            lambda: self._create(
                [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
            ),
            openai.BadRequestError,
        )

    def clients_that_leave(self) -> None:
        """Whoever hangs up ends its answer."""
        before = self._served.cancelled
        stream = self._ask(LIGHTS, stream=True, **_LONG)
        next(iter(stream))
        stream.close()
        self._trial.check("a client that leaves ends its answer", self._served.comes_to_cancel(before + 1))

    def clients_at_once(self) -> None:
        """Each has its own answer."""
        self._trial.at_once(self._text)

    def parallel_streams(self) -> None:
        """Memory stays as it is."""

        def streamed(seed: int) -> int:
            stream = self._ask(LIGHTS, stream=True, temperature=1.0, seed=seed)
            return sum(bool(chunk.choices[0].delta.content) for chunk in stream)

        sizes = []
        for _ in range(3):
            with ThreadPoolExecutor(_STREAMS) as pool:
                pieces = list(pool.map(streamed, range(_STREAMS)))
            self._trial.check(f"{_STREAMS} streams in parallel come to their ends", all(pieces), pieces)
            sizes.append(self._served.resident_bytes())
        growth = sizes[-1] / sizes[0]
        self._trial.check(f"memory grows by {growth - 1:.1%} from 50 to 150 streams", growth < _GROWTH, sizes)

    def first_token(self) -> None:
        """What HTTP adds to the session's own first token."""
        added = []
        with httpx.Client() as client:  # OpenAI's takes milliseconds of its own
            for seed in range(_TIMED):
                asked = {"model": self._served.model, "stream": True, "temperature": 1.0, "seed": seed}
                asked["messages"] = [{"role": "user", "content": LIGHTS}]
                begun, first, own = time.perf_counter(), 0.0, 0.0
                with client.stream("POST", f"{self._served.url}/v1/chat/completions", json=asked) as answer:
                    for line in answer.iter_lines():
                        if not line.startswith("data: {"):
                            continue
                        chunk = json.loads(line.removeprefix("data: "))
                        if chunk["choices"][0]["delta"].get("content"):
                            first = first or time.perf_counter() - begun
                        own = chunk.get("sled", {}).get("first_token_ms", own)
                added.append(first - own / 1e3)
        median = statistics.median(added)
        self._trial.check(f"HTTP adds {1e3 * median:.1f} ms to the first token", median <= _ADDED_S, added)

    def _text(self, seed: int) -> str:
        said: str = self._ask(LIGHTS, temperature=1.0, seed=seed).choices[0].message.content
        return said

    def _ask(self, text: str, **given: Any) -> Any:
        chat = given.pop("messages", [{"role": "user", "content": text}])
        return self._client.chat.completions.create(model=self._served.model, messages=chat, **given)

    def _create(self, chat: list[Any], **given: Any) -> Any:
        return self._client.chat.completions.create(model=self._served.model, messages=chat, temperature=0.0, **given)

    def _since_mqtt(self) -> list[Any]:
        """What the house was told of requests that it did not make."""
        return [told for told in self._served.house.told.values() if not told.answers]


def _fits(read: Any) -> bool:
    """Whether it is what SCHEMA asks for."""
    return (
        isinstance(read, dict)
        and read.keys() == {"room", "percent"}
        and read["room"] in {"kitchen", "hall"}
        and read["percent"] in range(100)
    )


def _schema_form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "room", "schema": schema, "strict": True}}


def _named(name: str) -> dict[str, Any]:
    """The `tool_choice` of one function."""
    return {"type": "function", "function": {"name": name}}


_FORM = _schema_form(SCHEMA)
