"""Requests in English with the tool calls they mean and the reply, drawn from phrases.toml and words.toml.

`python -m tools.home.generate --count 20` prints some.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import tomllib
import typer

from tools.home.grammar import expand
from tools.home.values import Source, Value, Values

# The order of arguments in a call: one request has one right answer, byte for byte.
ARGUMENT_ORDER = (
    "name", "area", "domain", "item", "place", "direction", "distance_m", "degrees", "brightness", "color",
    "temperature", "volume_level", "hours", "minutes", "seconds",
)  # fmt: skip
_BEFORE = [
    "please ",
    "could you ",
    "can you ",
    "could you please ",
    "would you ",
    "hey, ",
    "i want you to ",
    "i would like you to ",
    "ok, ",
]
_AFTER = [" please", ", please", ", thanks", " now", " for me"]
_JOINTS = [" and ", " and ", " and then ", " then ", ", then ", ", ", " and also "]


@dataclass(frozen=True)
class Entry:
    """One entry of phrases.toml."""

    name: str
    say: str
    phrases: tuple[str, ...] = ()
    terse: tuple[str, ...] = ()
    weight: float = 1.0
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchange:
    """A request and the answer it should get: `calls` as (name, arguments), and the sentence that is said."""

    request: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    say: str

    @property
    def answer(self) -> str:
        """The text that the assistant writes: one call per line, then the sentence."""
        lines = [
            json.dumps({"name": n, "arguments": a}, separators=(",", ":"), ensure_ascii=False) for n, a in self.calls
        ]
        return "\n".join([*lines, self.say])


@cache
def entries() -> tuple[Entry, ...]:
    """The entries of phrases.toml, checked when first read."""
    raw: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text())["intent"]
    return tuple(_entry(**entry) for entry in raw)


def _entry(name: str, say: str, phrases: Sequence[str] = (), terse: Sequence[str] = (), **more: Any) -> Entry:
    return Entry(name, say, tuple(phrases), tuple(terse), **more)


def exchange(rng: random.Random, source: Source) -> Exchange:
    """Draw one request with its calls and reply."""
    entry = rng.choices(entries(), [e.weight for e in entries()])[0]
    capital = rng.random() < 0.3
    if not entry.name:
        request, _, say = _clause(entry, rng, source, capital)
        return Exchange(_ended(request, rng), (), _sentence([say]))
    acting = [e for e in entries() if e.name]
    count = rng.choices((1, 2, 3), (0.66, 0.26, 0.08))[0]
    chosen = [entry, *rng.choices(acting, [e.weight for e in acting], k=count - 1)]
    clauses = [_clause(e, rng, source, capital and i == 0) for i, e in enumerate(chosen)]
    request = clauses[0][0]
    for text, _, _ in clauses[1:]:
        request += rng.choice(_JOINTS) + text
    calls = tuple((e.name, arguments) for e, (_, arguments, _) in zip(chosen, clauses, strict=True))
    return Exchange(_ended(request, rng), calls, _sentence([say for _, _, say in clauses]))


def conversation(rng: random.Random, source: Source) -> list[Exchange]:
    """One to four exchanges that do not refer to each other."""
    return [exchange(rng, source) for _ in range(rng.choices((1, 2, 3, 4), (0.6, 0.2, 0.12, 0.08))[0])]


def _clause(entry: Entry, rng: random.Random, source: Source, capital: bool) -> tuple[str, dict[str, Any], str]:
    """A request for `entry`, its arguments and its part of the reply; `capital` begins the request with one."""
    values = Values(rng, source)
    drawn: dict[str, Value] = {}

    def fill(slot: str) -> str:
        drawn[slot] = values.draw(slot)
        return drawn[slot].spoken

    wording = rng.choice([*entry.phrases, *entry.terse])
    text = expand(wording, rng, fill)
    if wording in entry.phrases:
        if rng.random() < 0.2:
            text = rng.choice(_BEFORE) + text
        elif rng.random() < 0.1:
            text += rng.choice(_AFTER)
    if capital:
        # Values are copied as they were typed: one that begins the request takes its capital along.
        drawn = {slot: _capital_if(value, text.startswith(value.spoken)) for slot, value in drawn.items()}
        text = _capital(text)
    arguments = dict(entry.args)
    for value in drawn.values():
        arguments.update(value.arguments)
    ordered = {key: arguments[key] for key in ARGUMENT_ORDER if key in arguments}
    return text, ordered, entry.say.format_map({slot: value.said for slot, value in drawn.items()})


def _capital_if(value: Value, begins: bool) -> Value:
    copied = {key: text for key, text in value.arguments.items() if text == value.spoken}
    if not begins or not copied:
        return value
    arguments = {key: _capital(text) if key in copied else text for key, text in value.arguments.items()}
    return Value(value.spoken, arguments, _capital(value.said))


def _capital(text: Any) -> str:
    return str(text)[0].upper() + str(text)[1:]


def _ended(request: str, rng: random.Random) -> str:
    return request + rng.choice(".!..") if rng.random() < 0.25 else request


def _sentence(clauses: list[str]) -> str:
    return _capital(" and ".join(clauses)) + "."


def main(count: Annotated[int, typer.Option(min=1)] = 10, seed: int = 0, held_out: bool = False) -> None:
    """Print some exchanges."""
    rng = random.Random(seed)
    for _ in range(count):
        drawn = exchange(rng, Source("held_out" if held_out else "train"))
        typer.echo(f"> {drawn.request}\n{drawn.answer}\n")


if __name__ == "__main__":
    typer.run(main)
