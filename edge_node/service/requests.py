"""What is asked on a node's `ask` and `cancel` topics: plain text, or a JSON object whose fields are checked one by one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import Asking, Tool, Turn
from shared.errors import GrammarError, RequestError, SettingsError
from shared.fields import integer, number, text
from shared.grammar import Grammar
from shared.sampling_parameters import Sampling

FORMAT = 1  # the version of what is written on the topics of a service
MAX_REQUEST = 65_536  # bytes of a message
_MAX_NAME = 64  # characters of an id or a chat's name
_MAX_STOPS, _MAX_STOP = 8, 200  # stop strings, and characters of one
_MAX_TOKENS = 1_000_000


class BadRequest(RequestError):
    """A message that can't be answered; `id` is what its answer will be known by."""

    def __init__(self, request_id: str, reason: str) -> None:
        super().__init__(reason)
        self.id = request_id


@dataclass(frozen=True)
class Asked:
    """A request. `state` is what changes from one to the next, such as the time: it stands behind the text, so that what is before it stays shared."""

    id: str
    text: str
    generation: Generation
    chat: str = ""  # without one the request is a chat of its own
    system: str | None = None
    state: str = ""
    history: tuple[Turn, ...] = ()  # what was said before, where the asker keeps the chat
    role: Asking = "user"
    tools: tuple[Tool, ...] = ()  # that the asker has
    acts: bool = (
        True  # whether the answer's calls are carried out by this service or by who listens to it, and not by the asker
    )
    has_own_id: bool = True  # given by the asker, who may repeat it when an answer does not come

    @property
    def prompt(self) -> str:
        """What the user's turn says."""
        return f"{self.text}\n\n{self.state}" if self.state else self.text


def read_request(payload: bytes, most_tokens: int) -> Asked:
    """The request in a message; `most_tokens` where it says nothing of them. Raises BadRequest with a sentence."""
    given = _object(payload, "text")
    request_id = given.pop("id", None)
    has_own_id = request_id is not None
    request_id = _name(request_id, "id") if has_own_id else secrets.token_hex(8)
    if "data" in given and "text" not in given:
        given["text"] = given.pop("data")  # as ROS 2 says std_msgs/String
    try:
        values = {key: _checked(key, value) for key, value in given.items() if value is not None}
        said = str(values.pop("text", "")).strip()
        if not said:
            raise RequestError('there is nothing to answer; say it in "text"')
        stop = values.pop("stop", ())
        grammar = values.pop("schema", None)
        generation = Generation(
            **{key: values.pop(key) for key in ("temperature", "top_k", "top_p", "seed") if key in values},
            max_tokens=values.pop("max_tokens", most_tokens),
            stop=tuple(stop),
            grammar=grammar,
        )
        generation.sampling(Sampling())
        return Asked(request_id, said, generation, **values, acts=grammar is None, has_own_id=has_own_id)
    except (RequestError, SettingsError) as error:
        raise BadRequest(request_id, str(error)) from None


def spoken_request(spoken: str, chat: str, request_id: str, most_tokens: int) -> Asked:
    """A request that was spoken to another part of this program. Raises BadRequest for what is no text."""
    return read_request(json.dumps({"text": spoken, "chat": chat or None, "id": request_id}).encode(), most_tokens)


def read_cancel(payload: bytes) -> str:
    """The id of the request to be cancelled; "" for all that its asker has asked. Raises BadRequest."""
    given = _object(payload, "id")
    request_id = given.pop("id", "")
    if given:
        raise BadRequest("", f'a cancel has an "id" and nothing else, not {_listed(given)}')
    return "" if request_id == "" else _name(request_id, "id")


def _object(payload: bytes, key: str) -> dict[str, Any]:
    """The JSON object in a message; plain text is the value of `key`. Raises BadRequest."""
    if len(payload) > MAX_REQUEST:
        raise BadRequest("", f"a message has at most {MAX_REQUEST} bytes, this one {len(payload)}")
    try:
        said = payload.decode()
        if not said.lstrip().startswith("{"):
            return {key: said.strip()}
        given = json.loads(said)
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeError:
        raise BadRequest("", "the message is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        why = f": {error.msg} (character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest("", f"the message begins like a JSON object and is none{why}") from None
    assert isinstance(given, dict)
    return given


def _checked(key: str, value: Any) -> Any:
    """The value of a field, if it may be that. Raises RequestError."""
    if key not in _FIELDS:
        raise RequestError(f"there is no field {key!r:.80}; there are {', '.join(('id', *_FIELDS))}")
    try:
        checked = _FIELDS[key](value)
    except ValueError as error:
        raise RequestError(f"{key} {error}") from None
    for each in checked if isinstance(checked, tuple) else (checked,):
        if isinstance(each, str) and "\0" in each:
            raise RequestError(f"{key} holds a NUL character, so it is no text")
    return checked


def _stops(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or len(given) > _MAX_STOPS:
        raise ValueError(f"must be a text, or a list of at most {_MAX_STOPS}")
    checked = tuple(text(_MAX_STOP)(each) for each in given)
    if not all(checked):
        raise ValueError("must not hold an empty text: that would end every answer at once")
    return checked


def _grammar(value: Any) -> Grammar:
    """JSON that fits the schema `value`."""
    if not isinstance(value, dict):
        raise ValueError("must be a JSON schema, an object")  # noqa: TRY004 - as all checks of fields do
    try:
        grammar = Grammar.of_schema(value)
        grammar.read()
    except GrammarError as error:
        raise ValueError(f"can't be kept to: {error}") from None
    return grammar


def _name(value: Any, what: str) -> str:
    """An id or a chat's name: short text that can be shown. Raises BadRequest."""
    name = str(value) if type(value) is int else value
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise BadRequest("", f"the {what} must be 1 to {_MAX_NAME} printable characters")
    return name


def _listed(given: dict[str, Any]) -> str:
    return ", ".join(f"{key:.40}" for key in list(given)[:4])


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "text": text(MAX_REQUEST),
    "chat": lambda value: _name(value, "chat"),
    "system": text(MAX_REQUEST),
    "state": text(MAX_REQUEST),
    "max_tokens": integer(1, _MAX_TOKENS),
    "seed": integer(0, 2**64 - 1),
    "temperature": number(0, 100),
    "top_k": integer(0, 2**31 - 1),
    "top_p": number(0, 1),
    "stop": _stops,
    "schema": _grammar,
}
