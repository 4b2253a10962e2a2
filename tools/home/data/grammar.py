"""The notation of the phrase files.

`(a|b)` chooses, `[a|b]` chooses or leaves out, `{slot}` asks for a value, `<rule>` stands for a phrase of phrases/rules.toml.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tomllib

_TOKEN = re.compile(r"[()\[\]|]|\{\w+\}|<\w+>|[^()\[\]|{}<>]+")
_CLOSES = {"(": ")", "[": "]"}
_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Part:
    """A text, a slot, or a choice between alternatives, each a row of parts; `optional` may leave the choice out."""

    text: str = ""
    slot: str = ""
    options: tuple[tuple[Part, ...], ...] = ()
    optional: bool = False


def expand(phrase: str, rng: random.Random, fill: Callable[[str], str]) -> str:
    """Draw one wording of `phrase`; `fill` gives the spoken text of a slot.

    Raises ValueError for stray brackets and KeyError for a rule that rules.toml lacks.
    """
    return " ".join(_draw(parse(phrase), rng, fill).split())


def tell(reply: str, said: dict[str, str]) -> str:
    """The reply with the slots of `said` filled in; a `[...]` is told only if all of its slots are there."""

    def told(match: re.Match[str]) -> str:
        return match[1] if all(slot in said for slot in _SLOT.findall(match[1])) else ""

    return _SLOT.sub(lambda match: said[match[1]], _OPTIONAL.sub(told, reply))


def slots_of(phrase: str) -> frozenset[str]:
    """Every slot that some wording of `phrase` asks for."""
    return _slots(parse(phrase))


@cache
def rules() -> dict[str, str]:
    """The phrases that have a name."""
    named: dict[str, str] = tomllib.loads((Path(__file__).parent / "phrases" / "rules.toml").read_text())
    return named


@cache
def parse(phrase: str) -> Part:
    """`phrase` as a choice; parsed once. Raises ValueError or KeyError."""
    tokens = _TOKEN.findall(phrase)
    if "".join(tokens) != phrase:
        raise ValueError(f"cannot read the phrase {phrase!r}: a brace or an angle is not part of a {{slot}} or <rule>")
    rest = list(reversed(tokens))
    options = _alternatives(rest)
    if rest:
        raise ValueError(f"cannot read the phrase {phrase!r}: a bracket is not closed, or closes nothing")
    return Part(options=options)


def _alternatives(rest: list[str]) -> tuple[tuple[Part, ...], ...]:
    """Read alternatives from the end of the reversed tokens `rest`, up to a closing bracket, which stays there."""
    options: list[list[Part]] = [[]]
    while rest and rest[-1] not in _CLOSES.values():
        head = rest.pop()
        if head == "|":
            options.append([])
        elif head in _CLOSES:
            options[-1].append(Part(options=_alternatives(rest), optional=head == "["))
            if not rest or rest.pop() != _CLOSES[head]:
                raise ValueError(f"a {head!r} is not closed")
        elif head[0] == "<":
            options[-1].append(parse(rules()[head[1:-1]]))
        elif head[0] == "{":
            options[-1].append(Part(slot=head[1:-1]))
        else:
            options[-1].append(Part(text=head))
    return tuple(tuple(option) for option in options)


def _draw(part: Part, rng: random.Random, fill: Callable[[str], str]) -> str:
    if part.slot:
        return fill(part.slot)
    if not part.options:
        return part.text
    if part.optional and rng.random() < 0.5:
        return ""
    return "".join(_draw(inner, rng, fill) for inner in rng.choice(part.options))


def _slots(part: Part) -> frozenset[str]:
    inner = (_slots(each) for option in part.options for each in option)
    return frozenset({part.slot} - {""}).union(*inner)
