"""A service's figures as its `stats` and its metrics tell them: what it has done so far, and how it stands now."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from edge_node.assembly import Node
from edge_node.service.desk import Desk
from edge_node.service.replies import Replies
from edge_node.service.tally import Tally
from edge_node.settings import Mode
from shared.mqtt import MqttLink


class ServiceFigures:
    """Read from those who count. To be asked by any thread."""

    def __init__(self, name: str, node: Node, link: MqttLink, desk: Desk, replies: Replies, tally: Tally) -> None:
        self._facts = {"node": name, "pair": node.pair.name, "version": version("sled-mqtt")}
        self._node, self._link, self._desk, self._replies, self._tally = node, link, desk, replies, tally

    def now(self, mode: Mode, lost: int) -> dict[str, Any]:
        """What is in `stats` besides the tally. `mode` is that of the next answer, `lost` the number of messages without room."""
        return {
            "waiting": len(self._desk.waiting),
            "answering": len(self._desk.answering),
            "chats": len(self._desk.chats),
            "lost": lost,
            "busy": self._replies.refused["busy"],
            "refused": self._replies.refused["error"],
            "set_mode": mode.value,
            "draft": None if self._node.drift is None else self._node.drift.figures,
            "hub": self._node.link.directory.choose(None, set(), None),
            "at": self._desk.hubs,
        }

    def for_metrics(self, mode: Mode, lost: int) -> dict[str, Any]:
        """All of it, by the keys of `edge_node/metrics.py`; None for what is not known yet."""
        now, tally = self.now(mode, lost), self._tally.figures
        draft = now["draft"] or {}
        return {
            **tally,
            **now,
            **self._facts,
            "connected": self._link.connected,
            "has_hub": now["hub"] is not None,
            "streams": None if "mode" not in tally else tally["mode"] == "stream",
            "written": self._tally.written,
            "written_s": self._tally.written_s,
            "first_tokens": self._tally.first_tokens,
            "draft_acceptance": draft.get("acceptance"),
            "draft_promised": draft.get("promised"),
            "draft_fallen": draft.get("fallen"),
        }
