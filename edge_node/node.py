"""A node put together: pair, broker, drafter and conversation, as the commands use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge_node.calibration import Calibration, kept_in
from edge_node.conversation import Conversation
from edge_node.drafter import Drafter
from edge_node.hub_link import HubLink
from edge_node.ngram import Cascade, NgramDrafter
from edge_node.onnx_drafter import SOURCE, OnnxDrafter
from edge_node.round_loop import RoundLoop
from edge_node.settings import DrafterKind, Mode, NodeSettings
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
    file = kept_in(f"{pair.name}-{settings.drafter.value}")
    calibration = Calibration.load(file)
    drafter = None if settings.mode is Mode.STREAM else pick_drafter(settings, pair, tokenizer, calibration)
    link = HubLink(settings.broker, settings.name, pair)
    link.connect()
    conversation = Conversation(tokenizer, RoundLoop(link, settings, drafter, calibration), system)
    try:
        yield conversation
    finally:
        conversation.clear()
        link.close()
        if drafter is not None:
            calibration.save(file)


def pick_drafter(settings: NodeSettings, pair: Pair, tokenizer: ChatTokenizer, calibration: Calibration) -> Drafter:
    """The drafter that the settings name. Raises PairError when it needs a model and the pair has none."""
    kind = settings.drafter
    lookup = NgramDrafter(tokenizer.end_ids)
    if kind is DrafterKind.NGRAM or (kind is DrafterKind.AUTO and pair.draft is None):
        return lookup
    model = load_drafter(pair, settings.threads, tokenizer)
    return model if kind is DrafterKind.MODEL else Cascade(lookup, model, calibration, SOURCE)


def load_drafter(pair: Pair, threads: int, tokenizer: ChatTokenizer) -> OnnxDrafter:
    """The pair's draft. Raises PairError when it has none, or its file is not a draft graph."""
    if pair.draft is None:
        raise PairError(
            f"the pair {pair.name!r} has no draft model; use --drafter ngram or --mode stream, or export one with tools.export"
        )
    path = pair.verify(pair.draft)
    return OnnxDrafter(path, threads=threads, vocab_size=tokenizer.vocab_size, end_ids=tokenizer.end_ids)
