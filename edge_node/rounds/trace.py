"""The node's side of a trace: when tokens were drafted, when a draft left, when its verdict came and was committed."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_node.link.channel import HubMessage
from edge_node.link.serving_hub import ServingHub
from shared.messages import Draft, Fault, Verdict
from shared.trace_file import SESSION_BYTES, Event, TraceFile


class RoundTrace:
    """One conversation's part of the node's trace."""

    def __init__(self, file: TraceFile) -> None:
        self._note = file.note
        self._session = b""  # in which was sent last

    def drafted(self, began: int, ended: int, tokens: int) -> None:
        """A piece of drafting brought that many tokens; times as of `time.monotonic_ns`."""
        self._note(Event.DRAFTED, self._session, began, ended, tokens)

    def sending(self, hub: ServingHub) -> Callable[[Draft], int]:
        """The hub's `send`, traced. What is sent while no session is open leaves no record, as it does not leave the node."""

        def traced(draft: Draft) -> int:
            channel = hub.channel
            if channel is not None:
                self._session = channel.session[:SESSION_BYTES]
            began = time.monotonic_ns()
            size = hub.send(draft)
            ended = time.monotonic_ns()
            if channel is not None:
                sizes = len(draft.tokens), len(draft.append)
                self._note(Event.SENT, self._session, draft.round, draft.base, began, ended, *sizes)
            return size

        return traced

    def heard(self, arrival: HubMessage) -> None:
        """A message of the hub is taken out of the queue."""
        message = arrival.message
        base = 0 if isinstance(message, Fault) else message.base
        session, name, came = arrival.session[:SESSION_BYTES], type(message).__name__, int(arrival.at * 1e9)
        self._note(Event.HEARD, session, name, message.round, base, came, time.monotonic_ns())

    def committed(self, arrival: HubMessage, verdict: Verdict, ids: int) -> None:
        """All is done that follows from the verdict, which committed that many ids."""
        session = arrival.session[:SESSION_BYTES]
        self._note(Event.COMMITTED, session, verdict.round, verdict.base, time.monotonic_ns(), ids)
