"""The slots of the phrase files: for each, what is spoken, the arguments that it means and how the reply says it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from tools.home.data import nonsense
from tools.home.data.homes import Home
from tools.home.data.invent import Source, heads, invented_word, listed_word
from tools.home.data.names import Names, options, slots
from tools.home.data.numbers import distance, duration, read_duration, same_unit, spoken_number

Arguments = dict[str, Any]

_KELVINS = (2000, 2200, 2500, 2700, 3000, 3500, 4000, 4500, 5000, 5500, 6000, 6500)
_ADVERBS = ("upstairs", "downstairs", "outside")  # places that need no preposition
_ARTICLE = re.compile(r"(the|my) ", re.IGNORECASE)
_COMMON_ROOMS = ["kitchen", "bedroom", "living room", "bathroom", "office", "garage", "dining room"]


@dataclass(frozen=True)
class Value:
    """A slot's value: as it is spoken, the arguments it stands for, and, under `key`, as the reply says it."""

    key: str
    spoken: str
    said: str
    arguments: Arguments = field(default_factory=dict)
    listed: bool = False  # names a device, a room or a storey, which a list of the home would have


class Values:
    """Draws values for the slots of one clause; with a home, mostly from what it has."""

    def __init__(
        self,
        rng: random.Random,
        source: Source,
        home: Home | None = None,
        *,
        floors: bool = True,
        command: Callable[[], str] | None = None,
        order: Callable[[], str] | None = None,
    ) -> None:
        """`command` draws a request that a timer may carry out, `order` any that acts."""
        self._rng = rng
        self._source = source
        self._home = home
        self._names = Names(rng, source, home)
        self._floors = floors
        self._command = command
        self._order = order
        self._sign = 1
        self._computed: dict[str, Callable[[], Value]] = {
            "where": self._where, "room": self._room, "at": self._at, "common_room": self._common_room,
            "warmth": self._warmth, "temperature": self._temperature, "degrees": self._degrees, "distance": self._distance,
            "duration": lambda: self._duration("", False), "duration_of": lambda: self._duration("", True),
            "start": lambda: self._duration("start_", False), "start_of": lambda: self._duration("start_", True),
            "steps": self._steps, "steps_sign": self._steps_sign, "steps_verb": self._steps_verb, "steps_amount": self._steps_amount,
            "zone": self._zone, "classed": self._classed, "command": self._commanded, "target": lambda: self._target("name", "lamp"), "bright_target": lambda: self._target("lamp"),
            "warm_target": lambda: self._target("thermostat"), "more_time": self._more_time, "target_where": self._target_where,
            "order": self._ordered, "mash": lambda: Value("", nonsense.mash(self._rng), ""), "salad": lambda: Value("", nonsense.salad(self._rng, self._source), ""),
            "markup": lambda: Value("", nonsense.markup(self._rng, self._source), ""), "made": lambda: Value("", invented_word(self._rng, self._source), ""),
            "foreign": lambda: Value("", listed_word("foreign", self._rng, self._source), ""), "clock": lambda: Value("", nonsense.clock(self._rng), ""),
            "excess": lambda: self._beyond(self._excess()), "below": lambda: self._beyond(-self._rng.randint(1, 90)), "extreme": lambda: self._beyond(self._extreme()),
            "lit_target": self._lit_target, "thing_unsaid": lambda: Value("", self._names.listed("things"), ""), "person_unsaid": lambda: Value("", self._names.listed("people"), ""),
        }  # fmt: skip

    def draw(self, slot: str) -> Value:
        """A value for `slot`; KeyError for a slot that is not defined here."""
        if slot not in slots():
            return self._computed[slot]()
        about = slots()[slot]
        if "options" in about:
            spoken, arguments, *said = self._rng.choice(options(slot))
            return Value(about["key"], spoken, said[0] if said else spoken, arguments)
        if "number" in about:
            n = self._percent()
            return Value(about["key"], spoken_number(n, self._rng), str(n), {about["argument"]: n})
        text = self._title(self._names.text(slot))
        copied = _ARTICLE.sub("", text) if about.get("article") else text
        listed = (
            about["argument"] == "area"
            or ("head" in about and text.lower() not in heads(about["head"]))
            or slot == "name"
        )
        return Value(about["key"], text, text, {about["argument"]: copied}, listed)

    def again(self, former: Value) -> Value:
        """Another number in the one unit of the duration `former`."""
        spoken, meant = same_unit(former.arguments, self._rng)
        return Value(former.key, spoken, read_duration(meant), dict(meant))

    def _title(self, text: str) -> str:
        """Sometimes as a name in a form: "Kitchen Lamp"."""
        if self._rng.random() >= self._source.titled:
            return text
        return " ".join(word[0].upper() + word[1:] for word in text.split())

    def _place(self) -> tuple[str, str]:
        """The argument and the name of a room or storey."""
        rng = self._rng
        if self._floors and rng.random() < 0.1:
            floors = self._home.floors if self._home and rng.random() < 0.85 else ()
            return "floor", rng.choice(floors) if floors else listed_word("floors", rng, self._source)
        return "area", self._names.area_here()

    def _where(self, kind: str = "", name: str = "") -> Value:
        rng = self._rng
        if not kind:
            kind, name = self._place()
        name = self._title(name)
        said = _located(kind, name)
        if name.lower() in _ADVERBS:
            return Value("where", name, said, {kind: name})  # never listed: everybody has it
        if kind == "floor":
            spoken = rng.choice((f"on the {name}", f"on the {name}", f"on {name}"))
        else:
            preposition = (
                "on"
                if name.split()[-1] in ("porch", "balcony", "terrace", "patio", "deck", "landing", "veranda")
                else "in"
            )
            spoken = rng.choice(
                (f"{preposition} the {name}",) * 5
                + (f"{preposition} {name}",) * 2
                + (f"{preposition} my {name}", f"inside the {name}", f"at the {name}")
            )
        return Value("where", spoken, said, {kind: name}, listed=True)

    def _room(self) -> Value:
        kind, name = self._place()
        return _bare(kind, self._title(name))

    def _at(self) -> Value:
        return self._where("area", self._names.area_here())

    def _common_room(self) -> Value:
        return _bare("area", self._rng.choice(_COMMON_ROOMS))

    def _warmth(self) -> Value:
        rng = self._rng
        if rng.random() < 0.4:
            return self.draw("warm_word")
        kelvin = rng.choice((*_KELVINS, rng.randint(20, 65) * 100, rng.randint(2000, 6500)))
        return Value(
            "warmth",
            f"{kelvin}{rng.choice((' kelvin', ' kelvin', ' k', 'k', ''))}",
            f"{kelvin} kelvin",
            {"temperature": kelvin},
        )

    def _percent(self) -> int:
        return (
            self._rng.choice((0, 10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 100))
            if self._rng.random() < 0.5
            else self._rng.randint(0, 100)
        )

    def _temperature(self) -> Value:
        rng = self._rng
        n: float = rng.randint(5, 35) if rng.random() < 0.7 else rng.randint(45, 95)
        if rng.random() < 0.18:
            n = rng.randint(14, 27) + rng.choice((0.5, 0.5, 0.5, rng.randint(1, 9) / 10))
        if rng.random() < 0.06:
            n = -rng.choice((1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20, 22, 25))
        return Value("temperature", spoken_number(n, rng), str(n), {"temperature": n})

    def _degrees(self) -> Value:
        n = self._rng.choice((10, 15, 30, 45, 60, 90, 90, 120, 180, 270, 360, self._rng.randint(1, 360)))
        return Value("degrees", spoken_number(n, self._rng), str(n), {"degrees": n})

    def _distance(self) -> Value:
        spoken, meters, said = distance(self._rng)
        return Value("distance", spoken, said, {"distance_m": meters})

    def _duration(self, prefix: str, adjective: bool) -> Value:
        spoken, meant = duration(self._rng, adjective=adjective)
        key = "start" if prefix else "duration"
        return Value(key, spoken, read_duration(meant), {prefix + unit: n for unit, n in meant.items()})

    def _more_time(self) -> Value:
        n, unit = self._rng.randint(1, 59), self._rng.choice(("minutes", "minutes", "seconds", "hours"))
        spoken = f"{spoken_number(n, self._rng)} more {unit if n > 1 else unit[:-1]}"
        return Value("duration", spoken, read_duration({unit: n}), {unit: n})

    def _steps(self) -> Value:
        sign, way = self._rng.choice(((1, "up"), (-1, "down")))
        n = self._step()
        spoken = f"{way} by {spoken_number(n, self._rng)}{self._rng.choice(('', '', '%', ' percent'))}"
        return Value("steps", spoken, str(sign * n), {"volume_step": sign * n})

    def _step(self) -> int:
        return self._rng.choice((5, 10, 10, 15, 20, 25, 30, self._rng.randint(1, 50)))

    def _steps_sign(self) -> Value:
        self._sign, way = self._rng.choice(((1, "up"), (-1, "down")))
        return Value("", way, "")

    def _steps_verb(self) -> Value:
        self._sign, verb = self._rng.choice(
            ((1, "increase"), (1, "raise"), (1, "boost"), (-1, "decrease"), (-1, "lower"), (-1, "reduce"))
        )
        return Value("", verb, "")

    def _steps_amount(self) -> Value:
        n = self._step()
        return Value("steps", spoken_number(n, self._rng), str(self._sign * n), {"volume_step": self._sign * n})

    def _zone(self) -> Value:
        rng = self._rng
        spoken, state = rng.choice(
            (
                ("home", "home"),
                ("at home", "home"),
                ("home", "home"),
                ("away", "not_home"),
                ("not home", "not_home"),
                ("out", "not_home"),
                ("", ""),
                ("", ""),
            )
        )
        if state:
            return Value("state", spoken, "home" if state == "home" else "away", {"state": state})
        zone = listed_word("zones", rng, self._source)
        return Value("state", f"at {zone}", f"at {zone}", {"state": zone.removeprefix("the ")})

    def _classed(self) -> Value:
        rng = self._rng
        kind, words = rng.choice(
            (("album", "album"), ("album", "record"), ("artist", "artist"), ("artist", "music by"), ("artist", "songs by"), ("artist", "something by"), ("artist", "band"), ("movie", "movie"), ("movie", "film"),
             ("playlist", "playlist"), ("playlist", "playlist"), ("podcast", "podcast"), ("track", "song"), ("track", "track"), ("tv_show", "tv show"), ("tv_show", "show"), ("tv_show", "series"))
        )  # fmt: skip
        lists = {"artist": "artists", "playlist": "genres"}
        text = self._title(self._names.listed(lists.get(kind, "titles")))
        if kind in ("album", "track") and rng.random() < 0.3:
            text += f" by {self._names.listed('artists')}"
        if words.endswith("by"):
            spoken = f"{rng.choice(('some ', '', '')) if words != 'something by' else ''}{words} {text}"
        elif kind != "artist" and rng.random() < 0.4:
            spoken = f"{rng.choice(('the ', 'my ', ''))}{text} {words}"
        else:
            spoken = f"{rng.choice(('the ', 'the ', ''))}{words} {text}"
        return Value("query", spoken, text, {"search_query": text, "media_class": kind})

    def _commanded(self) -> Value:
        if self._command is None:
            raise ValueError("a command inside a command")
        text = self._command()
        return Value("command", text, text, {"conversation_command": text})

    def _ordered(self) -> Value:
        if self._order is None:
            raise ValueError("an order inside an order")
        return Value("", self._order(), "")

    def _beyond(self, number: int) -> Value:
        return Value("", spoken_number(number, self._rng), "")

    def _excess(self) -> int:
        """More than a percentage can be."""
        return self._rng.choice(
            (101, 105, 110, 120, 130, 150, 200, 250, 300, 500, 999, 1000, self._rng.randint(101, 1000))
        )

    def _extreme(self) -> int:
        """A temperature that no thermostat has, in any unit."""
        hot = self._rng.choice((150, 200, 250, 300, 400, 451, 500, 900, 999, 1000, 5000, self._rng.randint(130, 999)))
        return hot if self._rng.random() < 0.65 else -self._rng.randint(40, 300)

    def _target(self, *slots: str) -> Value:
        """An area or floor of the home, or a device that one of `slots` speaks of, bare."""
        kind, name = self._member(slots)
        name = self._title(name)
        return Value("target", name, name, {kind: name})

    def _target_where(self) -> Value:
        where = self._where()
        return Value("target", where.spoken, f"things {where.said}", where.arguments)

    def _member(self, slots: Collection[str]) -> tuple[str, str]:
        assert self._home is not None
        devices = [name for slot, name in self._home.devices if slot in slots]
        members = {"name": devices, "area": self._home.areas, "floor": self._home.floors}
        kind = self._rng.choice([kind for kind, names in members.items() if names])
        return kind, self._rng.choice(members[kind])

    def _lit_target(self) -> Value:
        """Lights of an area: "AREA light", a device if the home has one of that name, or its lights."""
        assert self._home is not None
        area = self._rng.choice(self._home.lit or self._home.areas)
        if area in self._home.lit and self._rng.random() < 0.7:
            return Value("target", f"{area} light", f"{area} light", {"name": f"{area} light"})
        noun = "lights" if area in self._home.lit else self._rng.choice(("light", "lights"))
        return Value("target", f"{area} {noun}", f"{area} lights", {"area": area, "domain": "light"})


def _bare(kind: str, name: str) -> Value:
    """A place without a preposition."""
    return Value("where", name, _located(kind, name), {kind: name}, listed=name.lower() not in _ADVERBS)


def _located(kind: str, name: str) -> str:
    """A place as the reply says it."""
    if name.lower() in _ADVERBS:
        return name
    return f"{'on' if kind == 'floor' else 'in'} the {name}"
