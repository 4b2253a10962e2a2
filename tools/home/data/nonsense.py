"""What means nothing: keys hit at random, words without sense, marks of programs; and times of day, at which nothing can be done."""

from __future__ import annotations

import random
import string

from tools.home.data.invent import Source, any_word

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890")
_JOINTS = (
    "of",
    "the",
    "with",
    "under",
    "and",
    "very",
    "or",
    "a",
    "than",
    "not",
    "because",
    "seven",
    "quickly",
    "is",
    "my",
    "ago",
    "yet",
)


def mash(rng: random.Random) -> str:
    """A word as a hand that falls on the keys writes it."""
    make = rng.randrange(4)
    if make == 0:  # a run along a row, perhaps repeated
        row = rng.choice(_ROWS[:3])
        start = rng.randrange(len(row) - 3)
        run = row[start : start + rng.randint(3, 5)]
        return (run[::-1] if rng.random() < 0.2 else run) * rng.choice((1, 1, 1, 2))
    if make == 1:  # a few keys, each held down or hit again
        return "".join(rng.choice(string.ascii_lowercase) * rng.randint(1, 4) for _ in range(rng.randint(2, 4)))
    if make == 2:  # letters that no word has beside each other
        return "".join(rng.choice("bcdfghjklmnpqrstvwxz") for _ in range(rng.randint(3, 9)))
    return "".join(rng.choice(string.ascii_lowercase + "0123456789") for _ in range(rng.randint(3, 8)))


def salad(rng: random.Random, source: Source) -> str:
    """Three to seven words that make no sentence."""
    words = [any_word(rng, source) if rng.random() < 0.65 else rng.choice(_JOINTS) for _ in range(rng.randint(3, 7))]
    rng.shuffle(words)
    return " ".join(words)


def markup(rng: random.Random, source: Source) -> str:
    """A word or two among the marks of a program, a page or a chat."""
    first, second = (any_word(rng, source) if rng.random() < 0.6 else mash(rng) for _ in range(2))
    return rng.choice(
        (
            f"[{first}]{second}[/{first}]", f"[{first}]{second}[/]", f"[{first}]", f"({first})", f"<{first}>{second}</{first}>", f"<{first}/>",
            f"{{{{{first}}}}}", f"{{{first}: {second}}}", f"${{{first}}}", f"${first}", f"{first}({second})", f"{first}[0]", f"**{first}**", f"_{first}_",
            f"#{first}", f"@{first}", f"/{first}", f"{first}.{second}", f"{first}={second}", f"{first}; {second};", f"&{first};", f"\\{first}", f"`{first}`",
            f'"{first}": "{second}"', f"%{first}%", f"{first}://{second}", f"{first}@{second}.com", f"# {first}", f"- {first}", f"> {first}", f"{first}\\n{second}",
        )
    )  # fmt: skip


def clock(rng: random.Random) -> str:
    """A time of day."""
    hour = rng.randint(1, 12)
    return rng.choice(
        (
            f"{hour}",
            f"{hour} am",
            f"{hour} pm",
            f"{hour}:{rng.choice((15, 30, 45))}",
            f"{hour} o'clock",
            "noon",
            "midnight",
            f"half past {hour}",
        )
    )
