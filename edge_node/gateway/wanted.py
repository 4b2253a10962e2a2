"""What a program wants to have answered, whatever API it speaks, and what of an answer it is given."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import Asking, Tool, Turn
from edge_node.service.requests import Asked
from shared.errors import GrammarError, RequestError, SettingsError
from shared.fields import integer, number
from shared.grammar import Grammar
from shared.sampling_parameters import Sampling

MOST_MESSAGES = 1024  # of a chat
_MOST_TOOLS = 128
_MOST_STOPS, _MOST_STOP = 16, 1000  # stop strings, and characters of one
_MOST_TOKENS = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Unanswerable(RequestError):
    """A request that an API refuses: `status` of HTTP, and the field that is wrong, if it is one."""

    def __init__(self, reason: str, *, status: int = 400, field: str | None = None, code: str | None = None) -> None:
        super().__init__(reason)
        self.status, self.field, self.code = status, field, code


@dataclass(frozen=True)
class Wanted:
    """A chat whose last turn is to be answered."""

    system: str | None
    turns: tuple[Turn, ...]
    generation: Generation
    tools: tuple[Tool, ...] = ()
    streams: bool = False
    must_call: bool = False  # one of the tools

    @property
    def tool_names(self) -> frozenset[str]:
        """The tools that may be called."""
        return frozenset(tool["function"]["name"] for tool in self.tools)

    def asked(self) -> Asked:
        """As the service is asked."""
        last = self.turns[-1]
        role: Asking = "tool" if last.role == "tool" else "user"
        return Asked(
            secrets.token_hex(12),
            last.content,
            self.generation,
            system=self.system,
            history=self.turns[:-1],
            role=role,
            tools=self.tools,
            acts=False,
            has_own_id=False,
        )

    @property
    def functions(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The tools' names and the schemas of their arguments."""
        described = (tool["function"] for tool in self.tools)
        return [(each["name"], {"type": "object", **each["parameters"]}) for each in described]


WriteCall = Callable[[Call], str]


class Fields:
    """An object of a request, read field by field. All methods raise Unanswerable, with the field's name."""

    def __init__(self, values: Any, where: str = "") -> None:
        """`where` begins the fields' names."""
        if not isinstance(values, dict):
            raise Unanswerable(f"{where or 'the request'} must be a JSON object", field=where or None)
        self._values: dict[str, Any] = values
        self._where = f"{where}." if where else ""

    def get(self, key: str) -> Any:
        """The value; None where there is none."""
        return self._values.get(key)

    def refuse(self, key: str, why: str, *allowed: Any) -> None:
        """Refuse a field that has another value than None, one of no effect, or one of those allowed."""
        value = self.get(key)
        if value is None or value is False or any(value == each and type(value) is type(each) for each in allowed):
            return
        if isinstance(value, list | dict | str) and not value:
            return
        raise Unanswerable(f"{self._where}{key} is not supported: {why}", field=f"{self._where}{key}")

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def text(self, key: str, *, default: str | None = None) -> str:
        """A text."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "must be a text")
        return self._text(key, value)

    def whole(self, key: str, low: int, high: int) -> int | None:
        """A whole number."""
        value: int | None = self._checked(key, integer(low, high))
        return value

    def number(self, key: str, low: float, high: float) -> float | None:
        """A number."""
        value: float | None = self._checked(key, number(low, high))
        return value

    def list(self, key: str, most: int) -> list[Any]:
        """A list; empty where there is none."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(key, f"must be a list of at most {most}")
        return value

    def stops(self, key: str) -> tuple[str, ...]:
        """Texts that end an answer."""
        value = self.get(key)
        given = [value] if isinstance(value, str) else value or []
        if not isinstance(given, list) or len(given) > _MOST_STOPS:
            raise self.wrong(key, f"must be a text, or a list of at most {_MOST_STOPS}")
        for each in given:
            if not isinstance(each, str) or len(each) > _MOST_STOP:
                raise self.wrong(key, f"must hold texts of at most {_MOST_STOP} characters")
        return tuple(self._text(key, each) for each in given if each)

    def content(self, key: str = "content") -> str:
        """What a message says: a text, or parts of which each is one."""
        value = self.get(key)
        if value is None:
            return ""
        if isinstance(value, str):
            return self._text(key, value)
        if not isinstance(value, list):
            raise self.wrong(key, "must be a text, or a list of parts")
        parts = [Fields(part, f"{self._where}{key}[{at}]") for at, part in enumerate(value)]
        for part in parts:
            if part.get("type") not in {"text", "input_text", "output_text"}:
                raise self.wrong(key, f"has a part of the type {part.get('type')!r:.40}; only texts are understood")
        return "".join(part.text("text") for part in parts)

    def _checked(self, key: str, check: Callable[[Any], Any]) -> Any:
        if self.get(key) is None:
            return None
        try:
            return check(self.get(key))
        except ValueError as error:
            raise self.wrong(key, str(error)) from None

    def _text(self, key: str, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.wrong(key, "holds half a character, so it is no text") from None
        if "\0" in value:
            raise self.wrong(key, "holds a NUL character, so it is no text")
        return value

    def wrong(self, key: str, why: str) -> Unanswerable:
        """What is raised for a field."""
        return Unanswerable(f"{self._where}{key} {why}", field=f"{self._where}{key}")


def read_messages(
    given: Sequence[Any], write_call: WriteCall, where: str = "messages"
) -> tuple[str | None, tuple[Turn, ...]]:
    """The system message, and the turns behind it; `write_call` writes a call as the pair's answers do. Raises Unanswerable."""
    if not given:
        raise Unanswerable(f"{where} must hold at least one message", field=where)
    turns = [_turn(Fields(message, f"{where}[{at}]"), write_call) for at, message in enumerate(given)]
    opening = list(itertools.takewhile(lambda turn: turn.role == "system", turns))
    turns = turns[len(opening) :]
    if not turns or turns[-1].role not in {"user", "tool"}:
        raise Unanswerable(f"the last of {where} must be the user's, or a tool's", field=where)
    if turns[-1].role == "user" and not turns[-1].content.strip():
        raise Unanswerable("there is nothing to answer: the last message is empty", field=where)
    return "\n\n".join(turn.content for turn in opening if turn.content) or None, tuple(turns)


def _turn(fields: Fields, write_call: WriteCall) -> Turn:
    """One message. Raises Unanswerable."""
    fields.refuse("images", "only texts are understood")
    content = fields.content()
    match fields.text("role"):
        case "system" | "developer":
            return Turn("system", content)
        case "user":
            return Turn("user", content)
        case "assistant":
            return Turn("assistant", _with_calls(fields, content, write_call))
        case "tool" | "function":
            return Turn("tool", content)
    raise fields.wrong("role", "must be system, developer, user, assistant or tool")


def read_tools(fields: Fields, *, nested: bool = True) -> tuple[Tool, ...]:
    """The functions in `tools`; with `nested` each stands in a field of its own. Raises Unanswerable."""
    tools: list[Tool] = []
    for at, given in enumerate(fields.list("tools", _MOST_TOOLS)):
        where = f"tools[{at}]"
        tool = Fields(given, where)
        if tool.get("type") not in {None, "function"}:
            raise Unanswerable(f"{where}.type must be function", field=f"{where}.type")
        function = Fields(tool.get("function"), f"{where}.function") if nested else tool
        name = function.text("name")
        if not _NAME.fullmatch(name):
            raise Unanswerable(f"{where} has no name that a function can have", field=where)
        parameters = function.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise Unanswerable(f"{where}.parameters must be a JSON schema, an object", field=where)
        described = {
            "name": name,
            "description": function.text("description", default=""),
            "parameters": parameters,
        }
        tools.append({"type": "function", "function": described})
    return tuple(tools)


def generation(
    temperature: float | None,
    top_p: float | None,
    top_k: int | None,
    seed: int | None,
    max_tokens: int | None,
    stop: tuple[str, ...],
    most_tokens: int,
) -> Generation:
    """How to answer; `most_tokens` where the program says nothing of them. Raises Unanswerable."""
    made = Generation(
        temperature, top_k, top_p, None if seed is None else seed % 2**64, max_tokens or most_tokens, stop
    )
    try:
        made.sampling(Sampling())
    except SettingsError as error:
        raise Unanswerable(str(error)) from None
    return made


def bound_to(form: Any, field: str) -> Grammar | None:
    """What an answer has to keep to, as OpenAI's APIs ask for it; None for texts. Raises Unanswerable."""
    if form is None:
        return None
    asked = Fields(form, field)
    match asked.text("type"):
        case "text":
            return None
        case "json_object":
            return grammar_of({"type": "object"}, field)
        case "json_schema":
            named = asked.get("json_schema")
            schema = (Fields(named, f"{field}.json_schema") if named is not None else asked).get("schema")
            return grammar_of(schema, field)
    raise asked.wrong("type", "must be text, json_object or json_schema")


def grammar_of(schema: Any, field: str) -> Grammar:
    """JSON that fits a schema. Raises Unanswerable for what is no schema."""
    if not isinstance(schema, dict):
        raise Unanswerable(f"{field} must hold a JSON schema, an object", field=field)
    return read_grammar(lambda: Grammar.of_schema(schema), field)


def read_grammar(make: Callable[[], Grammar], field: str) -> Grammar:
    """A grammar of a form that can be read. Raises Unanswerable."""
    try:
        grammar = make()
        grammar.read()
    except GrammarError as error:
        raise Unanswerable(str(error), field=field) from None
    return grammar


def most_of_tokens(fields: Fields, *keys: str) -> int | None:
    """The first of these fields that is given. Raises Unanswerable."""
    return next((value for key in keys if (value := fields.whole(key, 1, _MOST_TOKENS)) is not None), None)


def _with_calls(fields: Fields, content: str, write_call: WriteCall) -> str:
    """An assistant's message with its calls before what it says, as models write them."""
    lines = []
    for call in fields.list("tool_calls", _MOST_TOOLS):
        function = call.get("function") if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except (ValueError, RecursionError):
                arguments = None
        if not isinstance(function, dict) or not isinstance(arguments, dict):
            raise Unanswerable("tool_calls must hold functions with their arguments", field="tool_calls")
        lines.append(write_call(Call(str(function.get("name")), arguments)))
    return "\n".join([*lines, content] if content else lines)
