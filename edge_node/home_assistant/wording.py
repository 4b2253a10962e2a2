"""Words and numbers of what people say, in a form in which they can be compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_WORD = re.compile(r"(?:(?<![\w])-)?\d+(?:[.,]\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*")
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
}


def words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case and without articles."""
    return [word for word in _split(text) if word not in _ARTICLES]


def key(text: str) -> str:
    """A name as it is compared."""
    return " ".join(words(text))


def holds(text: Iterable[str], wanted: list[str]) -> bool:
    """Whether some words stand one behind the other in a text; a plural counts as its singular."""
    there, sought = [_singular(word) for word in text], [_singular(word) for word in wanted]
    return any(there[at : at + len(sought)] == sought for at in range(len(there) - len(sought) + 1))


def numbers(text: str) -> set[float]:
    """The numbers that a text names or may mean, in digits or in words."""
    found: set[float] = set()
    joined: float | None = None  # the number words so far that stand one behind the other
    sign = 1
    for word in _split(text):
        value = _UNITS.get(word, _TENS.get(word))
        if value is not None:
            joins = joined is not None and (joined % _HUNDRED == 0 or (joined % 10 == 0 and value < 10))
            joined = (joined or 0) + value if joins else value
        elif word == "hundred":
            joined = _HUNDRED * (joined or 1)
        elif word.lstrip("-")[0].isdigit():
            found.add(sign * float(word.replace(",", ".")))
        elif word != "and":
            joined, sign = None, -1 if word in _NEGATIVE else 1
        if joined is not None and word != "and":
            found.add(sign * joined)
        found.update(_MEANT.get(word, ()))
    if not _PARTS.isdisjoint(_split(text)):
        found.update([number + part for number in found if number == int(number) for part in (0.25, 0.5, 0.75)])
    return found


def _split(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    return _WORD.findall(plain)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
