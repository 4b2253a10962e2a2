"""The phrase notation of phrases.toml: `(a|b)` chooses, `[a|b]` chooses or leaves out, `{slot}` asks for a value."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_TOKEN = re.compile(r"[()\[\]|]|\{\w+\}|[^()\[\]|{}]+")
_CLOSES = {"(": ")", "[": "]"}


def expand(phrase: str, rng: random.Random, fill: Callable[[str], str]) -> str:
    """Draw one wording of `phrase`; `fill` gives the spoken text of a slot. Raises ValueError on stray brackets."""
    tokens = _TOKEN.findall(phrase)
    if "".join(tokens) != phrase:
        raise ValueError(f"cannot read the phrase {phrase!r}: a brace is not part of a {{slot}}")
    rest = list(reversed(tokens))
    wording = _draw(_alternatives(rest), rng, fill)
    if rest:
        raise ValueError(f"cannot read the phrase {phrase!r}: a bracket is not closed, or closes nothing")
    return " ".join(wording.split())


# A phrase is a list of alternatives, an alternative a list of parts: a text, a slot, or a bracket with alternatives.
Part = tuple[str, list[list["Part"]]]


def _alternatives(rest: list[str]) -> list[list[Part]]:
    """Read alternatives from the end of the reversed tokens `rest`, up to a closing bracket, which stays there."""
    options: list[list[Part]] = [[]]
    while rest and rest[-1] not in _CLOSES.values():
        head = rest.pop()
        if head == "|":
            options.append([])
        elif head in _CLOSES:
            options[-1].append((head, _alternatives(rest)))
            if not rest or rest.pop() != _CLOSES[head]:
                raise ValueError(f"a {head!r} is not closed")
        else:
            options[-1].append((head, []))
    return options


def _draw(options: list[list[Part]], rng: random.Random, fill: Callable[[str], str]) -> str:
    text = ""
    for head, inner in rng.choice(options):
        if head.startswith("{"):
            text += fill(head[1:-1])
        elif head == "(" or (head == "[" and rng.random() < 0.5):
            text += _draw(inner, rng, fill)
        elif head != "[":
            text += head
    return text
