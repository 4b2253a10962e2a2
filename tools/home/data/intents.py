"""The intents and follow-ups of the files in phrases/, and the actions that are drawn from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tomllib

from shared.pair import load_pair
from tools.home.data.grammar import tell
from tools.home.data.invent import Source
from tools.home.data.values import Value

PHRASES = Path(__file__).parent / "phrases"


@dataclass(frozen=True)
class Entry:
    """One [[intent]] of the phrase files."""

    name: str
    say: str = ""
    says: tuple[str, ...] = ()  # one of these is said, in place of `say`
    kind: str = ""  # of what must change nothing
    phrases: tuple[str, ...] = ()
    terse: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    weight: float = 1.0
    args: Mapping[str, Any] = field(default_factory=dict)
    home: bool = False  # only for dialogues with a list of the home
    last: bool = False  # its free text would swallow another action behind it
    first: bool = False  # behind another request it could be an answer or a correction

    @property
    def acts(self) -> bool:
        """Whether it can stand beside other actions."""
        return self.name not in ("", "HassNevermind")

    def wordings(self, source: Source) -> tuple[str, ...]:
        """The phrases that `source` may draw."""
        return self.unseen if source.phrasing == "held_out" else self.phrases + self.terse


@dataclass(frozen=True)
class FollowUp:
    """One [[follow_up]] of the phrase files."""

    phrases: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    weight: float = 1.0
    after: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    one_unit: str = ""  # the duration that {same_unit} stands in for
    becomes: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    say: str = ""

    def wordings(self, source: Source) -> tuple[str, ...]:
        """The phrases that `source` may draw."""
        return self.unseen if source.phrasing == "held_out" else self.phrases

    def fits(self, clause: Clause) -> bool:
        """Whether it can refer to `clause`."""
        return (
            (not self.after or clause.entry.name in self.after)
            and clause.drawn.keys() >= set(self.needs)
            and clause.drawn.keys().isdisjoint(self.without)
            and (not self.one_unit or len(clause.drawn[self.one_unit].arguments) == 1)
        )


@dataclass(frozen=True)
class Clause:
    """One action: its text, with values marked, and what fills its slots, by the key of the reply.

    The text is empty if that of the clause before has all of it: "the kitchen and the hall lights".
    """

    entry: Entry
    text: str
    drawn: Mapping[str, Value]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call, in the order of the pair's schema; those that the intent lacks are left out."""
        arguments = dict(self.entry.args)
        for drawn in self.drawn.values():
            arguments.update(drawn.arguments)
        return ordered(self.entry.name, arguments)

    @property
    def things(self) -> tuple[str, ...]:
        """The devices, rooms and storeys that it names, but not a device that is called by its kind alone."""
        named = [drawn.arguments for drawn in self.drawn.values() if drawn.listed]
        return tuple(arguments[key] for arguments in named for key in ("name", "area", "floor") if key in arguments)

    @property
    def say(self) -> str:
        """Its part of the reply."""
        return tell(self.entry.say, {key: drawn.said for key, drawn in self.drawn.items()})


@cache
def entries() -> tuple[Entry, ...]:
    """Every intent of the phrase files."""
    return tuple(Entry(**each) for each in _read("intent"))


@cache
def follow_ups() -> tuple[FollowUp, ...]:
    """Every follow-up of the phrase files."""
    return tuple(FollowUp(**each) for each in _read("follow_up"))


@cache
def schema() -> dict[str, tuple[str, ...]]:
    """The arguments of every call in the order in which a call has them: one request has one right answer, byte for byte."""
    tools = load_pair("home").tools
    assert tools is not None
    return {tool["name"]: tuple(tool["parameters"]["properties"]) for tool in json.loads(tools.read_text())}


def _read(kind: str) -> list[dict[str, Any]]:
    raw = [each for path in sorted(PHRASES.glob("*.toml")) for each in tomllib.loads(path.read_text()).get(kind, ())]
    return [{key: tuple(v) if isinstance(v, list) else v for key, v in each.items()} for each in raw]


def ordered(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that the call `name` has, in its order."""
    return {key: arguments[key] for key in schema().get(name, ()) if key in arguments}
