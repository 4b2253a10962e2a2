"""A node that runs as a service, by its `status`, `info` and `stats`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hub.fleet.facts import Published, count, number, seconds, share, text, texts
from hub.fleet.presence import Presence, State
from shared.discovery import AGAIN_S

_SILENT_S = 1.5 * AGAIN_S  # a node tells its stats when they change, and every AGAIN_S in any case

_MOST_HUBS = 8  # that a node is told to be at


@dataclass(frozen=True)
class NodeView:
    """A node at one moment. Mode, speed and acceptance are those of its last answer; None is what is not known."""

    name: str = ""
    state: State = State.OFFLINE
    heard: bool = False  # or only kept by the broker
    for_s: float | None = None  # seconds for which it runs, or is silent, or offline
    pair: str = ""
    draft: str = ""
    fallen: bool = False  # whether its draft is worse than its pair promises
    mode: str = ""  # before the first answer the one that is set
    hub: str = ""  # that it would ask now
    at: tuple[str, ...] = ()  # hubs with which it has sessions
    version: str = ""
    tokens_per_s: float | None = None
    acceptance: float | None = None  # of drafted tokens, from 0 to 1
    first_token_ms: float | None = None  # from its turn on
    rtt_ms: float | None = None  # of a round, outside the target's forward
    answering: int | None = None
    waiting: int | None = None
    answers: int | None = None  # since it was started
    errors: int | None = None  # of these
    answered_s: float | None = None  # seconds since the last one

    @property
    def load(self) -> tuple[float, ...]:
        """What busier nodes have more of."""
        return (float((self.answering or 0) + (self.waiting or 0)), float(self.answers or 0))


class SeenNode:
    """What a node has published."""

    def __init__(self) -> None:
        self.presence = Presence(_SILENT_S)
        self._told = NodeView()
        self._began_at: float | None = None
        self._answered_at: float | None = None

    def take_info(self, info: Published) -> None:
        """What it answers with."""
        self._told = replace(self._told, pair=text(info, "pair"), version=text(info, "version"))

    def take_stats(self, stats: Published, now: float) -> None:
        """What it has done."""
        draft = stats.get("draft")
        draft = draft if isinstance(draft, dict) else {}
        counts = {key: count(stats, key) for key in ("answering", "waiting", "answers", "errors")}
        self._told = replace(
            self._told,
            draft=text(draft, "version"),
            fallen=draft.get("fallen") is True,
            mode=text(stats, "mode") or text(stats, "set_mode"),
            hub=text(stats, "hub"),
            at=texts(stats, "at", _MOST_HUBS),
            tokens_per_s=number(stats, "tokens_per_s"),
            acceptance=share(stats, "acceptance"),
            first_token_ms=number(stats, "first_token_ms"),
            rtt_ms=number(stats, "rtt_ms"),
            **counts,  # type: ignore[arg-type]
        )
        at_s, answered_s, up_s = seconds(stats, "at_us"), seconds(stats, "answered_us"), number(stats, "up_s")
        self._began_at = None if up_s is None else now - up_s
        self._answered_at = None if at_s is None or answered_s is None else now - max(0.0, at_s - answered_s)

    def view(self, name: str, now: float) -> NodeView:
        """How it stands now. One that does not live answers nothing, and asks no hub."""
        state = self.presence.state(now)
        answered_s = None if self._answered_at is None else now - self._answered_at
        told = replace(self._told, name=name, state=state, heard=self.presence.heard, answered_s=answered_s)
        if state is not State.ONLINE:
            return replace(told, for_s=self.presence.gone_s(now), hub="", at=(), answering=None, waiting=None)
        return replace(told, for_s=None if self._began_at is None else now - self._began_at)
