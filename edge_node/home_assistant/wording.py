"""Words and numbers of what people say, in a form in which they can be compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_WORD = re.compile(r"(?:(?<![\w])-)?\d+(?:[.,]\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*")
DULL = frozenset(
    {"light", "lamp", "switch", "sensor", "door", "window", "fan", "room", "blind", "lights", "lamps"}
)  # words of names that tell little
KINDS = {
    "light": "light",
    "lamp": "light",
    "fan": "fan",
    "switch": "switch",
    "blind": "cover",
    "curtain": "cover",
    "shutter": "cover",
    "cover": "cover",
    "lock": "lock",
    "thermostat": "climate",
    "heating": "climate",
    "speaker": "media_player",
    "tv": "media_player",
    "vacuum": "vacuum",
}  # words for kinds of entities
_ARTICLES = frozenset({"the", "a", "an", "my", "our", "your"})
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2212": "-"})
_UNITS = {
    name: value
    for value, name in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS = {
    name: 10 * value
    for value, name in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_HUNDRED = 100
_THOUSAND = 1000
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_FRACTIONS = str.maketrans({"½": " and half", "¼": " and quarter", "¾": " and quarter"})
_NEGATIVE = frozenset({"minus", "negative"})
_PARTS = frozenset({"half", "quarter", "quarters"})
# What words that are no numbers may stand for, in percent and in parts of an hour.
_MEANT = {
    "half": (0.5, 30, 50),
    "halfway": (50,),
    "middle": (50,),
    "quarter": (0.25, 0.75, 15, 25, 45, 75),
    "quarters": (0.75, 45, 75),
    "third": (100 / 3, 33, 20),
    "full": (100,),
    "fully": (100,),
    "max": (100,),
    "maximum": (100,),
    "highest": (100,),
    "brightest": (100,),
    "completely": (0, 100),
    "min": (0, 1),
    "minimum": (0, 1),
    "lowest": (0, 1),
    "dimmest": (0, 1),
    "couple": (2,),
    "dozen": (12,),
    "once": (1,),
    "twice": (2,),
    "a": (1,),
    "an": (1,),
    "open": (100,),
    "close": (0,),
    "closed": (0,),
    "off": (0,),
    "mute": (0,),
    "around": (180, 360),
    "way": (0, 100),
    "possible": (0, 100),
}


def words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case and without articles."""
    return [word for word in _split(text) if word not in _ARTICLES]


def key(text: str) -> str:
    """A name as it is compared."""
    return " ".join(words(text))


def holds(text: Iterable[str], wanted: list[str]) -> bool:
    """Whether some words stand one behind the other in a text; a plural counts as its singular."""
    there, sought = [singular(word) for word in text], [singular(word) for word in wanted]
    return any(there[at : at + len(sought)] == sought for at in range(len(there) - len(sought) + 1))


def kinds_in(text: str) -> set[str]:
    """The kinds of entities that a text speaks of."""
    return {KINDS[word] for each in words(text) if (word := singular(each)) in KINDS}


def numbers(text: str) -> set[float]:
    """The numbers that a text names or may mean, in digits or in words."""
    found: set[float] = set()
    joined: float | None = None  # the number words so far that stand one behind the other
    before: float | None = None  # the number in front of "point"
    sign = 1
    for word in _split(_THOUSANDS.sub("", text)):
        value = _UNITS.get(word, _TENS.get(word))
        if value is not None or word.lstrip("-")[0].isdigit():
            number = float(word.replace(",", ".")) if value is None else float(value)
            joins = joined is not None and (joined % _HUNDRED == 0 or (joined % 10 == 0 and number < 10))
            joined = (joined or 0) + number if joins and value is not None else number
            if before is not None:
                found.add(sign * (before + number / 10 ** len(str(int(number)))))
                before = None
            found.add(sign * joined)
        elif word == "hundred":
            thousands, last = divmod(joined or 1, _THOUSAND)
            joined = _THOUSAND * thousands + _HUNDRED * (last or 1)
            found.add(sign * joined)
        elif word == "thousand":
            joined = _THOUSAND * (joined or 1)
            found.add(sign * joined)
        elif word == "point":
            before = joined
        elif word != "and":
            joined, sign = None, -1 if word in _NEGATIVE else 1
        found.update(_MEANT.get(word, ()))
    if not _PARTS.isdisjoint(_split(text)):
        found.update([number + part for number in found if number == int(number) for part in (0.25, 0.5, 0.75)])
    return found


def _split(text: str) -> list[str]:
    apart = unicodedata.normalize("NFKD", text.translate(_FRACTIONS)).translate(_APOSTROPHES).casefold()
    return _WORD.findall(
        "".join(c for c in apart if not unicodedata.combining(c))
    )  # "café" as "cafe": a pair may write it so


def singular(word: str) -> str:
    """A word without the s of its plural."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
