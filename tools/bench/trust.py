"""What the built-in pair is asked where a home has to trust it: requests that must change nothing, requests in many spellings, homes of many sizes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomllib

from edge_node.home_assistant.home import Entity, Place
from edge_node.home_assistant.home import Home as ListedHome
from edge_node.home_assistant.listing import listing
from edge_node.settings import HomeAssistantSettings
from tools.bench.asking import AskedRequest
from tools.bench.confusion import calls_of, right
from tools.home.data.generate import Dialogue, Exchange, exchange, refusal, refusal_kinds, request_at
from tools.home.data.homes import Home, draw_home
from tools.home.data.invent import HELD_OUT, NEW_PHRASING
from tools.home.data.names import Names

SIZES = (5, 20, 50, 100, 400)  # devices of a home
_USUAL = Path(__file__).with_name("usual.toml")
_FAMILIAR = replace(HELD_OUT, misspelt=0.0)


def must_change_nothing(count: int, seed: int) -> list[Dialogue]:
    """As many requests of each kind, half of them in phrasings that training draws, all with words that it does not."""
    rng = random.Random(seed)
    kinds = refusal_kinds()
    return [
        refusal(rng, NEW_PHRASING if number // len(kinds) % 2 else HELD_OUT, kinds[number % len(kinds)])
        for number in range(count)
    ]


def usual() -> list[Dialogue]:
    """What people ask of a home most, each in a chat of its own."""
    told = tomllib.loads(_USUAL.read_text())["requests"]
    return [Dialogue(None, (Exchange(request, tuple(map(_call, calls)), ""),)) for request, calls in told.items()]


def _call(told: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return told["call"], {name: value for name, value in told.items() if name != "call"}


def acted(asked: AskedRequest) -> bool:
    """Whether an answer makes a call without asking back, or something that was to be one."""
    return not asked.answer.question and calls_of(asked.answer.meant) != []


def acted_by_kind(answered: Sequence[AskedRequest]) -> dict[str, float]:
    """The share of each kind in which something was done."""
    asked = Counter(each.exchange.kind for each in answered)
    wrong = Counter(each.exchange.kind for each in answered if acted(each))
    return {kind: round(wrong[kind] / count, 4) for kind, count in sorted(asked.items())}


def in_a_home(size: int, count: int, seed: int) -> list[Dialogue]:
    """Requests for what a home of that many devices has, under the list that a service gives for each."""
    rng = random.Random(f"{seed} {size}")
    return [_listed(_home(size, rng), rng) for _ in range(count)]


def _home(size: int, rng: random.Random) -> Home:
    names = Names(rng, HELD_OUT)
    return draw_home(rng, names.area, names.floor, names.text, (max(2, size // 8), size))


def _listed(home: Home, rng: random.Random) -> Dialogue:
    asked = request_at(home, rng, _FAMILIAR)
    floors = tuple(Place(name, (name,)) for name in home.floors)
    areas = tuple(
        Place(name, (name,), home.floors[at % len(home.floors)] if home.floors else "")
        for at, name in enumerate(home.areas)
    )
    entities = tuple(
        Entity(f"light.{at}", (name,), areas[at % len(areas)].id) for at, (_, name) in enumerate(home.devices)
    )
    told = ListedHome(areas, floors, entities, frozenset(each.id for each in entities))
    return Dialogue(listing(told, HomeAssistantSettings().listed, [asked.request]), (asked,))


def spellings(text: str) -> Iterator[str]:
    """Ten ways in which the same is typed."""
    middle = text.find(" ", len(text) // 2)
    yield text.upper()
    yield text.replace("'", "\u2019") + "\u2026"
    yield f"{text} \U0001f642"
    yield text.replace(" ", "\t", 1)
    yield f"{text[:middle]}\n{text[middle + 1 :]}" if middle > 0 else f"\n{text}"
    yield text.replace(" ", "  ")
    yield text.replace(" ", "\u00a0")
    yield text.replace("e", "\u00e9", 1)
    yield f"  \u201c{text}\u201d  "
    yield text.replace(" degrees", "\u00b0").replace("-", "\u2212") + "!!!"


def typed(count: int, seed: int) -> list[list[Dialogue]]:
    """Requests, each with its spellings behind it. None ends in a mark, which would be part of what is spelled."""
    rng = random.Random(seed)
    groups: list[list[Dialogue]] = []
    while len(groups) < count:
        asked = exchange(rng, HELD_OUT)
        if asked.request[-1] in ".!?" or " " not in asked.request:
            continue
        forms = [asked.request, *spellings(asked.request)]
        groups.append([Dialogue(None, (replace(asked, request=form),)) for form in forms])
    return groups


def same_calls(groups: Sequence[Sequence[AskedRequest]]) -> float:
    """The share of spellings that lead to the calls of the plain one; capitals don't count, as no home tells names apart by them."""
    same = [_folded(spelled) == _folded(group[0]) for group in groups for spelled in group[1:]]
    return round(sum(same) / len(same), 4)


def _folded(asked: AskedRequest) -> str:
    return repr(calls_of(asked.answer.meant)).casefold()


def share_asked_back(answered: Sequence[AskedRequest]) -> float:
    """The share of answers whose calls are asked back about ("Did you mean …?")."""
    return round(sum(map(_asks_back, answered)) / len(answered), 4)


def _asks_back(asked: AskedRequest) -> bool:
    return asked.answer.question != "" and not asked.answer.doubt.lacks


def share_right_at_once(answered: Sequence[AskedRequest]) -> float | None:
    """The share of answers whose calls are exactly those that were meant, and made without asking back."""
    return share_right(answered, lambda each: not _asks_back(each))


def share_right(
    answered: Sequence[AskedRequest], also: Callable[[AskedRequest], bool] = lambda _: True
) -> float | None:
    """The share of answers whose calls are exactly those that were meant, of which `also` holds."""
    good = [right(each.answer.meant, each.exchange.calls) and also(each) for each in answered]
    return round(sum(good) / len(good), 4) if good else None
