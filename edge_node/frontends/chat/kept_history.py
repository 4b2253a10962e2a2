"""What was typed in chats before: a file of JSON strings, one a line, that only its owner can read."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

from shared.cache import cache_folder
from shared.errors import SettingsError
from shared.private_file import PRIVATE, write_file
from shared.text_file import read_text

log = logging.getLogger(__name__)

_MOST_ENTRIES = 1000
_MOST_BYTES = 2**24
_LONGEST = 2**12  # bytes of an entry that is kept


class KeptHistory(History):
    """Where nothing can be kept, what was typed is known until the program ends."""

    def __init__(self, file: Path | None = None) -> None:
        super().__init__()
        self._file = file or cache_folder() / "chat-history"

    def load_history_strings(self) -> Iterable[str]:
        """What was typed, the latest first."""
        entries = self._entries()
        if len(entries) > _MOST_ENTRIES:
            entries = entries[-_MOST_ENTRIES // 2 :]
            self._rewrite(entries)
        return reversed(entries)

    def store_string(self, string: str) -> None:
        """Keep an entry behind the others."""
        line = json.dumps(string) + "\n"
        if len(line) > _LONGEST:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._file, flags, PRIVATE)
            try:
                os.fchmod(descriptor, PRIVATE)
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            log.info("what was typed is not kept in %s: %s", self._file, error)

    def _entries(self) -> list[str]:
        if not os.path.lexists(self._file):
            return []
        try:
            text = read_text(self._file, "the history", SettingsError, most=_MOST_BYTES)
        except SettingsError as error:
            log.info("what was typed before is not read: %s", error)
            self._rewrite([])  # it would grow for ever
            return []
        return [entry for line in text.splitlines() if (entry := _entry(line))]

    def _rewrite(self, entries: list[str]) -> None:
        try:
            write_file(self._file, "".join(json.dumps(entry) + "\n" for entry in entries))
        except OSError as error:
            log.info("the history in %s is not shortened: %s", self._file, error)


def _entry(line: str) -> str:
    """The text in a line; nothing where it is damaged."""
    try:
        entry = json.loads(line)
        entry.encode()
    except (ValueError, AttributeError, RecursionError):
        return ""
    return str(entry)
