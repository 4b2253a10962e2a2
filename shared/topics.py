"""The topics of the protocol. A node's name is in every topic that it writes, where the broker's ACL checks it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import ProtocolError, SettingsError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
STREAM = "stream"  # the level of an answer's pieces, which therefore nobody is called who has topics of its own
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


def check_name(name: str, what: str) -> str:
    """`name`, if it can be a topic level of its own and an MQTT user name. Raises SettingsError."""
    if not _NAME.fullmatch(name):
        raise SettingsError(f"the {what} {name!r} must be 1 to 64 letters, digits, '-' or '_'")
    return name


def is_name(level: str) -> bool:
    """Whether a topic level could be a name."""
    return _NAME.fullmatch(level) is not None


@dataclass(frozen=True)
class SessionTopic:
    """Between whom the messages on a session's topic go."""

    hub: str
    node: str


class Topics:
    """The topics below one prefix."""

    def __init__(self, prefix: str = "sled") -> None:
        if not _PREFIX.fullmatch(prefix) or len(prefix) > 128:
            raise SettingsError(f"the topic prefix {prefix!r} must be levels of letters, digits, '-' or '_'")
        self.prefix = prefix

    def hub(self, hub: str, leaf: str) -> str:
        """Retained `status`, `info` or `stats` of a hub ("+" for all)."""
        return f"{self.prefix}/hub/{hub}/{leaf}"

    def open(self, hub: str, node: str) -> str:
        """Where `node` asks `hub` to open a session."""
        return f"{self.prefix}/hub/{hub}/open/{node}"

    def opened(self, node: str) -> str:
        """Where a hub answers an open of `node`."""
        return f"{self.prefix}/node/{node}/opened"

    def offer(self, hub: str) -> str:
        """Retained: which files `hub` delivers to nodes ("+" for all hubs)."""
        return self.hub(hub, "offer")

    def fetch(self, hub: str, node: str) -> str:
        """Where `node` asks `hub` for pieces of files."""
        return f"{self.prefix}/hub/{hub}/fetch/{node}"

    def piece(self, hub: str, node: str) -> str:
        """Where `hub` sends pieces to `node`."""
        return f"{self.prefix}/node/{node}/piece/{hub}"

    def echo(self, node: str, way: str) -> str:
        """Where `node` writes to itself, "there" and "back", to see how long that takes."""
        return f"{self.prefix}/node/{node}/echo/{way}"

    def node(self, node: str, leaf: str, asker: str = "") -> str:
        """Where people and programs talk with `node`; `asker` is the level of one that has topics of its own.

        Leaves are `ask` and `cancel`, which the node reads, and `answer`, `call`, `status`, `info` and `stats`, which it writes.
        """
        return "/".join([self.prefix, "node", node, leaf, *([asker] if asker else [])])

    def ros(self, node: str, leaf: str) -> str:
        """Where `node` tells robots in ROS 2 what it says (`say`) and calls (`call`), as std_msgs/String."""
        return f"{self.prefix}/node/{node}/ros/{leaf}"

    def stream(self, answer: str) -> str:
        """Where an answer that will stand on the topic `answer` is told piece by piece."""
        return f"{answer}/{STREAM}"

    def asker_of(self, topic: str) -> str:
        """The asker in an `ask` or `cancel` topic; "" in the one for all. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        asker = levels[3] if len(levels) == 4 else ""
        if not 3 <= len(levels) <= 4 or levels[0] != "node" or (asker and not _NAME.fullmatch(asker)):
            raise ProtocolError(f"{topic!r} is not a topic on which a node is asked")
        return asker

    @property
    def flush(self) -> str:
        """Where every client writes a marker behind its messages, to see that the broker has them; nobody reads there."""
        return f"{self.prefix}/flush"

    def draft(self, hub: str, node: str) -> str:
        """Rounds of all sessions between the two, node → hub."""
        return f"{self.prefix}/session/{hub}/{node}/draft"

    def verdict(self, hub: str, node: str) -> str:
        """Verdicts and faults of all sessions between the two, hub → node."""
        return f"{self.prefix}/session/{hub}/{node}/verdict"

    def hub_of(self, topic: str) -> str:
        """The hub in a `status`, `info`, `stats` or `offer` topic. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        if len(levels) != 3 or levels[0] != "hub" or not _NAME.fullmatch(levels[1]):
            raise ProtocolError(f"{topic!r} is not a topic of a hub")
        return levels[1]

    def node_of(self, topic: str) -> str:
        """The node in a `status`, `info` or `stats` topic. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        if len(levels) != 3 or levels[0] != "node" or not _NAME.fullmatch(levels[1]):
            raise ProtocolError(f"{topic!r} is not a topic of a node")
        return levels[1]

    def opener_of(self, topic: str) -> str:
        """The node in an `open` topic. Raises ProtocolError for another topic."""
        return self._node_at(topic, "open")

    def fetcher_of(self, topic: str) -> str:
        """The node in a `fetch` topic. Raises ProtocolError for another topic."""
        return self._node_at(topic, "fetch")

    def sender_of(self, topic: str) -> str:
        """The hub in a `piece` topic. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        if len(levels) != 4 or levels[0] != "node" or levels[2] != "piece" or not _NAME.fullmatch(levels[3]):
            raise ProtocolError(f"{topic!r} is not a topic of pieces")
        return levels[3]

    def parties_of(self, topic: str) -> SessionTopic:
        """The parties of a `draft` or `verdict` topic. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        if (
            len(levels) != 4
            or levels[0] != "session"
            or levels[3] not in ("draft", "verdict")
            or not (_NAME.fullmatch(levels[1]) and _NAME.fullmatch(levels[2]))
        ):
            raise ProtocolError(f"{topic!r} is not a session's topic")
        return SessionTopic(levels[1], levels[2])

    def _node_at(self, topic: str, leaf: str) -> str:
        levels = self._levels(topic)
        if len(levels) != 4 or levels[0] != "hub" or levels[2] != leaf or not _NAME.fullmatch(levels[3]):
            raise ProtocolError(f"{topic!r} is not a topic with the leaf {leaf!r} and a node's name")
        return levels[3]

    def _levels(self, topic: str) -> list[str]:
        head = f"{self.prefix}/"
        return topic[len(head) :].split("/") if topic.startswith(head) else []
