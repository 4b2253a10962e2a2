"""Single facts out of what a peer has published: text that is short and harmless, numbers that are numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shared.program import sentence

_LONGEST = 60  # characters of a text, escapes included
_LARGEST = 2.0**53  # beyond it whole numbers are not exact any more
_MICRO = 1e-6

Published = Mapping[str, Any]  # a JSON object as it came


def text(published: Published, key: str) -> str:
    """A text in one short line, with what is not printable escaped; nothing where there is none."""
    value = published.get(key)
    return sentence(value[:_LONGEST])[:_LONGEST] if isinstance(value, str) else ""


def texts(published: Published, key: str, most: int) -> tuple[str, ...]:
    """The first texts of a list, each as `text` has it; none where it is no list."""
    value = published.get(key)
    given = value[:most] if isinstance(value, list) else []
    return tuple(text({key: each}, key) for each in given if isinstance(each, str))


def number(published: Published, key: str) -> float | None:
    """A number from 0 to 2^53; None where there is none."""
    value = published.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LARGEST and math.isfinite(value) else None


def count(published: Published, key: str) -> int | None:
    """A whole number from 0 to 2^53; None where there is none."""
    value = number(published, key)
    return None if value is None else int(value)


def share(published: Published, key: str) -> float | None:
    """A number from 0 to 1; None where there is none."""
    value = number(published, key)
    return value if value is not None and value <= 1 else None


def seconds(published: Published, key: str) -> float | None:
    """Seconds that were published in microseconds; None where there are none."""
    value = number(published, key)
    return None if value is None else _MICRO * value
