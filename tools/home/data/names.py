"""The names of things: devices, rooms, storeys, and all else that is copied from a request; with a home, mostly what it has."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import tomllib

from tools.home.data.homes import Home
from tools.home.data.invent import Source, any_word, head, invented_word, listed_word

_SENTENCES = ("messages", "tasks", "titles")  # lists of what may be any words in a row
# The devices that any "name" may be, by their slot, and how often.
_NAMED = {"lamp": 8, "fan_name": 2, "thermostat": 2, "player": 2}


@cache
def slots() -> dict[str, dict[str, Any]]:
    """The slots of slots.toml."""
    return tomllib.loads(Path(__file__).with_name("slots.toml").read_text())


@cache
def options(slot: str) -> tuple[list[Any], ...]:
    """The options of a slot that is one of a few, with those of the slots that it is `like`."""
    about = slots()[slot]
    return (*about["options"], *(option for other in about.get("like", ()) for option in options(other)))


class Names:
    """Draws the words of slots whose value is copied."""

    def __init__(self, rng: random.Random, source: Source, home: Home | None = None) -> None:
        self._rng = rng
        self._source = source
        self._home = home

    def text(self, slot: str) -> str:
        """The words of a slot whose value is copied."""
        if slot == "area":
            return self.area_here()
        if self._home and self._rng.random() < 0.8 and (names := self._home.of(slot)):
            return self._rng.choice(names)
        if slot == "name":
            return self._name()
        if slot == "query":
            return self._query()
        about = slots()[slot]
        return self._headed(about) if "head" in about else self.listed(about["list"])

    def area(self) -> str:
        """The name of a room or place."""
        return self.listed("areas")

    def floor(self) -> str:
        """The name of a storey."""
        return self.listed("floors", invented=0.3)

    def anything(self) -> str:
        """One or two words that do not tell what bears the name."""
        kinds = [
            self._rng.choice(("modifiers", "areas", "devices", "items")) for _ in range(self._rng.choice((1, 2, 2)))
        ]
        return " ".join(self.listed(kind).split()[-1] for kind in kinds)

    def listed(self, kind: str, invented: float | None = None) -> str:
        """An entry of the list `kind`, or as often as `invented`, by default the source's, words that no list has."""
        rng = self._rng
        if rng.random() >= (self._source.invented if invented is None else invented):
            return listed_word(kind, rng, self._source)
        if kind in _SENTENCES and rng.random() < 0.6:
            return " ".join(self._any_word() for _ in range(rng.randint(2, 7)))
        made = self._invented()
        if rng.random() < 0.3:
            made[max(1, len(made) - 1) :] = [listed_word(kind, rng, self._source).split()[-1]]
        return " ".join(made)

    def _any_word(self) -> str:
        draw = invented_word if self._rng.random() < 0.2 else any_word
        return draw(self._rng, self._source)

    def _invented(self) -> list[str]:
        count = self._rng.choices((1, 2, 3, 4), (12, 7, 2.5, 0.5))[0]
        made = [invented_word(self._rng, self._source) for _ in range(count)]
        if count > 1 and self._rng.random() < 0.2:
            made[self._rng.randrange(count - 1)] += "'s"
        return made

    def _name(self) -> str:
        rng = self._rng
        if rng.random() < 0.25:
            return self._headed(slots()[rng.choices(list(_NAMED), list(_NAMED.values()))[0]])
        device = listed_word("devices", rng, self._source)
        if rng.random() < 0.3:
            return device
        if rng.random() < self._source.invented:
            made = self._invented()
            return " ".join(made if rng.random() < 0.35 else [*made, device])
        return f"{listed_word('modifiers', rng, self._source)} {device}"

    def _headed(self, about: dict[str, Any]) -> str:
        """A name that ends in a noun that tells what it is; an invented word before a light would be its area."""
        rng, noun = self._rng, head(about["head"], self._rng)
        if rng.random() < about["alone"] and noun not in about.get("never_alone", ()):
            return noun
        invented = rng.random() < self._source.invented
        return f"{' '.join(self._invented()) if invented else listed_word('modifiers', rng, self._source)} {noun}"

    def _query(self) -> str:
        rng, kind = self._rng, self._rng.choice(("artists", "titles", "genres", "by"))
        if kind == "by":
            return f"{self.listed('titles')} by {self.listed('artists')}"
        return self.listed(kind) if kind != "genres" else listed_word("genres", rng, self._source)

    def area_here(self) -> str:
        """The name of a room or place, mostly of the home; not one that shares its name with a light there."""
        areas = [area for area in self._home.areas if area not in self._home.lit] if self._home else []
        return self._rng.choice(areas) if areas and self._rng.random() < 0.85 else self.area()
