"""What happens to a request while somebody types it: capitals, misspellings, a mark at its end; values stay as they are.

While a request is put together, its values stand between marks, so that nothing but its other words is misspelt.
"""

from __future__ import annotations

import random
import re

_OPEN, _CLOSE = "\x01", "\x02"
_VALUE = re.compile(f"({_OPEN}[^{_CLOSE}]*{_CLOSE})")
_QUESTION = re.compile(
    r"(what|how|is|are|which|who|where|when|did|has|do|does|can|could|would|will|am|was|any)\b", re.IGNORECASE
)
# What a speech recognizer writes for words that sound like others.
_HEARD = {
    "off": ("of",), "to": ("too", "two"), "too": ("to", "two"), "for": ("four",), "by": ("buy", "bye"), "lights": ("lites", "likes"), "light": ("lite",),
    "right": ("write",), "whether": ("weather",), "weather": ("whether",), "there": ("their",), "where": ("wear",), "which": ("witch",), "is": ("his",),
    "are": ("our",), "our": ("are",), "in": ("and", "an"), "the": ("a", "de"), "turn": ("turned", "tern"), "close": ("clothes",), "closed": ("close",),
    "heat": ("heed",), "cool": ("cruel",), "raise": ("rays",), "lock": ("log",), "pause": ("paws",), "play": ("played",), "volume": ("volumes",), "timer": ("time her",),
    "set": ("sat",), "dim": ("dem",), "open": ("opened",), "what's": ("watts",), "hour": ("our",), "minutes": ("minute",), "degrees": ("degree",),
}  # fmt: skip
_MISHEARD = 0.4  # of the slips
_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioposdfghjklkxcvbnmn", strict=True))


def value(spoken: str) -> str:
    """`spoken` between marks."""
    return f"{_OPEN}{spoken}{_CLOSE}"


def plain(text: str) -> str:
    """`text` without marks."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def starts_with(text: str, spoken: str) -> bool:
    """Whether the marked `text` begins with that value."""
    return bool(spoken) and text.startswith(value(spoken))


def ends_with(text: str, spoken: str) -> bool:
    """Whether the marked `text` ends in that value."""
    return bool(spoken) and text.endswith(value(spoken))


def capital(text: str) -> str:
    """`text`, marked or not, with its first letter and every lone "i" as a capital."""
    at = next((i for i, letter in enumerate(text) if letter not in (_OPEN, _CLOSE)), 0)
    begun = text[:at] + text[at : at + 1].upper() + text[at + 1 :]
    return "".join(
        part if part.startswith(_OPEN) else re.sub(r"\bi(?=['\s]|$)", "I", part) for part in _VALUE.split(begun)
    )


def misspelt(text: str, rng: random.Random) -> str:
    """The marked `text` with one or two letters wrong, or with a word misheard, outside its values."""
    parts = _VALUE.split(text)
    if rng.random() < _MISHEARD:
        return _misheard(parts, rng)
    for _ in range(rng.choice((1, 1, 2))):
        places = [
            (i, m.start(), m.end())
            for i, part in enumerate(parts)
            if not part.startswith(_OPEN)
            for m in re.finditer(r"[a-z]{4,}", part)
        ]
        if not places:
            break
        i, start, end = rng.choice(places)
        parts[i] = parts[i][:start] + _typo(parts[i][start:end], rng) + parts[i][end:]
    return "".join(parts)


def _misheard(parts: list[str], rng: random.Random) -> str:
    places = [
        (i, m.start(), m.end())
        for i, part in enumerate(parts)
        if not part.startswith(_OPEN)
        for m in re.finditer(r"(?<![\w'])[a-z']+(?![\w'])", part)
        if m[0] in _HEARD
    ]
    if places:
        i, start, end = rng.choice(places)
        parts[i] = parts[i][:start] + rng.choice(_HEARD[parts[i][start:end]]) + parts[i][end:]
    return "".join(parts)


def filled(text: str, rng: random.Random, fillers: list[str], *, touching: bool = False) -> str:
    """The marked `text` with one of `fillers` at a space, by default one that touches no value, of which it could seem a part."""
    parts = _VALUE.split(text)
    places = [
        (i, at)
        for i, part in enumerate(parts)
        if not part.startswith(_OPEN)
        for at in range(1 if i and not touching else 0, len(part) - (i + 1 < len(parts) and not touching))
        if part[at] == " "
    ]
    if not places:
        return text
    i, at = rng.choice(places)
    parts[i] = f"{parts[i][:at]} {rng.choice(fillers)}{parts[i][at:]}"
    return "".join(parts)


def _typo(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + _NEIGHBOURS.get(word[at], word[at]) + word[at + 1 :],
        )
    )


def disordered(text: str, rng: random.Random) -> str:
    """`text` with a mark at its end, sometimes."""
    chance = rng.random()
    if _QUESTION.match(text):
        return text + ("?" if chance < 0.3 else "." if chance < 0.33 else "")
    return text + ("." if chance < 0.17 else "!" if chance < 0.2 else "")
