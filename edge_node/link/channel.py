"""What a node has of a hub: an open session, and what comes in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from shared.messages import Early, Fault, Opened, Verdict


@dataclass(frozen=True)
class Channel:
    """An open session with a hub."""

    hub: str
    session: bytes
    opened: Opened


@dataclass(frozen=True, slots=True)
class HubMessage:
    """A message of a session's hub, and when it came by `time.monotonic`."""

    session: bytes
    message: Verdict | Early | Fault
    at: float


class News(Enum):
    """What a node should know while it waits for a hub: something may be done now that could not be done before."""

    CONNECTED = "the broker is there again"
    HUB = "a hub has come or gone"
    OPENED = "a session is open that was asked for"
    CANCELLED = "nobody wants more of the answer"
