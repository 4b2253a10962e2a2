"""The topics of the protocol. A node's name is in every topic that it writes, where the broker's ACL checks it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import ProtocolError, SettingsError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_SESSION = re.compile(r"[0-9a-f]{32}")


def check_name(name: str, what: str) -> str:
    """`name`, if it can be a topic level of its own and an MQTT user name. Raises SettingsError."""
    if not _NAME.fullmatch(name):
        raise SettingsError(f"the {what} {name!r} must be 1 to 64 letters, digits, '-' or '_'")
    return name


@dataclass(frozen=True)
class SessionTopic:
    """Who a message on a session's topic is from and for."""

    hub: str
    node: str
    session: bytes


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

    def echo(self, node: str, way: str) -> str:
        """Where `node` writes to itself, "there" and "back", to see how long that takes."""
        return f"{self.prefix}/node/{node}/echo/{way}"

    def ask(self, node: str, asker: str) -> str:
        """Where `asker` asks `node`."""
        return f"{self.prefix}/node/{node}/ask/{asker}"

    def answer(self, node: str, asker: str) -> str:
        """Where `node` answers `asker`."""
        return f"{self.prefix}/node/{node}/answer/{asker}"

    @property
    def flush(self) -> str:
        """Where every client writes a marker behind its messages, to see that the broker has them; nobody reads there."""
        return f"{self.prefix}/flush"

    def draft(self, hub: str, node: str, session: str) -> str:
        """Rounds of a session, node → hub; `session` in hex, or "+"."""
        return f"{self.prefix}/session/{hub}/{node}/{session}/draft"

    def verdict(self, hub: str, node: str, session: str) -> str:
        """Verdicts and faults of a session, hub → node."""
        return f"{self.prefix}/session/{hub}/{node}/{session}/verdict"

    def hub_of(self, topic: str) -> str:
        """The hub in a `status`, `info` or `stats` topic. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        if len(levels) != 3 or levels[0] != "hub" or not _NAME.fullmatch(levels[1]):
            raise ProtocolError(f"{topic!r} is not a topic of a hub")
        return levels[1]

    def opener_of(self, topic: str) -> str:
        """The node in an `open` topic. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        if len(levels) != 4 or levels[0] != "hub" or levels[2] != "open" or not _NAME.fullmatch(levels[3]):
            raise ProtocolError(f"{topic!r} is not an open topic with a node's name")
        return levels[3]

    def session_of(self, topic: str) -> SessionTopic:
        """The parties of a `draft` or `verdict` topic. Raises ProtocolError for another topic."""
        levels = self._levels(topic)
        if (
            len(levels) != 5
            or levels[0] != "session"
            or levels[4] not in ("draft", "verdict")
            or not (_NAME.fullmatch(levels[1]) and _NAME.fullmatch(levels[2]) and _SESSION.fullmatch(levels[3]))
        ):
            raise ProtocolError(f"{topic!r} is not a session's topic")
        return SessionTopic(levels[1], levels[2], bytes.fromhex(levels[3]))

    def _levels(self, topic: str) -> list[str]:
        head = f"{self.prefix}/"
        return topic[len(head) :].split("/") if topic.startswith(head) else []
