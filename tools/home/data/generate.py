"""Requests in English with the calls they mean and the reply, drawn from the files in phrases/ and words.toml.

`python -m tools.home.data.generate --count 20` prints some dialogues.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any

import tomllib
import typer

from shared.program import run
from shared.typed_text import plain_line, plain_lines
from tools.home.data.disorder import (
    capital,
    disordered,
    ends_with,
    filled,
    misspelt,
    plain,
    starts_with,
    value,
)
from tools.home.data.grammar import expand
from tools.home.data.homes import Home, draw_home
from tools.home.data.intents import PHRASES, Clause, Entry, entries, follow_ups, schema
from tools.home.data.invent import HELD_OUT, NEW_PHRASING, Source
from tools.home.data.names import Names
from tools.home.data.results import result_of
from tools.home.data.values import Value, Values

_OF_HOME = 0.45  # share of the requests under a list of the home that only the list makes clear
# Arguments that are copied from the request, and take its capitals along.
_TYPED = frozenset({"name", "area", "floor", "item", "place", "search_query", "message", "conversation_command"})
# What a timer may be told to do when it ends.
_COMMANDS = {
    "HassTurnOn",
    "HassTurnOff",
    "HassLightSet",
    "HassSetPosition",
    "HassMediaPause",
    "HassClimateSetTemperature",
    "HassVacuumCleanArea",
}
# Values of any words, from whose end nobody could tell "now", "for me" or another action.
_FREE = frozenset({"command", "item", "message", "query", "task"})
_EXCHANGES = (0.6, 0.22, 0.12, 0.06)  # shares of dialogues of one, two … exchanges; the chat template keeps no more
UNKNOWN = "unknown"  # the kind of a request for what the list of the home has not
_TOLD = 0.06  # share of the requests with one call after which what came of it is told
_UNKNOWN = 0.35  # share of the requests under a list of the home that may be for something that it has not
_REMOVED = 0.6  # share of the homes that lose what the first request is for, if that is something they have
_FOLLOWING = 0.6  # share of later requests in a dialogue that refer to the one before


@dataclass(frozen=True)
class Exchange:
    """A request and the answer it should get: `calls` as (name, arguments), and the sentence that is said."""

    request: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    say: str
    kind: str = ""  # of a request that must change nothing

    @property
    def answer(self) -> str:
        """The text that the assistant writes: one call per line, then the sentence."""
        lines = [
            json.dumps({"name": n, "arguments": a}, separators=(",", ":"), ensure_ascii=False) for n, a in self.calls
        ]
        return "\n".join([*lines, self.say])


@dataclass(frozen=True)
class Dialogue:
    """Exchanges of one chat, and the system message before them, if there is one."""

    system: str | None
    exchanges: tuple[Exchange, ...]


@cache
def _wraps() -> dict[str, list[str]]:
    wraps: dict[str, list[str]] = tomllib.loads((PHRASES / "wraps.toml").read_text())
    return wraps


def dialogue(rng: random.Random, source: Source) -> Dialogue:
    """Draw one to four exchanges, some with a list of the home before them, some that refer to the one before."""
    home = None
    if rng.random() < source.homes:
        home = _home(rng, source)
    exchanges: list[Exchange] = []
    clauses: list[Clause] = []
    for _ in range(rng.choices(range(1, len(_EXCHANGES) + 1), _EXCHANGES)[0]):
        followed = _follow(clauses[0], rng, source, home) if len(clauses) == 1 and rng.random() < _FOLLOWING else None
        clauses = [followed] if followed else _clauses(rng, source, home, first=not exchanges)
        if home:
            if not exchanges and rng.random() < _REMOVED:
                home = _removed(clauses, home, rng)
            clauses = _known(clauses, home)
        exchanges.append(_exchange(clauses, rng, source, home))
        if len(exchanges[-1].calls) == 1 and len(exchanges) < len(_EXCHANGES) and rng.random() < _TOLD:
            exchanges.append(_result(exchanges[-1], rng, source))
    return Dialogue(plain_lines(home.listed(rng)) if home else None, tuple(exchanges))


def _result(asked: Exchange, rng: random.Random, source: Source) -> Exchange:
    """What came of a call, and the sentence that it is put into."""
    ((name, arguments),) = asked.calls
    names = Names(rng, source)
    told, say = result_of(name, arguments, [names.text("name") for _ in range(rng.randint(1, 3))], rng)
    return Exchange(plain_line(told), (), f"{capital(say)}.")


def refusal_kinds() -> tuple[str, ...]:
    """The kinds of requests that must change nothing."""
    return (*dict.fromkeys(each.kind for each in entries() if each.kind), UNKNOWN)


def refusal(rng: random.Random, source: Source, kind: str) -> Dialogue:
    """Draw a request of that kind, half of them under a list of the home."""
    while kind == UNKNOWN:
        drawn = dialogue(rng, replace(source, homes=1.0))
        if drawn.exchanges[0].kind == UNKNOWN:
            return replace(drawn, exchanges=drawn.exchanges[:1])
    home = _home(rng, source) if rng.random() < 0.5 else None
    fit = [each for each in entries() if each.kind == kind and each.wordings(source)]
    clause = _clause(rng.choices(fit, [each.weight for each in fit])[0], rng, source, home)
    return Dialogue(plain_lines(home.listed(rng)) if home else None, (_exchange([clause], rng, source),))


def request_at(home: Home, rng: random.Random, source: Source) -> Exchange:
    """Draw one request for what a home has."""
    while True:
        clauses = _clauses(rng, source, home)
        if not _lacking(clauses, home):
            return _exchange(clauses, rng, source)


def _home(rng: random.Random, source: Source) -> Home:
    names = Names(rng, source)
    if source.odd_homes and rng.random() < source.odd_homes:
        return draw_home(
            rng, names.anything, names.anything, lambda kind: names.anything() if kind == "name" else names.text(kind)
        )
    return draw_home(rng, names.area, names.floor, names.text)


def exchange(rng: random.Random, source: Source) -> Exchange:
    """Draw one request that stands alone."""
    return _exchange(_clauses(rng, source, None), rng, source)


def _lacking(clauses: list[Clause], home: Home) -> list[str]:
    """What the actions name and the home's list has not."""
    return [name for clause in clauses for name in clause.things if not home.has(name)]


def _told_by(clauses: list[Clause], home: Home) -> bool:
    """Whether the home's list tells every name in these actions from the words around it."""
    free = any(_FREE & clause.drawn.keys() for clause in clauses)
    return not free and any(clause.things for clause in clauses) and not _lacking(clauses, home)


def _known(clauses: list[Clause], home: Home) -> list[Clause]:
    """The actions, or a refusal if one is for something that the home's list has not."""
    unknown = _lacking(clauses, home)
    if not unknown:
        return clauses
    refusal = Entry("", f"there is no {unknown[0]} in this home, so I changed nothing", kind=UNKNOWN)
    return [replace(clause, entry=refusal if at == 0 else Entry(""), drawn={}) for at, clause in enumerate(clauses)]


def _removed(clauses: list[Clause], home: Home, rng: random.Random) -> Home:
    """The home without one thing that is asked for: then the list alone tells this refusal from an action."""
    lights = {f"{area} light" for area in home.areas}  # without it, the lights of its area would be meant
    things = [name for clause in clauses for name in clause.things if home.has(name) and name.lower() not in lights]
    fewer = home.without(rng.choice(things)) if things else home
    return fewer if fewer.areas else home


def _clauses(rng: random.Random, source: Source, home: Home | None, *, first: bool = True) -> list[Clause]:
    """One to three actions; with a home, mostly all of them for what it has."""
    unknown = rng.random() < _UNKNOWN
    while True:
        clauses = _any_clauses(rng, source, home, first=first)
        if home is None or unknown or not _lacking(clauses, home):
            return clauses


def _any_clauses(rng: random.Random, source: Source, home: Home | None, *, first: bool) -> list[Clause]:
    count = rng.choices((1, 2, 3), (0.77, 0.17, 0.06))[0]
    clauses: list[Clause] = []
    while len(clauses) < count:
        end = len(clauses) == count - 1
        clause = _clause(_pick(rng, source, home, alone=count == 1, end=end, first=first), rng, source, home)
        if end or not _ends_free(clause.text, clause.drawn):
            clauses.append(clause)
    return _doubled(clauses[0], rng, source, home) if count == 1 else clauses


def _pick(rng: random.Random, source: Source, home: Home | None, *, alone: bool, end: bool, first: bool) -> Entry:
    """An entry for an action: the only one of its request (`alone`), the last (`end`) or neither."""
    of_home = home is not None and rng.random() < _OF_HOME
    fit = [
        each
        for each in entries()
        if each.home == of_home
        and each.wordings(source)
        and (alone or each.acts)
        and (end or not each.last)
        and (first or not each.first)
    ]
    return rng.choices(fit, [entry.weight for entry in fit])[0]


def _clause(entry: Entry, rng: random.Random, source: Source, home: Home | None) -> Clause:
    wording = rng.choice(entry.wordings(source))

    def order(names: Collection[str] | None = None, of: Home | None = None) -> str:
        fit = [
            each
            for each in entries()
            if each.acts and not each.home and each.phrases and (names is None or each.name in names)
        ]
        chosen = rng.choices(fit, [each.weight for each in fit])[0]
        values = Values(rng, source, of, floors=_has_floors(chosen), command=lambda: order(_COMMANDS))
        return plain(_expand(rng.choice(chosen.phrases), rng, values)[0])

    values = Values(
        rng,
        source,
        home,
        floors=_has_floors(entry),
        command=lambda: order(_COMMANDS),
        order=lambda: order(of=home),
    )
    text, drawn = _expand(wording, rng, values)
    if entry.says:
        entry = replace(entry, say=rng.choice(entry.says))
    if wording in entry.phrases:
        if rng.random() < 0.2:
            text = f"{rng.choice(_wraps()['before'])} {text}"
        if rng.random() < 0.1 and not _ends_free(text, drawn):
            text = f"{text} {rng.choice(_wraps()['after'])}".replace(" ,", ",")
    return Clause(entry, text, drawn)


def _ends_free(text: str, drawn: Mapping[str, Value]) -> bool:
    """Whether the marked `text` ends in a value of which what follows could seem a part."""
    return any(ends_with(text, drawn[key].spoken) for key in _FREE & drawn.keys())


def _has_floors(entry: Entry) -> bool:
    return "floor" in schema().get(entry.name, ())


def _expand(
    wording: str, rng: random.Random, values: Values, former: Clause | None = None
) -> tuple[str, dict[str, Value]]:
    """The text with values marked, and the values by their keys."""
    drawn: dict[str, Value] = {}

    def fill(slot: str) -> str:
        got = values.again(former.drawn["duration"]) if former and slot == "same_unit" else values.draw(slot)
        if got.key:
            drawn[got.key] = got
        return value(got.spoken) if got.spoken else ""

    return expand(wording, rng, fill), drawn


def _doubled(clause: Clause, rng: random.Random, source: Source, home: Home | None) -> list[Clause]:
    """The action for another name or place too: "… in the kitchen and the hall", "the lamp and the fan …"; or it alone."""
    if rng.random() >= 0.3 or source.phrasing == "held_out" or clause.entry.last or clause.entry.home:
        return [clause]
    for key, slot in (("name", "name"), ("where", "room"), ("area", "area")):
        if key not in clause.drawn or (key == "name" and clause.entry.name not in ("HassTurnOn", "HassTurnOff")):
            continue
        first = clause.drawn[key].spoken
        bare = first in clause.drawn[key].arguments.values()
        if clause.text.count(value(first)) != 1 or not (ends_with(clause.text, first) or (bare and rng.random() < 0.3)):
            continue
        second, drawn = _expand(f"<the> {{{slot}}}", rng, Values(rng, source, home, floors=_has_floors(clause.entry)))
        text = clause.text.replace(value(first), f"{value(first)} and {second}")
        return [replace(clause, text=text), Clause(clause.entry, "", {**clause.drawn, **drawn})]
    return [clause]


def _follow(clause: Clause, rng: random.Random, source: Source, home: Home | None) -> Clause | None:
    """A request that refers to `clause`, if there is one that can."""
    fit = [each for each in follow_ups() if each.fits(clause) and each.wordings(source) and clause.entry.name]
    if not fit:
        return None
    chosen = rng.choices(fit, [each.weight for each in fit])[0]
    text, drawn = _expand(
        rng.choice(chosen.wordings(source)), rng, Values(rng, source, home, floors=_has_floors(clause.entry)), clause
    )
    if not chosen.becomes:
        return Clause(clause.entry, text, {**clause.drawn, **drawn})
    renamed = {chosen.rename.get(key, key): v for key, v in clause.arguments.items() if key not in chosen.drop}
    return Clause(Entry(chosen.becomes, chosen.say, args=renamed), text, {})


def _exchange(clauses: list[Clause], rng: random.Random, source: Source, home: Home | None = None) -> Exchange:
    """The request as somebody types it, and its answer."""
    text = clauses[0].text
    for clause in clauses[1:]:
        text += f"{rng.choice(_wraps()['joints'])}{clause.text}" if clause.text else ""
    if rng.random() < 0.06:
        text = f"{rng.choice(_wraps()['call'])} {text}"
    if rng.random() < 0.04:
        text = filled(text, rng, _wraps()["fillers"])
    if home and _told_by(clauses, home) and rng.random() < source.strewn:
        for _ in range(rng.choice((1, 1, 2, 3))):
            text = filled(text, rng, _wraps()["strewn"], touching=True)
    if rng.random() < source.misspelt:
        text = misspelt(text, rng)
    if rng.random() < 0.3:
        first = clauses[0]
        begins = {key: v for key, v in first.drawn.items() if starts_with(text, v.spoken)}
        clauses = [
            replace(first, drawn={**first.drawn, **{key: _capital_value(v) for key, v in begins.items()}}),
            *clauses[1:],
        ]
        text = capital(text)
    calls = tuple((clause.entry.name, clause.arguments) for clause in clauses if clause.entry.name)
    say = capital(" and ".join(clause.say for clause in clauses if clause.say)) + "."
    return Exchange(plain_line(disordered(plain(text), rng)), calls, say, clauses[0].entry.kind)


def _capital_value(drawn: Value) -> Value:
    """Values are copied as they were typed: one that begins the request takes its capital along."""
    arguments = {
        key: capital(text)
        if isinstance(text, str) and text and drawn.spoken.startswith(text) and key in _TYPED
        else text
        for key, text in drawn.arguments.items()
    }
    return replace(drawn, arguments=arguments)


def main(
    count: Annotated[int, typer.Option(min=1)] = 10,
    seed: int = 0,
    held_out: Annotated[bool, typer.Option("--held-out", help="words that training never draws")] = False,
    new_phrasing: Annotated[bool, typer.Option("--new-phrasing", help="and phrasings that it never draws")] = False,
) -> None:
    """Print some dialogues."""
    rng = random.Random(seed)
    source = NEW_PHRASING if new_phrasing else HELD_OUT if held_out else Source("train")
    for _ in range(count):
        drawn = dialogue(rng, source)
        typer.echo(f"[{drawn.system}]" if drawn.system else "")
        for each in drawn.exchanges:
            typer.echo(f"> {each.request}\n{each.answer}")


if __name__ == "__main__":
    run("tools.home.data.generate", main)
