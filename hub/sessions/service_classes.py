"""Classes of service: whose requests go first. A node's class is told by its name, as the hub's settings have it."""

from __future__ import annotations

from enum import IntEnum
from fnmatch import fnmatchcase
from functools import lru_cache

_KEPT = 4096  # nodes whose class is remembered


class ServiceClass(IntEnum):
    """The lower the number, the sooner its sessions are served."""

    VOICE = 0  # somebody stands there and waits
    NORMAL = 1
    BACKGROUND = 2  # nobody waits: captions of a camera, summaries at night


class ServiceClasses:
    """Tells nodes' classes. For any thread."""

    def __init__(self, voice: tuple[str, ...] = (), background: tuple[str, ...] = ()) -> None:
        """Patterns of nodes' names, in which * stands for anything; a node that is of both is `voice`."""
        self._patterns = ((ServiceClass.VOICE, voice), (ServiceClass.BACKGROUND, background))
        self.of = lru_cache(_KEPT)(self._of)

    def _of(self, node: str) -> ServiceClass:
        for service_class, patterns in self._patterns:
            if any(fnmatchcase(node, pattern) for pattern in patterns):
                return service_class
        return ServiceClass.NORMAL


def always_normal(_: str) -> ServiceClass:
    """The class of every node where no settings tell them apart."""
    return ServiceClass.NORMAL


def patterns(text: str) -> tuple[str, ...]:
    """The patterns in a setting: separated by commas."""
    return tuple(pattern for part in text.split(",") if (pattern := part.strip()))
