"""What can be typed in a chat beside requests: the table of commands, and what a line means."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from textwrap import wrap

from shared.errors import RequestError

QUOTES = '"""'
_LEAST_LIKE = 0.5
_INDENT = 18  # columns of the names in the help


@dataclass(frozen=True)
class Command:
    """`takes` is what may stand behind its name."""

    name: str
    takes: str
    meaning: str


@dataclass(frozen=True)
class Typed:
    """What was typed. Text between triple quotes is always a request."""

    text: str
    is_quoted: bool = False


COMMANDS = (
    Command("help", "", "this list"),
    Command("stats", "", "the figures of the last answer"),
    Command("retry", "", "ask the last request again, in place of its answer"),
    Command("new", "", "forget the chat"),
    Command("system", "TEXT", "a new chat under that system message; - for none; alone: show it"),
    Command("mode", "MODE", "who decodes: speculate, stream or auto; alone: show it"),
    Command("seed", "N", "the seed of the answers to come; random for one each; alone: show it"),
    Command("trace", "", "colours for where each token is from, on or off"),
    Command("save", "FILE", "write the chat to a file"),
    Command("load", "FILE", "go on with a chat from a file"),
    Command("bye", "", "leave, as /exit and /quit do"),
)
_ALSO = {"exit": "bye", "quit": "bye"}
_KEYS = (
    ('"""', "begins and ends a request of several lines"),
    ("//", "begins a request that begins with /"),
    ("Ctrl-C", "stops an answer, clears a line, and twice on an empty one leaves"),
    ("Ctrl-D", "leaves"),
    ("Tab", "completes commands; Ctrl-R searches what was typed before"),
)
NAMES = tuple(sorted([*(command.name for command in COMMANDS), *_ALSO]))


def is_open(text: str) -> bool:
    """Whether triple quotes were opened and not closed."""
    begun = text.strip()
    return begun.startswith(QUOTES) and not (len(begun) >= 2 * len(QUOTES) and begun.endswith(QUOTES))


def read(typed: Typed) -> tuple[str, str]:
    """The name of a command and what stands behind it, or "" and a request. Raises RequestError for what is no command."""
    text = typed.text
    if typed.is_quoted or not text.startswith("/"):
        return "", text
    if text.startswith("//"):
        return "", text[1:]
    word, *behind = re.split(r"\s+", text[1:], maxsplit=1)
    rest = "".join(behind).strip()
    name = _ALSO.get(word.lower(), word.lower())
    command = next((each for each in COMMANDS if each.name == name), None)
    if command is None:
        close = difflib.get_close_matches(word.lower(), NAMES, n=1, cutoff=_LEAST_LIKE)
        hint = f"did you mean /{close[0]}?" if close else "/help lists them."
        raise RequestError(f"/{word} is no command; {hint} A request that begins with / is typed as //")
    if rest and not command.takes:
        raise RequestError(f"/{command.name} takes nothing behind it")
    return command.name, rest


def help_text(width: int) -> str:
    """All commands and keys in lines of at most `width` columns."""
    rows = [(f"/{c.name} {c.takes}".rstrip(), c.meaning) for c in COMMANDS] + list(_KEYS)
    return "\n".join(_row(name, meaning, width) for name, meaning in rows)


def _row(name: str, meaning: str, width: int) -> str:
    indent = min(_INDENT, width // 2)
    lines = wrap(meaning, max(10, width - indent)) or [""]
    return "\n".join([f"{name:<{indent}}{lines[0]}", *(" " * indent + line for line in lines[1:])])
