"""A chat in a file: JSON with its system message and its turns, answers with the ids that they are."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.tokenizer import Turn
from edge_node.frontends.request import checked
from shared.errors import RequestError
from shared.private_file import write_file
from shared.program import sentence
from shared.text_file import read_text

_FORMAT = 1
_MOST = 2**24  # bytes of a file
_ROLES = ("user", "assistant")
_WHAT = "the chat"


class SavedChats:
    """The files that this chat was written to or read from: those alone are replaced."""

    def __init__(self) -> None:
        self._own: set[Path] = set()

    def save(self, name: str, conversation: Conversation) -> str:
        """Write the turns that are verified; what to tell the person. Raises RequestError."""
        path = _path(name)
        if path not in self._own and os.path.lexists(path):
            raise RequestError(f"{name} exists, and is not from this chat; choose another name, or remove it first")
        verified = conversation.said[: len(conversation.said) - 2 * len(conversation.unverified)]
        kept = {"sled_chat": _FORMAT, "system": conversation.system, "turns": [_entry(turn) for turn in verified]}
        try:
            write_file(path, json.dumps(kept, ensure_ascii=False, indent=1) + "\n")
        except OSError as error:
            raise RequestError(f"cannot write {name}: {error.strerror}") from None
        self._own.add(path)
        left = (
            f"; {len(conversation.unverified)} that no hub has verified were left out"
            if conversation.unverified
            else ""
        )
        return f"{_counted(verified)} saved in {name}{left}"

    def load(self, name: str, conversation: Conversation) -> str:
        """Go on with the chat in that file; what to tell the person. Raises RequestError; the chat then stays as it was."""
        path = _path(name)
        text = read_text(path, _WHAT, RequestError, most=_MOST)
        try:
            kept = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{name} is not JSON: {error}; load a file that /save has written") from None
        try:
            system, turns = _read(kept, conversation)
        except (ValueError, TypeError, KeyError) as error:
            raise RequestError(f"{name} is no saved chat: {sentence(str(error))}") from None
        conversation.resume(system, turns, ())
        self._own.add(path)
        return f"{_counted(turns)} loaded from {name}" + (f", under the system message: {system}" if system else "")


def _path(name: str) -> Path:
    if not name:
        raise RequestError("name a file, such as /save chat.json")
    try:
        return Path(name).expanduser().resolve()
    except (RuntimeError, ValueError, OSError):  # no such user; a NUL; links in a circle
        raise RequestError(f"no file has the name {name!r}") from None


def _counted(turns: Sequence[Turn]) -> str:
    count = len(turns) // 2
    return f"{count} request{'s' * (count != 1)}"


def _entry(turn: Turn) -> dict[str, Any]:
    ids = {} if turn.ids is None else {"ids": list(turn.ids)}
    return {"role": turn.role, "content": turn.content, **ids}


def _read(kept: Any, conversation: Conversation) -> tuple[str, list[Turn]]:
    """System message and turns. Raises ValueError with a sentence, RequestError for what is no text."""
    if not isinstance(kept, dict) or kept.get("sled_chat") != _FORMAT:
        raise ValueError(f'it has no "sled_chat": {_FORMAT}')
    system: Any = kept.get("system", "")
    entries: Any = kept.get("turns")
    well_formed = isinstance(system, str) and isinstance(entries, list)
    if not well_formed:
        raise ValueError('"system" must be a text and "turns" a list')
    if len(entries) % 2:
        raise ValueError("its last request has no answer")
    return checked(system, "system message"), [_turn(each, i, conversation) for i, each in enumerate(entries)]


def _turn(entry: Any, number: int, conversation: Conversation) -> Turn:
    role = _ROLES[number % 2]
    if not isinstance(entry, dict) or entry.get("role") != role or not isinstance(entry.get("content"), str):
        raise ValueError(f'turn {number + 1} must have "role": "{role}" and a text as "content"')
    content, ids = checked(entry["content"], f"text of turn {number + 1}"), entry.get("ids", [])
    if role == "user":
        return Turn("user", content)
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        raise ValueError(f'"ids" of turn {number + 1} must be a list of whole numbers')
    return conversation.recalled(content, ids)
