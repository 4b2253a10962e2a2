"""Two clocks put on one by the messages that went between them: nothing comes before it was sent.

With o = the hub's clock − the node's, every draft says o ≤ came(hub) − began to be sent(node), and every verdict
o ≥ began to be published(hub) − came(node). The tightest of both bound o; taken is the middle between them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tools.trace.records import Heard, Published, Received, Sent, Trace, of_kind


@dataclass(frozen=True)
class Alignment:
    """How a node's clock stands to the hub's, in nanoseconds."""

    offset: int  # to be added to the node's times
    uncertainty: int  # the offset may be off by that much, and no more
    drafts: int  # messages that it follows from
    verdicts: int
    drifted: bool  # whether no offset suits all messages, since one clock ran faster: then `uncertainty` is by how much


def align(node: Trace, hub: Trace) -> Alignment:
    """How the clocks stand to each other. Raises RuntimeError where no draft of the node came to that hub, or no verdict back."""
    drafts, verdicts = _drafts(node, hub), _verdicts(node, hub)
    if not drafts or not verdicts:
        raise RuntimeError(
            f"{node.path} and {hub.path} have no draft and verdict in common; trace node and hub at the same time"
        )
    highest, lowest = min(drafts), max(verdicts)
    return Alignment(
        (highest + lowest) // 2,
        (abs(highest - lowest) + 1) // 2,
        len(drafts),
        len(verdicts),
        drifted=highest < lowest,
    )


def _drafts(node: Trace, hub: Trace) -> list[int]:
    """What each draft says the offset is at most. Of what was sent again the first time counts, on both sides."""
    came: dict[tuple[bytes, int], int] = {}
    for received in of_kind(hub, Received):
        came.setdefault((received.session, received.round), received.came)
    sent: dict[tuple[bytes, int], int] = {}
    for each in of_kind(node, Sent):
        sent.setdefault((each.session, each.round), each.began)
    return [came[key] - began for key, began in sent.items() if key in came]


def _verdicts(node: Trace, hub: Trace) -> list[int]:
    """What each verdict, early verdict and fault says the offset is at least."""
    left: dict[tuple[bytes, str, int, int], int] = {}
    for published in of_kind(hub, Published):
        left.setdefault((published.session, published.message, published.round, published.base), published.began)
    came: dict[tuple[bytes, str, int, int], int] = {}
    for heard in of_kind(node, Heard):
        came.setdefault((heard.session, heard.message, heard.round, heard.base), heard.came)
    return [left[key] - at for key, at in came.items() if key in left]
