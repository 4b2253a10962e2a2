"""What an answer asks to be done, told apart from what it says.

A line that begins with `{` is a call, a JSON object `{"name": …, "arguments": {…}}`; `edge_node/dialogue/lines.py` says which
lines were to be calls, and the others are said. Calls are checked against the schemas in the pair's tools file, so whoever
carries them out gets arguments of the types and ranges that stand there, and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from edge_node.dialogue.lines import LineSorter, without_controls
from shared.errors import PairError
from shared.pair import Pair
from shared.text_file import read_text

MAX_CALLS = 64  # of one answer
MAX_LENGTH = 4096  # characters of one call
MAX_BRACKETS = 200  # of one call: how deep it can nest
_TOO_MANY = f"an answer has at most {MAX_CALLS} calls"
Check = Callable[[dict[str, Any]], None]  # raises ValueError with a sentence
_STOPS = ("stop", "robotstop")  # calls that are made of provisional text too
_ENTRY = {"name": str, "description": str, "parameters": dict}
_FETCHED = ("http", "https", "ftp", "file", "data")  # what fastjsonschema would open for a $ref


@dataclass(frozen=True)
class Call:
    """What is to be called, and with what."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class RefusedCall:
    """A line that was to be a call, or what is left of one, and a sentence that says why it is none."""

    text: str
    error: str


@dataclass(frozen=True)
class ParsedAnswer:
    """An answer taken apart; every line of it is in one of the three, in the order of the answer.

    What is said has no control characters but tabs and line feeds. A line that says something in front of a call is in two of them.
    """

    calls: tuple[Call, ...]
    say: str
    refused: tuple[RefusedCall, ...]


class CallReader:
    """Takes the answers of one pair apart. Without a tools file nothing is a call."""

    def __init__(self, pair: Pair) -> None:
        """Read the pair's tools file. Raises PairError when it is not a list of named schemas."""
        self._schemas = schemas_of(pair)
        self._checks: dict[str, Check] = {}

    def read(self, text: str) -> ParsedAnswer:
        """The calls of an answer and what it says. Whatever `text` is, nothing is raised."""
        if self._schemas is None:
            return ParsedAnswer((), without_controls(text), ())
        calls: list[Call] = []
        refused: list[RefusedCall] = []
        said: list[str] = []
        sorter = LineSorter()
        for line in text.split("\n"):
            says, asks = sorter.sort(line)
            if says is not None:
                said.append(says)
            if asks is None:
                continue
            read = self.read_call(asks) if len(calls) < MAX_CALLS else RefusedCall(asks, _TOO_MANY)
            if isinstance(read, Call):
                calls.append(read)
            else:
                refused.append(read)
        return ParsedAnswer(tuple(calls), "\n".join(said), tuple(refused))

    def read_call(self, line: str) -> Call | RefusedCall:
        """What a line is that was to be a call."""
        try:
            return self._checked(parse_call(line))
        except ValueError as error:
            return RefusedCall(line, str(error))

    @property
    def has_calls(self) -> bool:
        """Whether the pair's answers make calls at all."""
        return self._schemas is not None

    def allowed(self, call: Call) -> Call | None:
        """`call`, if the pair has it and its schema allows it."""
        try:
            return None if self._schemas is None else self._checked(call)
        except ValueError:
            return None

    def _checked(self, call: Call) -> Call:
        """`call`, if its schema allows it. Raises ValueError."""
        try:
            self._check(call.name)(call.arguments)
        except ValueError as error:
            raise ValueError(f"{call.name}: {error}") from None
        return call

    def _check(self, name: str) -> Check:
        """What checks the arguments of that call, made when it is first wanted. Raises ValueError."""
        assert self._schemas is not None
        if name not in self._schemas:
            raise ValueError("the pair has no such call")
        if name not in self._checks:
            self._checks[name] = _compiled(self._schemas[name])
        return self._checks[name]


def stops(call: Call) -> bool:
    """Whether a call stops something, which must not wait for a hub or a yes."""
    return call.name.lower() in _STOPS


def calls_that_may_be_made(
    reader: CallReader, text: str, provisional: str, *, are_doubted: bool = False
) -> tuple[Call, ...]:
    """The calls of an answer whose end is `provisional`: those in whole lines of the committed `text`, and those that stop something.

    What a device has drafted without a hub is no reason to act, nor are calls that `are_doubted`, but a robot that should
    stop must not wait for a hub.
    """
    if are_doubted:
        return tuple(filter(stops, reader.read(text + provisional).calls))
    if not provisional:
        return reader.read(text).calls
    committed = text[: text.rfind("\n") + 1]
    made = reader.read(committed).calls
    rest = reader.read((text + provisional)[len(committed) :]).calls
    return made + tuple(filter(stops, rest))


def schemas_of(pair: Pair) -> dict[str, dict[str, Any]] | None:
    """The argument schemas of the pair's tools file by the names of their calls; None without such a file. Raises PairError."""
    if pair.tools is None:
        return None
    path = pair.verify(pair.tools)
    try:
        entries = json.loads(read_text(path, "the tools file", PairError))
    except (ValueError, RecursionError) as error:
        raise PairError(f"{path} is not JSON: {error}") from None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise PairError(f'{path} is not a list of {{"name", "description", "parameters": a schema}}')
    schemas = {entry["name"]: entry["parameters"] for entry in entries}
    if len(schemas) < len(entries):
        raise PairError(f"{path} has two calls of one name")
    return schemas


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == _ENTRY.keys()
        and all(isinstance(entry[key], kind) for key, kind in _ENTRY.items())
    )


def _compiled(schema: dict[str, Any]) -> Check:
    """A check of arguments by `schema`. Raises ValueError for a schema that is broken."""
    import fastjsonschema

    try:
        validate = fastjsonschema.compile(schema, handlers=dict.fromkeys(_FETCHED, _not_fetched), use_default=False)
    except Exception as error:  # re.error, KeyError and others, depending on what is broken
        raise ValueError(f"the pair's schema of this call is broken: {error}") from None

    def check(arguments: dict[str, Any]) -> None:
        try:
            validate(arguments, name_prefix="arguments")
        except fastjsonschema.JsonSchemaValueException as error:
            options = error.rule_definition if error.rule == "anyOf" else []
            raise ValueError(_lacking(error.name or "arguments", options) or error.message) from None
        except Exception as error:  # a schema may be broken in ways that only values bring out
            raise ValueError(f"the arguments cannot be checked: {error}") from None

    return check


def _lacking(name: str, options: list[Any]) -> str:
    """The sentence for an anyOf that only says which properties are required, else nothing."""
    if not options or not all(isinstance(option, dict) and option.keys() == {"required"} for option in options):
        return ""
    return f"{name} must contain " + " or ".join(" and ".join(map(str, option["required"])) for option in options)


def _not_fetched(uri: str) -> NoReturn:
    raise ValueError(f"{uri} lies outside the tools file")


def parse_call(line: str) -> Call:
    """The call that a line is by its form alone. Raises ValueError with a sentence."""
    if len(line) > MAX_LENGTH:
        raise ValueError(f"a call has at most {MAX_LENGTH} characters, this one {len(line)}")
    if line.count("{") + line.count("[") > MAX_BRACKETS:
        raise ValueError(f"a call opens at most {MAX_BRACKETS} brackets")
    try:
        call = json.loads(
            line, object_pairs_hook=_object, parse_int=_integer, parse_float=_finite, parse_constant=_finite
        )
        json.dumps(call, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON: {error.msg} (character {error.pos + 1})") from None
    except UnicodeEncodeError:
        raise ValueError("a string holds half of a surrogate pair") from None
    well_formed = isinstance(call, dict) and call.keys() == {"name", "arguments"} and isinstance(call["name"], str)
    if not well_formed or not isinstance(call["arguments"], dict):
        raise ValueError('a call has a "name", a string, and "arguments", an object, and nothing else')
    return Call(**call)


def in_a_line(call: Call) -> str:
    """A call as the built-in pair writes it."""
    return json.dumps(asdict(call), ensure_ascii=False, separators=(",", ":"))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keyed = dict(pairs)
    if len(keyed) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return keyed


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _integer(text: str) -> int:
    _finite(text)
    return int(text)
