"""The columns in which hubs and nodes are shown, and what stands in their cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hub.fleet.hubs import HubView
from hub.fleet.nodes import NodeView
from hub.fleet.presence import State

V = TypeVar("V", bound=HubView | NodeView)

_TIMES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
_SIZES = ("", "K", "M", "G", "T")
_STATE_STYLES = {State.ONLINE: "", State.SILENT: "red", State.OFFLINE: "dim"}
_DIGITS = 8  # of a hash
_BAD = "red"
_DOUBTFUL = "yellow"


@dataclass(frozen=True)
class Column(Generic[V]):
    """`worth`: of columns that don't fit on a screen, those that are worth the least are left out first."""

    title: str
    worth: int
    cell: Callable[[V], str]
    is_number: bool = True
    style: Callable[[V], str] = lambda _: ""


def since(time_s: float | None) -> str:
    """A time in its largest unit."""
    if time_s is None:
        return ""
    unit_s, unit = next((each for each in _TIMES if time_s >= each[0]), _TIMES[-1])
    return f"{time_s // unit_s:.0f} {unit}"


def figure(value: float | None) -> str:
    """A number in at most six characters."""
    if value is None:
        return ""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= factor:
            return f"{value / factor:.0f}{unit}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def whole(value: int | None) -> str:
    """A whole number in at most six characters."""
    return "" if value is None else str(value) if value < 1_000_000 else figure(value)


def percent(value: float | None) -> str:
    """A share."""
    return "" if value is None else f"{100 * value:.0f}%"


def memory(size: int | None) -> str:
    """Bytes in at most five characters, in units of 1024."""
    if size is None:
        return ""
    power = min((size.bit_length() - 1) // 10, 4) if size else 0
    amount = size / 2 ** (10 * power)
    return f"{amount:.1f}{_SIZES[power]}" if power and amount < 10 else f"{amount:.0f}{_SIZES[power]}"


def state(view: HubView | NodeView) -> str:
    """The state and for how long; with a question mark where it is only what the broker has kept."""
    doubt = "" if view.heard or view.state is not State.ONLINE else "?"
    return f"{view.state.value}{doubt} {since(view.for_s)}".rstrip()


def _state_style(view: HubView | NodeView) -> str:
    return _STATE_STYLES[view.state] if view.heard or view.state is not State.ONLINE else _DOUBTFUL


def _held(view: HubView) -> str:
    return f"{memory(view.held_bytes)}/{memory(view.kv_bytes)}" if view.kv_bytes is not None else ""


def _draft(view: NodeView) -> str:
    """The draft's name and the beginning of its hash; told in a word where it is worse than promised."""
    name, colon, digits = view.draft.partition(":")
    return f"{'fallen ' if view.fallen else ''}{name}{colon}{digits[:_DIGITS]}"


HUB_COLUMNS: tuple[Column[HubView], ...] = (
    Column("hub", 100, lambda v: v.name, is_number=False),
    Column("state", 95, state, is_number=False, style=_state_style),
    Column("pair", 30, lambda v: v.pair, is_number=False),
    Column("target", 50, lambda v: v.target, is_number=False),
    Column("device", 40, lambda v: v.device, is_number=False),
    Column("sess", 80, lambda v: whole(v.sessions)),
    Column("tok/s", 90, lambda v: figure(v.tokens_per_s)),
    Column("acc", 75, lambda v: percent(v.acceptance)),
    Column("fwd/s", 60, lambda v: figure(v.forwards_per_s)),
    Column("tok/fwd", 65, lambda v: figure(v.tokens_per_forward)),
    Column("busy", 85, lambda v: percent(v.in_forwards)),
    Column("K/V", 45, _held),
    Column("faults/s", 55, lambda v: figure(v.faults_per_s), style=lambda v: _BAD if v.faults_per_s else ""),
    Column("version", 20, lambda v: v.version, is_number=False),
)

NODE_COLUMNS: tuple[Column[NodeView], ...] = (
    Column("node", 100, lambda v: v.name, is_number=False),
    Column("state", 95, state, is_number=False, style=_state_style),
    Column("pair", 40, lambda v: v.pair, is_number=False),
    Column("draft", 50, _draft, is_number=False, style=lambda v: _DOUBTFUL if v.fallen else ""),
    Column("mode", 75, lambda v: v.mode, is_number=False),
    Column("hub", 45, lambda v: v.hub, is_number=False),
    Column("tok/s", 90, lambda v: figure(v.tokens_per_s)),
    Column("acc", 70, lambda v: percent(v.acceptance)),
    Column("now", 65, lambda v: whole(v.answering)),
    Column("wait", 85, lambda v: whole(v.waiting)),
    Column("done", 80, lambda v: whole(v.answers)),
    Column("errors", 60, lambda v: whole(v.errors), style=lambda v: _BAD if v.errors else ""),
    Column("last", 55, lambda v: since(v.answered_s)),
    Column("version", 20, lambda v: v.version, is_number=False),
)
