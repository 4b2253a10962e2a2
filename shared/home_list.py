"""The list of a home in a system message: what a pair's manifest says of its form, and of which names in calls must be on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from shared.typed_text import plain_lines

_KEPT = 16  # system messages that are remembered
_PARTS = re.compile(r"[;\n]|\.(?:\s|$)")  # what stands between the kinds of names
_NO_LETTER = re.compile(r"[\W_]+")
_ARTICLE = re.compile(r"(?:the|my|our)\s+", re.IGNORECASE)


def key(name: str) -> str:
    """A name in a form in which it can be compared: "The 3 D Printer" is "3d printer"."""
    return _NO_LETTER.sub("", _ARTICLE.sub("", name.strip().casefold(), count=1))


@dataclass(frozen=True)
class HomeList:
    """The [listed] table of a pair: what its calls may name under a system message that lists the home.

    `titles` are the words before the colons of such a list, and the argument that has the names behind each. `says` is what is said
    in place of calls for something that is not there, the name in place of {}. What is in a list is told by all of `titles`' arguments but that of
    `device`, whose names must be on the list only in a call of `calls`, or in one of `questions` that has a domain or one of `states`; in neither
    case where the domain is one of `not_domains`. Names of `everywhere` and, for devices, of `kinds` need not be on it. `beside` are
    words that are no part of a name when they stand at its ends.
    """

    titles: Mapping[str, str]
    says: str
    device: str = "name"
    calls: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    not_domains: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @cached_property
    def read(self) -> Callable[[str], ListedNames | None]:
        """Gives the names in a system message; None for one that lists no home. Asked with each verdict, it remembers the last messages."""
        return lru_cache(_KEPT)(self._read)

    @cached_property
    def free(self) -> Mapping[str, frozenset[str]]:
        """The keys of names that need not be listed: of places, and of devices."""
        places = frozenset(map(key, self.everywhere))
        return dict.fromkeys(self.titles.values(), places) | {self.device: places | frozenset(map(key, self.kinds))}

    def _read(self, system: str) -> ListedNames | None:
        names: dict[str, dict[str, str]] = {argument: {} for argument in self.titles.values()}
        found = False
        for part in _PARTS.split(plain_lines(system)):
            title, colon, rest = part.partition(":")
            argument = self.titles.get(title.strip().casefold())
            if colon and argument is not None:
                found = True
                names[argument].update({key(name): name.strip() for name in rest.split(",") if key(name)})
        return ListedNames(self, names) if found else None


@dataclass(frozen=True)
class ListedNames:
    """What a home has: by the argument of a call that names it, the names as they are listed, by their keys."""

    form: HomeList
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def must_list(self, call: str, arguments: Mapping[str, Any], argument: str) -> bool:
        """Whether what that argument of a call names must be on the list."""
        form, value = self.form, arguments.get(argument)
        if (
            argument not in self.names
            or not isinstance(value, str)
            or not key(value)
            or key(value) in form.free[argument]
        ):
            return False
        if argument != form.device:
            return True
        domain = arguments.get("domain")
        if domain in form.not_domains:
            return False
        asked = call in form.questions and (domain is not None or arguments.get("state") in form.states)
        return asked or call in form.calls

    def where(self, name: str) -> list[str]:
        """The arguments by which what bears that name can be named."""
        return [argument for argument, listed in self.names.items() if key(name) in listed]

    def without_words_beside(self, name: str) -> str:
        """A name without what stands at its ends and is no part of one."""
        words = name.split()
        while words and words[0].casefold() in self.form.beside:
            words.pop(0)
        while words and words[-1].casefold() in self.form.beside:
            words.pop()
        return " ".join(words)
