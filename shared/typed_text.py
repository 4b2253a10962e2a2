"""Text as people type it, in the characters that a small English model was trained on.

Typed alike and meant alike becomes alike: curly quotes, dashes, ellipses, no-break spaces, letters with accents, decimal commas, degree signs, emoji,
capitals throughout. What has no such form, such as a word in another script, becomes a `~`, so that the model sees that there is something.
"""

from __future__ import annotations

import re
import unicodedata

UNKNOWN = "~"  # stands for a word that cannot be written in these characters

_ALIKE = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼʹ＇", "'"),
        **dict.fromkeys('“”„‟″«»‹›＂"', " "),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
        "…": "...",
        "•": " ",
        "·": " ",
        "×": " times ",
        "÷": " divided by ",
        "€": " euros ",
        "£": " pounds ",
        "½": " 1/2",
        "¼": " 1/4",
        "¾": " 3/4",
        "ß": "ss",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "þ": "th",
        "ı": "i",
        "¿": " ",
        "¡": " ",
    }
)
_DEGREES = re.compile(r" ?(?:°\s*[cfCF]?\b|℃|℉|º\s*[cfCF]?\b|°)")
_FRACTION = re.compile(r"(?:(?<![\d/.])(\d+)\s+)?(?<![\d/])(1/2|1/4|3/4)(?![\d/])")
_SHARES = {"1/2": ".5", "1/4": ".25", "3/4": ".75"}
_WORDS_OF_SHARES = {"1/2": "half", "1/4": "a quarter", "3/4": "three quarters"}
_DECIMAL_COMMA = re.compile(r"(?<![\d,.])(\d+),(\d{1,2})(?![\d,])")
_THOUSANDS = re.compile(r"(?<![\d,.])(\d{1,3}),(\d{3})(?![\d,])")
_REPEATED = re.compile(r"([!?,;:])\1+")
_DOTS = re.compile(r" ?\.{2,} ?")
_WORD_OF_NONE = re.compile(r"[^\x00-\x7f]+(?:[\s'-]*[^\x00-\x7f]+)*")
_GAP_BEFORE_MARK = re.compile(r" +(?=[,.!?;:](?:\s|$))")
_LEAST_CAPITALS = 4  # letters in a text that is written in capitals throughout


def plain_line(text: str) -> str:
    """A request in plain characters, on one line."""
    return " ".join(_plain(text).split())


def plain_lines(text: str) -> str:
    """The same of a text whose lines count; empty ones are left out."""
    return "\n".join(line for line in map(plain_line, text.splitlines()) if line)


def _plain(text: str) -> str:
    text = " ".join(text.translate(_ALIKE).split())
    text = _FRACTION.sub(_share, _DEGREES.sub(" degrees ", text))
    # Letter by letter: a row of marks on one letter would be sorted, and they are left out all the same.
    text = "".join(unicodedata.normalize("NFKD", character) for character in text).translate(_ALIKE)
    text = "".join(kept for character in text if (kept := _kept(character)))
    text = _WORD_OF_NONE.sub(f" {UNKNOWN} ", text)
    text = _DECIMAL_COMMA.sub(r"\1.\2", _THOUSANDS.sub(r"\1\2", text))
    text = _DOTS.sub(" ", _REPEATED.sub(r"\1", text)).strip()
    text = _GAP_BEFORE_MARK.sub("", " ".join(text.split()))
    letters = [character for character in text if character.isalpha()]
    if len(letters) >= _LEAST_CAPITALS and all(character.isupper() for character in letters):
        return text.lower()
    return text


def _share(match: re.Match[str]) -> str:
    """2 1/2 is 2.5, and 1/2 alone is half."""
    return f"{match[1]}{_SHARES[match[2]]}" if match[1] else _WORDS_OF_SHARES[match[2]]


def _kept(character: str) -> str:
    """The character, a space in its place, or nothing: marks on letters, pictures and what is not printed are left out."""
    if character in "\t\n\r\v\f":
        return " "
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf", "Cc", "Cs", "Cn", "Co", "Sk"):
        return ""
    if category in ("So", "Zs", "Zl", "Zp"):
        return " "
    return character
