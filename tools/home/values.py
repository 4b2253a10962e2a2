"""The slots of the phrase files: for each, what is spoken, the arguments that it means and how the reply says it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.home.homes import Home
from tools.home.invent import Source, head, invented_word, listed_word
from tools.home.numbers import distance, duration, read_duration, same_unit, spoken_number

Arguments = dict[str, Any]

COLORS = ("red green blue yellow white orange purple pink turquoise violet cyan magenta brown gold teal lavender salmon beige indigo lime "
          "maroon black gray coral aqua").split()  # fmt: skip
_WARMTHS = ["warm white", "cool white", "cold white", "daylight", "candlelight", "soft white", "neutral white", "warm", "cold", "cool", "natural white"]

# Spoken, meant, said.
Choice = tuple[str, Arguments, str]
_KINDS: list[Choice] = [
    ("fan", {"domain": "fan"}, "fans"),
    ("switch", {"domain": "switch"}, "switches"),
    ("outlet", {"domain": "switch", "device_class": "outlet"}, "outlets"),
]
_KINDS_PLURAL: list[Choice] = [("fans", *_KINDS[0][1:]), ("switches", *_KINDS[1][1:]), ("outlets", *_KINDS[2][1:])]
_COVER_CLASSES = {
    "blind": "blind", "curtain": "curtain", "shutter": "shutter", "shade": "shade", "awning": "awning", "window": "window", "door": "door",
    "garage door": "garage", "drape": "curtain", "garage": "garage", "roller shutter": "shutter", "roller blind": "blind", "gate": "gate",
}  # fmt: skip
_COVER_WEIGHTS = (4, 5, 2, 2, 1, 2, 1, 3, 1, 1, 1, 1, 1)


def _plural(noun: str) -> str:
    return noun if noun == "garage" else noun + "s"


_COVERS: list[Choice] = [
    (spoken, {"domain": "cover", "device_class": kind}, spoken if spoken.startswith("garage") else _plural(spoken))
    for spoken, kind in _COVER_CLASSES.items()
]
_COVERS_PLURAL: list[Choice] = [(_plural(spoken), arguments, said) for spoken, arguments, said in _COVERS]
_HIGH = ["maximum", "max", "full", "the maximum", "highest", "its maximum"]
_LOW = ["minimum", "min", "lowest", "the minimum"]


def _states(*pairs: tuple[str, str]) -> list[Choice]:
    return [(spoken, {"state": state}, spoken or state) for spoken, state in pairs]


def _same(argument: str, *spoken: str) -> list[Choice]:
    return [(text, {argument: text}, text) for text in spoken]


def _sensed(*pairs: tuple[str, str]) -> list[Choice]:
    return [(spoken, {"device_class": kind, "state": "on"}, spoken) for spoken, kind in pairs]


# Slots that are a choice: key of the reply, and the choices.
_CHOICES: dict[str, tuple[str, list[Choice]]] = {
    "kind": ("kind", [*_KINDS, *_KINDS_PLURAL]),
    "kinds": ("kind", _KINDS_PLURAL),
    "opening": ("opening", [("window", {"device_class": "window"}, "windows"), ("door", {"device_class": "door"}, "doors")]),
    "openings": ("opening", [("windows", {"device_class": "window"}, "windows"), ("doors", {"device_class": "door"}, "doors")]),
    "color": ("color", _same("color", *COLORS)),
    "onoff": ("state", _states(("on", "on"), ("on", "on"), ("off", "off"))),
    "on": ("state", _states(("", "on"))),
    "openness": ("state", _states(("open", "open"), ("open", "open"), ("closed", "closed"), ("shut", "closed"), ("locked", "locked"), ("locked", "locked"), ("unlocked", "unlocked"))),
    "openness_plain": ("state", _states(("open", "open"), ("open", "open"), ("closed", "closed"), ("shut", "closed"))),
    "openness_past": ("state", _states(("opened", "open"), ("closed", "closed"), ("locked", "locked"), ("unlocked", "unlocked"))),
    "open_past": ("state", _states(("lock", "locked"), ("close", "closed"), ("open", "open"), ("shut", "closed"), ("unlock", "unlocked"))),
    "lockedness": ("state", _states(("locked", "locked"), ("unlocked", "unlocked"))),
    "ajar": ("state", [("open", {"state": "on"}, "open"), ("open", {"state": "on"}, "open"), ("closed", {"state": "off"}, "closed"), ("shut", {"state": "off"}, "closed")]),
    "home": ("state", _states(("", "home"))),
    "not_home": ("state", [("", {"state": "not_home"}, "away")]),
    "measure": ("measure", [("humidity", {"device_class": "humidity"}, "humidity"), ("humidity", {"device_class": "humidity"}, "humidity"), ("air pressure", {"device_class": "pressure"}, "air pressure"), ("light level", {"device_class": "illuminance"}, "light level"),
        ("illuminance", {"device_class": "illuminance"}, "illuminance"), ("carbon dioxide", {"device_class": "carbon_dioxide"}, "carbon dioxide"), ("co2", {"device_class": "carbon_dioxide"}, "CO2"), ("air quality", {"device_class": "aqi"}, "air quality"), ("moisture", {"device_class": "moisture"}, "moisture")]),
    "meter": ("measure", [("battery", {"device_class": "battery"}, "battery"), ("battery", {"device_class": "battery"}, "battery"), ("power", {"device_class": "power"}, "power"), ("energy", {"device_class": "energy"}, "energy")]),
    "alarm": ("alarm", _sensed(("motion", "motion"), ("movement", "motion"), ("smoke", "smoke"), ("fire", "smoke"), ("gas", "gas"), ("carbon monoxide", "carbon_monoxide"), ("water", "moisture"), ("water leak", "moisture"), ("leak", "moisture"), ("sound", "sound"), ("noise", "sound"), ("vibration", "vibration"), ("moisture", "moisture"))),
    "alarm_s": ("alarm", _sensed(("leaks", "moisture"), ("water leaks", "moisture"), ("gas leak", "gas"), ("fire", "smoke"), ("vibrations", "vibration"), ("leak", "moisture"))),
    "low": ("state", [(text, {"device_class": "battery", "state": "on"}, "low") for text in ("low", "empty", "dying", "running low", "almost empty")]),
    "is_low": ("state", [("", {"device_class": "battery", "state": "on"}, "low")]),
    "low_word": ("state", [("low", {"device_class": "battery", "state": "on"}, "low")]),
    "charging": ("state", [("charging", {"device_class": "battery_charging", "state": "on"}, "charging")]),
    "extreme": ("brightness", [*((text, {"brightness": 100}, "100") for text in _HIGH), *((text, {"brightness": 1}, "1") for text in _LOW)]),
    "fan_extreme": ("percentage", [(text, {"percentage": 100}, "100") for text in _HIGH]),
    "loudest": ("volume", [(text, {"volume_level": 100}, "100") for text in _HIGH]),
    "half_position": ("position", [("", {"position": 50}, "50")]),
    "step": ("step", _same("volume_step", "up", "down")),
    "step_up": ("step", [("", {"volume_step": "up"}, "up")]),
    "step_verb": ("step", [(text, {"volume_step": "up"}, "up") for text in ("increase", "raise", "boost")] + [(text, {"volume_step": "down"}, "down") for text in ("decrease", "lower", "reduce")]),
    "step_word": ("step", [("louder", {"volume_step": "up"}, "up"), ("louder", {"volume_step": "up"}, "up"), ("quieter", {"volume_step": "down"}, "down"), ("softer", {"volume_step": "down"}, "down"), ("less loud", {"volume_step": "down"}, "down")]),
    "step_contrary": ("step", [("loud", {"volume_step": "down"}, "down"), ("quiet", {"volume_step": "up"}, "up"), ("noisy", {"volume_step": "down"}, "down"), ("low", {"volume_step": "up"}, "up")]),
    "direction": ("direction", [("forward", {"direction": "forward"}, "forward"), ("forwards", {"direction": "forward"}, "forward"), ("ahead", {"direction": "forward"}, "forward"), ("straight ahead", {"direction": "forward"}, "forward"), ("straight", {"direction": "forward"}, "forward"),
        ("back", {"direction": "backward"}, "backward"), ("backward", {"direction": "backward"}, "backward"), ("backwards", {"direction": "backward"}, "backward"), ("left", {"direction": "left"}, "left"), ("to the left", {"direction": "left"}, "left"), ("right", {"direction": "right"}, "right"), ("to the right", {"direction": "right"}, "right")]),
    "forward": ("direction", [("forward", {"direction": "forward"}, "forward"), ("forwards", {"direction": "forward"}, "forward"), ("ahead", {"direction": "forward"}, "forward")]),
    "ahead": ("direction", [("", {"direction": "forward"}, "forward")]),
    "backwards": ("direction", [("back", {"direction": "backward"}, "backward"), ("backward", {"direction": "backward"}, "backward"), ("backwards", {"direction": "backward"}, "backward")]),
    "backward": ("direction", [("", {"direction": "backward"}, "backward")]),
    "side": ("side", _same("direction", "left", "right")),
    "left": ("side", [("", {"direction": "left"}, "left")]),
    "right": ("side", [("", {"direction": "right"}, "right")]),
    "quarter": ("degrees", [("", {"degrees": 90}, "90")]),
    "half_turn": ("degrees", [("", {"degrees": 180}, "180")]),
    "full_turn": ("degrees", [("", {"degrees": 360}, "360")]),
    "gaze": ("gaze", [(spoken, {"direction": meant}, said) for spoken, meant, said in (
        ("up", "up", "up"), ("down", "down", "down"), ("left", "left", "left"), ("right", "right", "right"), ("to the left", "left", "left"), ("to the right", "right", "right"), ("to your left", "left", "left"), ("to your right", "right", "right"),
        ("upwards", "up", "up"), ("downwards", "down", "down"), ("ahead", "forward", "ahead"), ("straight ahead", "forward", "ahead"), ("forward", "forward", "ahead"), ("behind you", "backward", "back"), ("back", "backward", "back"), ("at the ceiling", "up", "up"), ("at the floor", "down", "down"), ("backwards", "backward", "back"))]),
    "gaze_place": ("gaze", [(spoken, {"direction": meant}, said) for spoken, meant, said in (("above you", "up", "up"), ("below you", "down", "down"), ("on your left", "left", "left"), ("on your right", "right", "right"), ("in front of you", "forward", "ahead"), ("behind you", "backward", "back"))]),
}  # fmt: skip

# Slots whose value is a text that is copied: the argument, and the key of the reply.
_COPIED = {
    "name": ("name", "name"), "lamp": ("name", "name"), "cover_name": ("name", "name"), "door": ("name", "name"), "fan_name": ("name", "name"),
    "thermostat": ("name", "name"), "player": ("name", "name"), "vacuum": ("name", "name"), "mower": ("name", "name"), "sensor": ("name", "name"),
    "script": ("name", "name"), "someone": ("name", "name"), "person": ("name", "person"), "timer": ("name", "timer"), "list": ("name", "list"),
    "city": ("name", "city"), "area": ("area", "area"), "item": ("item", "item"), "task": ("item", "task"), "thing": ("item", "thing"), "place": ("place", "place"),
    "surface": ("place", "place"), "message": ("message", "message"), "query": ("search_query", "query"),
}  # fmt: skip
_LISTS = {"area": "areas", "item": "items", "task": "tasks", "thing": "things", "person": "people", "someone": "named", "timer": "timers", "list": "lists",
          "city": "cities", "place": "places", "surface": "surfaces", "message": "messages", "script": "scripts"}  # fmt: skip
_HEADS = {"lamp": "lamps", "cover_name": "covers", "door": "doors", "fan_name": "fans", "thermostat": "thermostats", "player": "players", "vacuum": "vacuums",
          "mower": "mowers", "sensor": "sensors"}  # fmt: skip
_ALONE = {"lamp": 0.12, "cover_name": 0.0, "door": 0.06, "fan_name": 0.0, "thermostat": 0.35, "player": 0.4, "vacuum": 0.4, "mower": 0.5, "sensor": 0.3}
_NUMBERS: dict[str, tuple[str, str]] = {
    "brightness": ("brightness", "brightness"), "position": ("position", "position"), "percentage": ("percentage", "percentage"), "volume": ("volume_level", "volume"),
}  # fmt: skip
_COMMON_ROOMS = ["kitchen", "bedroom", "living room", "bathroom", "office", "garage", "dining room"]


@dataclass(frozen=True)
class Value:
    """A slot's value: as it is spoken, the arguments it stands for, and, under `key`, as the reply says it."""

    key: str
    spoken: str
    said: str
    arguments: Arguments = field(default_factory=dict)


class Values:
    """Draws values for the slots of one clause; with a home, mostly from what it has."""

    def __init__(self, rng: random.Random, source: Source, home: Home | None = None, *, floors: bool = True, command: Callable[[], str] | None = None) -> None:
        self._rng = rng
        self._source = source
        self._home = home
        self._floors = floors
        self._command = command
        self._sign = 1
        self._slots: dict[str, Callable[[], Value]] = {
            "where": self._where, "room": self._room, "where_s": self._where_s, "at": self._at, "common_room": self._common_room,
            "cover": lambda: self._cover(_COVERS + _COVERS_PLURAL, 2), "covers": lambda: self._cover(_COVERS_PLURAL, 1),
            "warmth": self._warmth, "temperature": self._temperature, "degrees": self._degrees, "distance": self._distance,
            "duration": lambda: self._duration("", False), "duration_of": lambda: self._duration("", True),
            "start": lambda: self._duration("start_", False), "start_of": lambda: self._duration("start_", True),
            "steps": self._steps, "steps_sign": self._steps_sign, "steps_verb": self._steps_verb, "steps_amount": self._steps_amount,
            "zone": self._zone, "classed": self._classed, "command": self._commanded, "target": self._target, "target_where": self._target_where,
            "lit_target": self._lit_target, "thing_unsaid": lambda: Value("", self._listed("things"), ""), "person_unsaid": lambda: Value("", self._listed("people"), ""),
        }  # fmt: skip

    def draw(self, slot: str) -> Value:
        """A value for `slot`; KeyError for a slot that is not defined here."""
        if slot in _CHOICES:
            key, choices = _CHOICES[slot]
            spoken, arguments, said = self._rng.choice(choices)
            return Value(key, spoken, said, dict(arguments))
        if slot in _COPIED:
            argument, key = _COPIED[slot]
            text = self._title(self.text(slot))
            return Value(key, text, text, {argument: text})
        if slot in _NUMBERS:
            argument, key = _NUMBERS[slot]
            n = self._percent()
            return Value(key, spoken_number(n, self._rng), str(n), {argument: n})
        return self._slots[slot]()

    def again(self, former: Value) -> Value:
        """Another number in the one unit of the duration `former`."""
        spoken, meant = same_unit(former.arguments, self._rng)
        return Value(former.key, spoken, read_duration(meant), dict(meant))

    def text(self, slot: str) -> str:
        """The words of a slot whose value is copied."""
        if slot == "area":
            return self._area()
        if self._home and self._rng.random() < 0.8 and (names := self._home.of(slot)):
            return self._rng.choice(names)
        if slot == "name":
            return self._name()
        if slot == "query":
            return self._query()
        if slot in _HEADS:
            return self._headed(slot)
        return self._listed(_LISTS[slot])

    def area(self) -> str:
        """The name of a room or place."""
        return self._listed("areas")

    def floor(self) -> str:
        """The name of a storey."""
        return self._listed("floors", invented=0.3)

    def _listed(self, kind: str, invented: float | None = None) -> str:
        rng = self._rng
        if rng.random() >= (self._source.invented if invented is None else invented):
            return listed_word(kind, rng, self._source)
        made = self._invented()
        if rng.random() < 0.3:
            made[-1] = listed_word(kind, rng, self._source).split()[-1]
        return " ".join(made)

    def _invented(self) -> list[str]:
        count = self._rng.choices((1, 2, 3, 4), (12, 7, 2.5, 0.5))[0]
        made = [invented_word(self._rng, self._source) for _ in range(count)]
        if count > 1 and self._rng.random() < 0.12:
            made[0] += "'s"
        return made

    def _name(self) -> str:
        rng = self._rng
        if rng.random() < 0.25:
            return self._headed(rng.choices(list(_HEADS), (8, 0, 0, 2, 2, 2, 0, 0, 0))[0])
        device = listed_word("devices", rng, self._source)
        if rng.random() < 0.3:
            return device
        if rng.random() < self._source.invented:
            made = self._invented()
            return " ".join(made if rng.random() < 0.35 else [*made, device])
        return f"{listed_word('modifiers', rng, self._source)} {device}"

    def _headed(self, slot: str) -> str:
        """A name that ends in a noun that tells what it is; an invented word before a light would be its area."""
        rng, noun = self._rng, head(_HEADS[slot], self._rng)
        if rng.random() < _ALONE[slot]:
            return noun
        invented = rng.random() < self._source.invented
        return f"{' '.join(self._invented()) if invented else listed_word('modifiers', rng, self._source)} {noun}"

    def _title(self, text: str) -> str:
        """Sometimes as a name in a form: "Kitchen Lamp"."""
        if self._rng.random() >= 0.05:
            return text
        return " ".join(word[0].upper() + word[1:] for word in text.split())

    def _query(self) -> str:
        rng, kind = self._rng, self._rng.choice(("artists", "titles", "genres", "by"))
        if kind == "by":
            return f"{self._listed('titles')} by {self._listed('artists')}"
        return self._listed(kind) if kind != "genres" else listed_word("genres", rng, self._source)

    def _area(self) -> str:
        if self._home and self._rng.random() < 0.85 and (areas := [area for area in self._home.areas if area not in self._home.lit]):
            return self._rng.choice(areas)
        return self.area()

    def _place(self) -> tuple[str, str]:
        """The argument and the name of a room or storey."""
        rng = self._rng
        if self._floors and rng.random() < 0.1:
            floors = self._home.floors if self._home and rng.random() < 0.85 else ()
            return "floor", rng.choice(floors) if floors else listed_word("floors", rng, self._source)
        return "area", self._area()

    def _where(self, kind: str = "", name: str = "") -> Value:
        rng = self._rng
        if not kind:
            kind, name = self._place()
        name = self._title(name)
        said = _located(kind, name)
        if name.lower() in ("upstairs", "downstairs", "outside"):
            return Value("where", name, said, {kind: name})
        if kind == "floor":
            spoken = rng.choice((f"on the {name}", f"on the {name}", f"on {name}"))
        else:
            preposition = "on" if name.split()[-1] in ("porch", "balcony", "terrace", "patio", "deck", "landing", "veranda") else "in"
            spoken = rng.choice((f"{preposition} the {name}",) * 5 + (f"{preposition} {name}",) * 2 + (f"{preposition} my {name}", f"inside the {name}", f"at the {name}"))
        return Value("where", spoken, said, {kind: name})

    def _room(self) -> Value:
        kind, name = self._place()
        name = self._title(name)
        return Value("where", name, _located(kind, name), {kind: name})

    def _where_s(self) -> Value:
        name = self._area()
        return Value("where", f"{name}'s", _located("area", name), {"area": name})

    def _at(self) -> Value:
        return self._where("area", self._area())

    def _common_room(self) -> Value:
        name = self._rng.choice(_COMMON_ROOMS)
        return Value("where", name, _located("area", name), {"area": name})

    def _cover(self, choices: list[Choice], times: int) -> Value:
        spoken, arguments, said = self._rng.choices(choices, _COVER_WEIGHTS * times)[0]
        return Value("cover", spoken, said, dict(arguments))

    def _warmth(self) -> Value:
        rng = self._rng
        if rng.random() < 0.4:
            text = rng.choice(_WARMTHS)
            return Value("warmth", text, text, {"temperature": text})
        kelvin = rng.choice((2000, 2200, 2500, 2700, 3000, 3500, 4000, 4500, 5000, 5500, 6000, 6500, rng.randint(20, 65) * 100, rng.randint(2000, 6500)))
        return Value("warmth", f"{kelvin}{rng.choice((' kelvin', ' kelvin', ' k', 'k', ''))}", f"{kelvin} kelvin", {"temperature": kelvin})

    def _percent(self) -> int:
        return self._rng.choice((0, 10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 100)) if self._rng.random() < 0.5 else self._rng.randint(0, 100)

    def _temperature(self) -> Value:
        rng = self._rng
        n: float = rng.randint(5, 35) if rng.random() < 0.7 else rng.randint(45, 95)
        if rng.random() < 0.15:
            n = rng.randint(14, 27) + rng.choice((0.5, 0.5, 0.5, rng.randint(1, 9) / 10))
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

    def _steps(self) -> Value:
        sign, way = self._rng.choice(((1, "up"), (-1, "down")))
        n = self._rng.choice((5, 10, 10, 15, 20, 25, 30, self._rng.randint(1, 50)))
        spoken = f"{way} by {spoken_number(n, self._rng)}{self._rng.choice(('', '', '%', ' percent'))}"
        return Value("steps", spoken, str(sign * n), {"volume_step": sign * n})

    def _steps_sign(self) -> Value:
        self._sign, way = self._rng.choice(((1, "up"), (-1, "down")))
        return Value("", way, "")

    def _steps_verb(self) -> Value:
        self._sign, verb = self._rng.choice(((1, "increase"), (1, "raise"), (1, "boost"), (-1, "decrease"), (-1, "lower"), (-1, "reduce")))
        return Value("", verb, "")

    def _steps_amount(self) -> Value:
        n = self._rng.choice((5, 10, 10, 15, 20, 25, 30, self._rng.randint(1, 50)))
        return Value("steps", spoken_number(n, self._rng), str(self._sign * n), {"volume_step": self._sign * n})

    def _zone(self) -> Value:
        rng = self._rng
        spoken, state = rng.choice((("home", "home"), ("at home", "home"), ("home", "home"), ("away", "not_home"), ("not home", "not_home"), ("out", "not_home"), ("", ""), ("", "")))
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
        text = self._title(self._listed(lists.get(kind, "titles")))
        if kind in ("album", "track") and rng.random() < 0.3:
            text += f" by {self._listed('artists')}"
        if words.endswith("by"):
            spoken = f"{rng.choice(('some ', '', '')) if words != 'something by' else ''}{words} {text}"
        elif kind in ("playlist", "podcast", "tv_show") and rng.random() < 0.4:
            spoken = f"{rng.choice(('the ', 'my ', ''))}{text} {words}"
        else:
            spoken = f"{rng.choice(('the ', 'the ', ''))}{words} {text}"
        return Value("query", spoken, text, {"search_query": text, "media_class": kind})

    def _commanded(self) -> Value:
        if self._command is None:
            raise ValueError("a command inside a command")
        text = self._command()
        return Value("command", text, text, {"conversation_command": text})

    def _target(self) -> Value:
        """A device, area or floor of the home, bare."""
        kind, name = self._member()
        name = self._title(name)
        return Value("target", name, name, {kind: name})

    def _target_where(self) -> Value:
        kind, name = self._place()
        where = self._where(kind, name)
        return Value("target", where.spoken, f"things {where.said}", where.arguments)

    def _member(self) -> tuple[str, str]:
        assert self._home is not None
        devices = [name for slot, name in self._home.devices if slot in ("name", "lamp")]
        members = {"name": devices, "area": self._home.areas, "floor": self._home.floors}
        kind = self._rng.choice([kind for kind, names in members.items() if names])
        return kind, self._rng.choice(members[kind])

    def _lit_target(self) -> Value:
        """ "AREA light(s)": a device if the home has one of that name, else the lights of an area."""
        assert self._home is not None
        area = self._rng.choice(self._home.lit or self._home.areas)
        if area in self._home.lit and self._rng.random() < 0.7:
            return Value("target", f"{area} light", f"{area} light", {"name": f"{area} light"})
        noun = "lights" if area in self._home.lit else self._rng.choice(("light", "lights"))
        return Value("target", f"{area} {noun}", f"{area} lights", {"area": area, "domain": "light"})


def _located(kind: str, name: str) -> str:
    """A place as the reply says it."""
    if name.lower() in ("upstairs", "downstairs", "outside"):
        return name
    return f"{'on' if kind == 'floor' else 'in'} the {name}"
