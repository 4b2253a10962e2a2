"""One conversation's way to the hubs: opening a session, rounds out and verdicts in."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections import deque

from edge_node.link.channel import Channel, HubMessage, News
from edge_node.link.directory import SeenHub
from edge_node.link.node_link import NodeLink
from edge_node.link.opening import Opening
from shared.codec import encode_in
from shared.errors import BrokerRefused
from shared.messages import Close, Draft, Fault, Opened
from shared.mqtt import Sent

log = logging.getLogger(__name__)

_SENT = 16  # messages of a conversation of which it is looked whether the broker has refused them

_TOO_LARGE = "Quota exceeded"  # what the link gives as the reason for that
_LOOK_S = 0.2  # seconds between two looks at whether the broker has refused something


class HubLink:
    """What one conversation has of its node's connection: one session at a time is spoken on it."""

    def __init__(self, node: NodeLink) -> None:
        self.bytes_down = 0  # payload bytes of verdicts
        self._node = node
        self._opens: queue.Queue[Opened | Fault] = queue.Queue(64)
        self._verdicts: queue.Queue[HubMessage | News] = queue.Queue(4096)
        # Another conversation, or another program of the same name, may have sessions of its own. What is said of those is not for this one.
        self._opening = b""  # the session that this conversation asked for last
        self._spoken = b""  # the session that a hub opened for it last
        self._sent: deque[Sent] = deque(maxlen=_SENT)
        node.join(self)

    @property
    def trouble(self) -> str:
        """What is wrong with the way to the broker; nothing if all is well."""
        return self._node.trouble

    def close(self) -> None:
        """The conversation is over: nothing comes to it any more."""
        self._node.leave(self)

    def leave(self, channel: Channel) -> None:
        """Tell the hub that the session is over."""
        self.give_up(channel.hub, channel.session)

    def opening(self, prefer: str | None = None, target: str | None = None) -> Opening:
        """A session to be asked for: with the hub `prefer` where it is there, with `target` at one that runs it."""
        return Opening(self, self._node.directory, prefer, target)

    def send(self, channel: Channel, draft: Draft) -> int:
        """Publish a round; the size of its payload in bytes."""
        payload = encode_in(channel.session, draft)
        self._sent.append(self._node.send(channel.hub, payload))
        return len(payload)

    def receive(self, channel: Channel, timeout_s: float) -> HubMessage | News | None:
        """The next message of the session's hub, or news, or None when neither comes in time; 0 looks at what is there."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._raise_refusal()
            remaining = deadline - time.monotonic()
            try:
                arrival = self._verdicts.get(block=remaining > 0, timeout=max(0.0, remaining))
            except queue.Empty:
                return None
            if isinstance(arrival, News) or arrival.session == channel.session:
                return arrival

    def seen(self, hub: str) -> SeenHub:
        """What the hub has published last; an offline hub without facts when it has published nothing."""
        return self._node.directory.seen(hub)

    def is_silent(self, hub: str) -> bool:
        """Whether the hub has missed a word that it would have said by now."""
        return self._node.directory.is_silent(hub)

    def has_other(self, hub: str, target: str) -> bool:
        """Whether another hub lives that runs the target."""
        other = self._node.directory.choose(None, {hub}, target)
        return other not in (None, hub) and not self._node.directory.is_silent(str(other))

    def excess(self, hub: str, target: str) -> float:
        """The share of the hub's sessions that would be better off at other hubs of the target."""
        return self._node.directory.excess(hub, target)

    def ask_for(self, hub: str, session: bytes) -> None:
        """Ask a hub for a session. What it answers comes by `reply`."""
        self._opening = session
        # An older hub does not read a request for what it cannot say.
        wants_bits = "bits" in self._node.directory.seen(hub).info
        self._sent.append(self._node.ask_for(hub, session, wants_bits=wants_bits))

    def reply(self, session: bytes, timeout_s: float) -> Opened | Fault | None:
        """What was answered about that session, or None when nothing comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._raise_refusal()
            try:
                answer = self._opens.get(timeout=max(0.0, min(_LOOK_S, deadline - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= deadline:
                    return None
                continue
            if answer.session == session:
                if isinstance(answer, Opened):
                    self._spoken = session
                    self._forget_what_came()
                return answer

    def _forget_what_came(self) -> None:
        """Nothing that came so far is about the session that begins."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._verdicts.get_nowait()

    def give_up(self, hub: str, session: bytes) -> None:
        """Tell a hub that the session is not wanted any more."""
        self._node.send(hub, encode_in(session, Close()))

    def take_opened(self, message: Opened | Fault) -> None:
        """A hub has answered an open of this node; on the MQTT client's thread, as the two that follow."""
        if message.session == self._opening and not self._opens.full():
            self._opens.put_nowait(message)

    def take_verdict(self, message: HubMessage, size: int) -> bool:
        """A hub has said something in a session of this node, in a payload of `size` bytes; whether it is this one's."""
        if message.session != self._spoken:
            return False
        self.bytes_down += size
        if self._verdicts.full():
            log.warning("verdicts arrive faster than they are read; one is dropped and will be asked for again")
        else:
            self._verdicts.put_nowait(message)
        return True

    def tell(self, news: News) -> None:
        """Let whoever waits for the hub look about, from any thread."""
        if not self._verdicts.full():
            self._verdicts.put_nowait(news)

    def _raise_refusal(self) -> None:
        reason = next((sent.refusal for sent in self._sent if sent.refusal), "")
        if reason:
            self._sent.clear()
            if reason == _TOO_LARGE:
                raise BrokerRefused(
                    "the broker does not take a message of this size: shorten the request, or raise message_size_limit and "
                    "max_packet_size in its configuration"
                )
            raise BrokerRefused(
                f"the broker does not let {self._node.name!r} publish ({reason}); its user name must be the node's name, "
                "and its ACL that of deploy/mosquitto"
            )
