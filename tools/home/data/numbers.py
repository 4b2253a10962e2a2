"""Numbers, durations and distances as they are spoken."""

from __future__ import annotations

import random

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety"}
_SHORT = {"hours": ("h", "hr", "hrs"), "minutes": ("min", "mins", "m"), "seconds": ("s", "sec", "secs")}

Parts = dict[str, int | float]

# Spoken, meant. In front of "timer" only the second list reads well.
_IDIOMS: list[tuple[str, Parts]] = [
    ("half an hour", {"minutes": 30}),
    ("a half hour", {"minutes": 30}),
    ("a quarter of an hour", {"minutes": 15}),
    ("a quarter hour", {"minutes": 15}),
    ("three quarters of an hour", {"minutes": 45}),
    ("three quarter of an hour", {"minutes": 45}),
    ("an hour", {"hours": 1}),
    ("a minute", {"minutes": 1}),
    ("half a minute", {"seconds": 30}),
    ("an hour and a half", {"hours": 1, "minutes": 30}),
    ("one and a half hours", {"hours": 1, "minutes": 30}),
    ("an hour and a quarter", {"hours": 1, "minutes": 15}),
    ("a minute and a half", {"minutes": 1, "seconds": 30}),
    ("one and a half minutes", {"minutes": 1, "seconds": 30}),
    ("a couple of minutes", {"minutes": 2}),
    ("a dozen minutes", {"minutes": 12}),
]
_ADJECTIVES: list[tuple[str, Parts]] = [
    ("half hour", {"minutes": 30}),
    ("half an hour", {"minutes": 30}),
    ("quarter hour", {"minutes": 15}),
    ("one hour", {"hours": 1}),
    ("hour and a half", {"hours": 1, "minutes": 30}),
    ("half minute", {"seconds": 30}),
    ("quarter of an hour", {"minutes": 15}),
]
_SHAPES = ("minutes",) * 5 + (
    "hours",
    "hours",
    "seconds",
    "seconds",
    "hours minutes",
    "minutes seconds",
    "hours minutes seconds",
)


def number_words(n: int) -> str:
    """English words of 0 ≤ n ≤ 999: 42 → "forty two"."""
    if n < 20:
        return _UNITS.split()[n]
    if n >= 100:
        rest = f" {number_words(n % 100)}" if n % 100 else ""
        return f"{number_words(n // 100)} hundred{rest}"
    tens, ones = n // 10 * 10, n % 10
    return _TENS[tens] if not ones else f"{_TENS[tens]} {number_words(ones)}"


def spoken_number(n: float, rng: random.Random, as_words: float = 0.25) -> str:
    """`n` in digits or, with probability `as_words`, in words: "-3", "21.5", "minus three", "twenty one point five"."""
    whole, _, tenths = str(n).partition(".")
    if rng.random() >= as_words or abs(n) > 999:
        return str(n)
    text = number_words(abs(int(whole)))
    if " " in text and rng.random() < 0.3:
        text = text.replace("ty ", "ty-")
    if text.startswith("one hundred") and rng.random() < 0.3:
        text = "a" + text.removeprefix("one")
    text += f" point {number_words(int(tenths))}" if tenths else ""
    return f"minus {text}" if n < 0 else text


def duration(rng: random.Random, *, adjective: bool = False) -> tuple[str, Parts]:
    """A length of time: as spoken and as hours, minutes and seconds; `adjective`: as before "timer" ("5 minute")."""
    if rng.random() < 0.16:
        spoken, idiom = rng.choice(_ADJECTIVES if adjective else _IDIOMS)
        return spoken, dict(idiom)
    shape = rng.choice(_SHAPES).split()
    if shape == ["hours"] and not adjective and rng.random() < 0.25:
        n = rng.randint(2, 8)
        return f"{spoken_number(n, rng, 0.6)} and a half hours", {"hours": n, "minutes": 30}
    if shape in (["hours"], ["minutes"]) and not adjective and rng.random() < 0.12:
        n, (part, of_sixty) = rng.randint(0, 9), rng.choice(((".5", 30), (".5", 30), (".25", 15), (".75", 45)))
        smaller = {"hours": "minutes", "minutes": "seconds"}[shape[0]]
        spelled: Parts = {smaller: of_sixty}
        return f"{n}{part} {shape[0]}", {shape[0]: n, **spelled} if n else spelled
    if shape == ["minutes"] and not adjective and rng.random() < 0.08:
        n = rng.randint(2, 20)
        return f"{spoken_number(n, rng, 0.6)} and a half minutes", {"minutes": n, "seconds": 30}
    meant: Parts = {unit: rng.randint(1, 12) if unit == "hours" else _minutes(rng) for unit in shape}
    if len(shape) == 1 and rng.random() < 0.08:
        meant = {shape[0]: rng.choice((60, 75, 90, 100, 120, 180, 24, 36, 48, 72))}
    return _joined(meant, rng, adjective), meant


def same_unit(meant: Parts, rng: random.Random) -> tuple[str, Parts]:
    """Another number in the one unit of `meant`, spoken without it."""
    (unit,) = meant
    n = _minutes(rng)
    return spoken_number(n, rng), {unit: n}


def distance(rng: random.Random) -> tuple[str, int | float, str]:
    """A distance: as spoken with its unit, in metres, and as read back."""
    kind = rng.random()
    if kind < 0.12:
        spoken, meters = rng.choice([("half a meter", 0.5), ("one and a half meters", 1.5), ("a meter", 1), ("a meter and a half", 1.5), ("half a metre", 0.5), ("a quarter of a meter", 0.25), ("two and a half meters", 2.5)])  # fmt: skip
        return spoken, meters, str(meters)
    if kind < 0.3:
        centimeters = rng.choice((5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 120, 150))
        unit = rng.choice((" centimeters", " centimeters", " cm", "cm", " centimetres"))
        meters = centimeters / 100 if centimeters % 100 else centimeters // 100
        return f"{spoken_number(centimeters, rng) if unit != 'cm' else centimeters}{unit}", meters, str(meters)
    meters = rng.randint(1, 50) / 10 if kind < 0.5 else rng.randint(1, 20)
    meters = int(meters) if meters == int(meters) else meters
    unit = rng.choice((" meter", " metre") if meters == 1 else (" meters", " meters", " metres", " m", "m"))
    return f"{spoken_number(meters, rng) if unit != 'm' else meters}{unit}", meters, str(meters)


def _minutes(rng: random.Random) -> int:
    return rng.choice((1, 2, 3, 5, 10, 15, 20, 30, 45)) if rng.random() < 0.4 else rng.randint(1, 59)


def _joined(meant: Parts, rng: random.Random, adjective: bool) -> str:
    short = rng.random() < 0.1
    texts = []
    for unit, n in meant.items():
        if short:
            texts.append(f"{n}{rng.choice(('', ' '))}{rng.choice(_SHORT[unit])}")
            continue
        hyphen = "-" if adjective and rng.random() < 0.15 else " "
        texts.append(f"{spoken_number(n, rng, 0.3)}{hyphen}{unit if n != 1 and not adjective else unit[:-1]}")
    if len(texts) == 1:
        return texts[0]
    joint = " " if short else rng.choice((" and ", " ", ", "))
    return ", ".join(texts[:-1]) + joint + texts[-1] if len(texts) == 3 else joint.join(texts)


def read_duration(meant: Parts) -> str:
    """The duration as a reply reads it back: "1 hour 30 minutes"."""
    return " ".join(f"{n} {unit if n != 1 else unit[:-1]}" for unit, n in meant.items())
