"""The slots of phrases.toml: for each, words that are spoken, the arguments they mean and how the reply says them."""

from __future__ import annotations

import itertools
import random
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import tomllib

Split = Literal["train", "held_out"]
Arguments = dict[str, str | int | float]

COLORS = ["red", "green", "blue", "yellow", "white", "orange", "purple", "pink", "turquoise", "violet"]
KINDS: dict[str, Arguments] = {
    "lights": {"domain": "light"},
    "lamps": {"domain": "light"},
    "fans": {"domain": "fan"},
    "switches": {"domain": "switch"},
}
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety"}
_ONSETS = ["b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kr", "l", "m", "n", "p", "pl", "qu", "r", "s", "sh", "st", "t",
           "tr", "v", "w", "y", "z", "th", "sk", "sp"]  # fmt: skip
_NUCLEI = ["a", "e", "i", "o", "u", "ai", "ea", "oo", "ou", "ie", "y"]
_CODAS = [
    "",
    "",
    "b",
    "ck",
    "d",
    "f",
    "g",
    "l",
    "ll",
    "m",
    "n",
    "nd",
    "p",
    "r",
    "rk",
    "s",
    "st",
    "t",
    "x",
    "z",
    "ng",
    "v",
]


@dataclass(frozen=True)
class Source:
    """Where words come from: the lists of `split`, or, with probability `invented`, made up (from `pieces` too)."""

    split: Split
    invented: float = 0.6
    pieces: tuple[str, ...] = ()


HELD_OUT = Source("held_out")  # what benchmarks ask with


@dataclass(frozen=True)
class Value:
    """A slot's value: as it is spoken, the arguments it stands for, and as the reply says it."""

    spoken: str
    arguments: Arguments
    said: str


@cache
def words(split: Split) -> dict[str, list[str]]:
    """The word lists of words.toml for one split."""
    lists: dict[Split, dict[str, list[str]]] = tomllib.loads(Path(__file__).with_name("words.toml").read_text())  # type: ignore[assignment]
    return lists[split]


def number_words(n: int) -> str:
    """English words of 0 ≤ n ≤ 100: 42 → "forty two"."""
    if n < 20:
        return _UNITS.split()[n]
    if n == 100:
        return "one hundred"
    tens, ones = n // 10 * 10, n % 10
    return _TENS[tens] if not ones else f"{_TENS[tens]} {number_words(ones)}"


def invented_word(rng: random.Random, source: Source) -> str:
    """A word that no list has; the checksum's last digit tells the splits apart, so that neither draws the other's.

    Syllables, letters that follow each other as in the lists, any letters, and the source's pieces. Training gives the
    tokenizer's pieces: a token that was never copied in training can't be copied later.
    """
    makers: tuple[Callable[[random.Random, tuple[str, ...]], str], ...] = (
        _syllables,
        _syllables,
        _letter_chain,
        _any_letters,
        *((_joined,) * 4 if source.pieces else ()),
    )
    make = rng.choice(makers)
    while True:
        word = make(rng, source.pieces)
        if word in _listed():
            continue
        if (zlib.crc32(word.encode()) % 8 == 0) == (source.split == "held_out"):
            return word


@cache
def _listed() -> frozenset[str]:
    """Every single word of the lists of both splits."""
    splits: tuple[Split, ...] = ("train", "held_out")
    return frozenset(w for split in splits for texts in words(split).values() for text in texts for w in text.split())


def _syllables(rng: random.Random, _: tuple[str, ...]) -> str:
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_NUCLEI) + rng.choice(_CODAS) for _ in range(rng.choice((1, 2, 2, 3)))
    )


def _letter_chain(rng: random.Random, _: tuple[str, ...]) -> str:
    word, letter = "", rng.choice(string.ascii_lowercase)
    while len(word) < 10 and (letter != " " or len(word) < 3):
        word += letter.strip()
        letter = rng.choice(_followers().get(letter, string.ascii_lowercase))
    return word


def _any_letters(rng: random.Random, _: tuple[str, ...]) -> str:
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 8)))


def _joined(rng: random.Random, pieces: tuple[str, ...]) -> str:
    return "".join(rng.choice(pieces) for _ in range(rng.choice((1, 2, 2, 3))))


@cache
def _followers() -> dict[str, str]:
    """For each letter, those that follow it in the training lists, as often as they do; a space ends a word."""
    text = " ".join(word for kind in words("train").values() for word in kind).replace("'", "")
    followers: dict[str, str] = {}
    for letter, following in itertools.pairwise(f" {text} "):
        followers[letter] = followers.get(letter, "") + following
    return followers


class Values:
    """Draws values for slots."""

    def __init__(self, rng: random.Random, source: Source) -> None:
        self._rng = rng
        self._source = source
        self._slots: dict[str, Callable[[], Value]] = {
            "name": lambda: self._text("name", self._name()),
            "area": lambda: self._text("area", self._word("areas")),
            "place": lambda: self._text("place", self._word("areas")),
            "item": lambda: self._text("item", self._word("items")),
            "thing": lambda: self._text("item", self._word("things")),
            "person": lambda: self._text("name", self._word("people")),
            "timer": lambda: self._text("name", self._word("timers")),
            "thermostat": lambda: self._text("name", self._thermostat()),
            "kind": self._kind,
            "color": lambda: self._text("color", self._rng.choice(COLORS)),
            "direction": self._direction,
            "side": lambda: self._text("direction", self._rng.choice(("left", "right"))),
            "brightness": lambda: self._number("brightness", self._rng.randint(0, 100)),
            "volume": lambda: self._number("volume_level", self._rng.randint(0, 100)),
            "temperature": lambda: self._number("temperature", self._rng.randint(10, 30)),
            "degrees": lambda: self._number(
                "degrees", self._rng.choice((15, 30, 45, 60, 90, 120, 180, self._rng.randint(1, 360)))
            ),
            "distance": self._distance,
            "duration": self._duration,
        }

    def draw(self, slot: str) -> Value:
        """A value for `slot`; KeyError for a slot that is not defined here."""
        return self._slots[slot]()

    def _text(self, argument: str, text: str) -> Value:
        return Value(text, {argument: text}, text)

    def _word(self, kind: str) -> str:
        listed = words(self._source.split)[kind]
        if self._rng.random() >= self._source.invented:
            return self._rng.choice(listed)
        count = self._rng.choice((1, 1, 2))
        made = [invented_word(self._rng, self._source) for _ in range(count)]
        if self._rng.random() < 0.3:
            made[-1] = self._rng.choice(listed).split()[-1]
        return " ".join(made)

    def _name(self) -> str:
        lists = words(self._source.split)
        device = self._rng.choice(lists["devices"])
        if self._rng.random() < 0.25:
            return device
        if self._rng.random() < self._source.invented:
            made = [invented_word(self._rng, self._source) for _ in range(self._rng.choice((1, 1, 2)))]
            return " ".join(made if self._rng.random() < 0.3 else [*made, device])
        return f"{self._rng.choice(lists['modifiers'])} {device}"

    def _thermostat(self) -> str:
        # The last word is a listed one: of two unknown words nobody could tell an area from a device.
        head = self._rng.choice(words("train")["thermostats"])
        return head if self._rng.random() < 0.4 else f"{self._word('areas')} {head}"

    def _kind(self) -> Value:
        spoken = self._rng.choices(list(KINDS), (8, 1, 2, 1))[0]
        return Value(spoken, KINDS[spoken], spoken)

    def _direction(self) -> Value:
        spoken, meant = self._rng.choice(
            (("forward", "forward"), ("forwards", "forward"), ("ahead", "forward"), ("back", "backward"), ("backward", "backward"),
             ("backwards", "backward"), ("left", "left"), ("to the left", "left"), ("right", "right"), ("to the right", "right"))
        )  # fmt: skip
        return Value(spoken, {"direction": meant}, meant)

    def _number(self, argument: str, n: int) -> Value:
        spoken = number_words(n) if n <= 100 and self._rng.random() < 0.25 else str(n)
        return Value(spoken, {argument: n}, str(n))

    def _distance(self) -> Value:
        if self._rng.random() < 0.4:
            tenths = self._rng.randint(1, 50) / 10
            return Value(str(tenths), {"distance_m": tenths}, str(tenths))
        n = self._rng.randint(1, 20)
        return Value(number_words(n) if self._rng.random() < 0.3 else str(n), {"distance_m": n}, str(n))

    def _duration(self) -> Value:
        shape = self._rng.choice(
            ("minutes", "minutes", "minutes", "hours", "seconds", "hours minutes", "minutes seconds", "idiom")
        )
        if shape == "idiom":
            spoken, meant, said = self._rng.choice(
                (("half an hour", {"minutes": 30}, "30 minutes"), ("a quarter of an hour", {"minutes": 15}, "15 minutes"),
                 ("an hour", {"hours": 1}, "1 hour"), ("a minute", {"minutes": 1}, "1 minute"),
                 ("an hour and a half", {"hours": 1, "minutes": 30}, "1 hour 30 minutes"))
            )  # fmt: skip
            return Value(spoken, dict(meant), said)
        spoken_parts, said_parts, arguments = [], [], Arguments()
        for unit in shape.split():
            n = self._rng.randint(1, 12 if unit == "hours" else 59)
            word = unit[:-1] if n == 1 else unit
            spoken_parts.append(f"{number_words(n) if self._rng.random() < 0.25 else n} {word}")
            said_parts.append(f"{n} {word}")
            arguments[unit] = n
        joint = self._rng.choice((" and ", " "))
        return Value(joint.join(spoken_parts), arguments, " ".join(said_parts))
