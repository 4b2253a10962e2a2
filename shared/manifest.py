"""What may stand in a pair's `pair.toml`: its tables read value by value, each checked, anything else refused by name."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import PairError
from shared.sampling_parameters import Sampling
from shared.settings import shown

V = TypeVar("V")
_KINDS: dict[Any, str] = {str: "text", bool: "true or false", dict: "a table", list: "a list"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9A-Fa-f]{64}")


def is_name(text: str) -> bool:
    """Whether a pair or a draft could be called so."""
    return _NAME.fullmatch(text) is not None


class Table:
    """A table of a manifest. All methods raise PairError, in a sentence with the file and the table."""

    def __init__(self, values: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> None:
        """`where` begins the sentences; other keys than `keys` are refused, where there are any."""
        self._values = values
        self.where = where
        for key in values:
            if keys and key not in keys:
                close = difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(keys)}"
                raise PairError(f"{where} has {shown(key)}, which nothing reads; {hint}")

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self._values

    def value(self, key: str, kind: type[V]) -> V:
        """The value of `key`, which must be there."""
        if key not in self._values:
            raise PairError(f"{self.where} lacks {key!r}")
        value = self._values[key]
        if not isinstance(value, kind):
            raise PairError(f"{self.where}: {key!r} must be {_KINDS[kind]}, not {shown(value)}")
        return value

    def text(self, key: str) -> str:
        """A text that is not empty."""
        text = self.value(key, str)
        if not text.strip() or not text.isprintable():
            raise PairError(f"{self.where}: {key!r} must be text that can be printed, not {shown(text)}")
        return text

    def table(self, key: str, *keys: str) -> Table:
        """The table `key`; one that is not there is empty."""
        values = self.value(key, dict) if self.has(key) else {}
        return Table(values, f"{self.where}: [{key}]", keys)

    def name(self, key: str) -> str:
        """A name that can be part of a file's name and of a message."""
        name = self.text(key)
        if not _NAME.fullmatch(name):
            raise PairError(
                f"{self.where}: {key!r} must be 1 to 64 letters, digits, '.', '-' or '_', not {shown(name)}"
            )
        return name

    def names(self) -> list[str]:
        """The keys of a table of tables, each of which can be part of a file's name."""
        for key in self._values:
            if not _NAME.fullmatch(key):
                raise PairError(f"{self.where}: a name has 1 to 64 letters, digits, '.', '-' or '_', not {shown(key)}")
        return list(self._values)

    def number(self, key: str, least: float, most: float) -> float:
        """A number from `least` to `most`."""
        number = self.value(key, object)
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
            raise PairError(f"{self.where}: {key!r} must be a number from {least:g} to {most:g}, not {shown(number)}")
        return number

    def file(self, key: str, folder: Path) -> Path:
        """A path below `folder`, which is resolved; a link must not lead out of it."""
        text = self.text(key)
        path = folder / text
        if (
            Path(text).is_absolute()
            or ".." in Path(text).parts
            or not Path(os.path.realpath(path)).is_relative_to(folder)
        ):
            raise PairError(
                f"{self.where}: {key!r} must name a file inside the pair's folder, not {shown(text)}; copy it there"
            )
        return path

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, at least one."""
        values = self._values.get(key)
        if isinstance(values, str):
            raise PairError(f"{self.where}: {key!r} must be a list; write {key} = [{shown(values)}]")
        listed = self.value(key, list)
        if not listed or not all(isinstance(value, str) and value for value in listed):
            raise PairError(f"{self.where}: {key!r} must be a list of one text or more, not {shown(listed)}")
        return tuple(listed)

    def sampling(self) -> Sampling:
        """The whole table as parameters of sampling."""
        try:
            return Sampling(**self._values)
        except ValueError as error:
            raise PairError(f"{self.where}: {error}") from None

    def words(self) -> dict[str, str]:
        """The whole table as control words by control words."""
        for word, meant in self._values.items():
            if not (word and isinstance(meant, str) and meant):
                raise PairError(f"{self.where}: {shown(word)} must be translated by a control word, not {shown(meant)}")
        return dict(self._values)

    def hashes(self) -> dict[str, str]:
        """The whole table as SHA-256 hashes of files, by their paths in the pair's folder."""
        for path, digest in self._values.items():
            if Path(path).is_absolute() or os.path.normpath(path).split("/")[0] == "..":
                raise PairError(f"{self.where} must name files inside the pair's folder, not {shown(path)}")
            if not isinstance(digest, str) or not _HASH.fullmatch(digest):
                raise PairError(f"{self.where}: {shown(path)} must have 64 hexadecimal digits, not {shown(digest)}")
        return dict(self._values)
