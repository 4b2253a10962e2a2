"""Where requests are typed: in a terminal with history and editing, elsewhere line by line."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from edge_node.frontends.chat.commands import QUOTES, Typed, is_open
from edge_node.frontends.request import LONGEST, checked, typed_line
from shared.errors import RequestError
from shared.streams import put

_PROMPT = "> "
_TOO_LONG = f"a request is longer than {LONGEST} characters; ask for less at once"


class Prompt(Protocol):
    """Who asks the person."""

    def read(self) -> Typed | None:
        """What is typed next; None where the person leaves. Raises RequestError, and KeyboardInterrupt for Ctrl-C on an empty line."""
        ...


def prompt_here() -> Prompt:
    """The one for where the program runs."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return Editor() if is_terminal and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"} else Lines()


def typed(text: str) -> Typed:
    """What a whole text means. Raises RequestError."""
    if len(text) > LONGEST:
        raise RequestError(_TOO_LONG)
    text = checked(text, "request").strip()
    if not text.startswith(QUOTES):
        return Typed(text)
    return Typed(text.removeprefix(QUOTES).removesuffix(QUOTES).strip(), is_quoted=True)


def _rest() -> list[str]:
    """The lines up to the quotes that close a request. All are read, also where RequestError is raised for one of them, or for their number."""
    lines: list[str] = []
    room, trouble = LONGEST, ""
    while True:
        try:
            line = typed_line("")
        except RequestError as error:
            trouble = trouble or str(error)
            continue
        if line is not None and room >= 0:
            room -= len(line) + 1
            lines.append(line)
        if line is None or line.rstrip().endswith(QUOTES):
            break
    if trouble or room < 0:
        raise RequestError(trouble or _TOO_LONG)
    return lines


class Lines:
    """Standard input as it is, with no more than a terminal's own editing."""

    def read(self) -> Typed | None:
        """A line, or the lines between triple quotes; what the input's end leaves open ends there."""
        line = typed_line(f"\n{_PROMPT}")
        if line is None:
            return None
        return typed("\n".join([line, *_rest()]) if is_open(line) else line)


class Editor:
    """A terminal's line, edited by prompt_toolkit."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.shortcuts import CompleteStyle

        from edge_node.frontends.chat.kept_history import KeptHistory
        from edge_node.frontends.chat.keys import CommandCompleter, keys

        self._session: PromptSession[str] = PromptSession(
            _PROMPT,
            multiline=True,  # for what is pasted; Enter ends it all the same
            prompt_continuation=" " * len(_PROMPT),
            history=KeptHistory(),
            key_bindings=keys(),
            completer=CommandCompleter(),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            enable_suspend=True,
            search_ignore_case=True,
        )

    def read(self) -> Typed | None:
        """A line, what was pasted, or what stands between triple quotes."""
        put("\n")
        try:
            return typed(self._session.prompt())
        except EOFError:
            return None
