"""The home as a pair is told of it: a list in its system message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from edge_node.home_assistant.home import Entity, Home, Place
from edge_node.home_assistant.wording import DULL, holds, key, singular, words

_MOST_AREAS, _MOST_FLOORS = 5, 2  # as many as a home of the built-in pair's training has at most

Named = TypeVar("Named", Entity, Place)


def listing(home: Home, most: int, said: Sequence[str]) -> str:
    """Areas, floors and devices of a home in the form in which the built-in pair was trained with them, at most `most` devices.

    A home that has no more is listed whole. Of another one the part is listed that has words in common with what was `said`, the
    last request first; nothing where no name has. What was called by an alias is listed by it: a pair finds no other name in a list.
    """
    turns = [words(text) for text in reversed(said)]
    devices, areas, floors = list(home.devices), list(home.inhabited), list(home.storeys)
    if len(devices) > most or len(areas) > _MOST_AREAS or len(floors) > _MOST_FLOORS:
        rank = _ranking(turns)
        devices = _best(devices, most, rank)
        areas = _best(areas, _MOST_AREAS, rank)
        floors = _best(floors, _MOST_FLOORS, rank)
    lines = (("Areas", areas), ("Floors", floors), ("Devices", devices))
    return "\n".join(
        f"{title}: {', '.join(dict.fromkeys(_as_said(each, turns) for each in named))}"
        for title, named in lines
        if named
    )


def _as_said(named: Entity | Place, turns: Sequence[list[str]]) -> str:
    """The name by which something was called last, the longest where that holds several; its own where it was not called."""
    for turn in turns:
        called = [own for name in named.names if not DULL.issuperset(own := words(name)) and holds(turn, own)]
        if called:
            longest = max(called, key=len)
            return " ".join(longest)
    return key(named.name)


def _ranking(turns: Sequence[list[str]]) -> Callable[[str], float]:
    """How much a name has in common with what was said: its words that were said, as a share and by how much they tell."""
    told = [{singular(word) for word in turn} for turn in turns]

    def rank(name: str) -> float:
        own = [singular(word) for word in words(name)]
        weights = {word: 0.3 if word in DULL else 1.0 for word in own}
        total = sum(weights.values())
        scores = (
            sum(weight for word, weight in weights.items() if word in turn) / (1 + age) for age, turn in enumerate(told)
        )
        best = max(scores, default=0.0)
        return best + best / total if total else 0.0

    return rank


def _best(named: Sequence[Named], most: int, rank: Callable[[str], float]) -> list[Named]:
    """Those with the most in common, in the order of the home."""
    ranked = sorted(((max(map(rank, each.names)), -at, each) for at, each in enumerate(named)), key=lambda r: r[:2])
    kept = [each for score, _, each in ranked[::-1][:most] if score > 0]
    return [each for each in named if each in kept]
