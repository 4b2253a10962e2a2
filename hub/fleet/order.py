"""In which order hubs and nodes are shown."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Protocol, TypeVar

from hub.fleet.presence import State


class Sort(Enum):
    """What comes first."""

    LOAD = "load"  # who has the most to do, and last who is offline
    NAME = "name"
    STATE = "state"  # who is silent, then who is offline


class _View(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> State: ...
    @property
    def load(self) -> tuple[float, ...]: ...


V = TypeVar("V", bound=_View)

_LIVING_FIRST = [State.ONLINE, State.SILENT, State.OFFLINE]
_TROUBLED_FIRST = [State.SILENT, State.OFFLINE, State.ONLINE]


def ordered(views: Iterable[V], sort: Sort) -> list[V]:
    """The views in that order, and by name where it says nothing."""
    by_name = sorted(views, key=lambda view: view.name)
    if sort is Sort.LOAD:
        return sorted(by_name, key=lambda v: (_LIVING_FIRST.index(v.state), *(-each for each in v.load)))
    if sort is Sort.STATE:
        return sorted(by_name, key=lambda v: _TROUBLED_FIRST.index(v.state))
    return by_name
