"""The phrase notation of phrases.toml: `(a|b)` chooses, `[a|b]` chooses or leaves out, `{slot}` asks for a value."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_TOKEN = re.compile(r"[()\[\]|]|\{\w+\}|[^()\[\]|{}]+")


def expand(phrase: str, rng: random.Random, fill: Callable[[str], str]) -> str:
    """Draw one wording of `phrase`; `fill` gives the spoken text of a slot. Raises ValueError on unbalanced brackets."""
    tokens = _TOKEN.findall(phrase)
    if "".join(tokens) != phrase:
        raise ValueError(f"cannot read the phrase {phrase!r}: a brace is not part of a {{slot}}")
    text, rest = _alternatives(tokens, rng, fill, end=None)
    if rest:
        raise ValueError(f"cannot read the phrase {phrase!r}: {rest[0]!r} closes nothing")
    return " ".join(text.split())


def _alternatives(
    tokens: list[str], rng: random.Random, fill: Callable[[str], str], end: str | None
) -> tuple[str, list[str]]:
    """Read alternatives up to `end`, and return a drawn one with the tokens behind it."""
    options: list[list[tuple[str, list[str]]]] = [[]]
    while tokens and tokens[0] not in (")", "]"):
        head, tokens = tokens[0], tokens[1:]
        if head == "|":
            options.append([])
        elif head in "([":
            close = ")" if head == "(" else "]"
            depth, size = 1, 0
            while depth:
                if size == len(tokens):
                    raise ValueError(f"a bracket is not closed before {' '.join(tokens)!r}")
                depth += (tokens[size] in "([") - (tokens[size] in ")]")
                size += 1
            options[-1].append((head, [*tokens[: size - 1], close]))
            tokens = tokens[size:]
        else:
            options[-1].append((head, []))
    if end is not None:
        if not tokens or tokens[0] != end:
            raise ValueError(f"expected {end!r}")
        tokens = tokens[1:]
    parts = []
    for head, inner in rng.choice(options):
        if head == "[" and rng.random() < 0.5:
            continue
        if inner:
            parts.append(_alternatives(inner, rng, fill, end=inner[-1])[0])
        elif head.startswith("{"):
            parts.append(fill(head[1:-1]))
        else:
            parts.append(head)
    return "".join(parts), tokens
