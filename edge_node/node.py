"""A node put together: pair, broker, drafter and conversation, as the commands use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge_node.conversation import Conversation
from edge_node.drafter import OnnxDrafter
from edge_node.hub_link import HubLink
from edge_node.round_loop import RoundLoop
from edge_node.settings import Mode, NodeSettings
from edge_node.tokenizer import ChatTokenizer
from shared.errors import PairError
from shared.pair import Pair, load_pair


@contextmanager
def connected(settings: NodeSettings, system: str | None = None) -> Iterator[Conversation]:
    """A conversation on the broker, its session still to be opened by `begin` or the first request.

    Raises SledError when the pair can't be loaded or the broker can't be reached.
    """
    pair = load_pair(settings.pair)
    tokenizer = ChatTokenizer(pair)
    drafter = load_drafter(pair, settings.threads, tokenizer) if settings.mode is Mode.SPECULATE else None
    link = HubLink(settings.broker, settings.name, pair)
    link.connect()
    conversation = Conversation(tokenizer, RoundLoop(link, settings, drafter), system)
    try:
        yield conversation
    finally:
        conversation.clear()
        link.close()


def load_drafter(pair: Pair, threads: int, tokenizer: ChatTokenizer) -> OnnxDrafter:
    """The pair's draft. Raises PairError when it has none, or its file is not a draft graph."""
    if pair.draft is None:
        raise PairError(f"the pair {pair.name!r} has no draft; use --mode stream, or export one with tools.export")
    path = pair.verify(pair.draft)
    return OnnxDrafter(path, threads=threads, vocab_size=tokenizer.vocab_size, end_ids=tokenizer.end_ids)
