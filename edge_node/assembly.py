"""A node put together: pair, broker, drafter and conversation, as the commands use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.drafting.calibration import Calibration, kept_in
from edge_node.drafting.drafter import Drafter
from edge_node.drafting.ngram import Cascade, NgramDrafter
from edge_node.drafting.onnx_drafter import SOURCE, OnnxDrafter
from edge_node.drafting.prefix_drafter import PrefixDrafter
from edge_node.drafting.prefix_files import files_of
from edge_node.link.hub_link import HubLink
from edge_node.rounds.round_loop import RoundLoop
from edge_node.settings import DrafterKind, HubLoss, Mode, NodeSettings
from shared.errors import PairError
from shared.messages import Opened
from shared.pair import Pair, load_pair


@contextmanager
def connected(
    settings: NodeSettings, system: str | None = None, on_wait: Callable[[str], None] | None = None
) -> Iterator[Conversation]:
    """A conversation on the broker, its session still to be opened by `begin` or the first request.

    `on_wait` is told what an answer waits for, and "" when it goes on. Raises SledError when the pair can't be loaded or the broker can't be reached.
    """
    pair = load_pair(settings.pair)
    tokenizer = ChatTokenizer(pair)
    file = kept_in(f"{pair.name}-{settings.drafter.value}")
    calibration = Calibration.load(file)
    drafts_alone = settings.on_hub_loss is HubLoss.DRAFT
    speculates = settings.mode is not Mode.STREAM or drafts_alone
    model = pick_model(settings, pair, tokenizer) if speculates else None
    prefixes = PrefixDrafter(model, files_of(pair, model)) if model is not None else None
    drafter = pick_drafter(settings, tokenizer, prefixes, calibration) if speculates else None
    link = HubLink(settings.broker, settings.name, pair)
    link.connect(at_once=not drafts_alone)
    presumed = _presumed(settings, pair, tokenizer, drafter.context) if drafts_alone and drafter is not None else None
    loop = RoundLoop(link, settings, drafter, calibration, presumed=presumed)
    conversation = Conversation(tokenizer, loop, system)
    if on_wait is not None:
        loop.on_wait = on_wait
    try:
        yield conversation
    finally:
        conversation.clear()
        link.close()
        if drafter is not None:
            calibration.save(file)
        if prefixes is not None:
            prefixes.keep(conversation.beginning)


def _presumed(settings: NodeSettings, pair: Pair, tokenizer: ChatTokenizer, context: int) -> Opened:
    """What a hub would say of a session, for answers that begin without one."""
    return Opened(
        session=bytes(16),
        target=f"{pair.name} (this device's draft)",
        context=context,
        max_draft=settings.draft_length,
        end_ids=tuple(sorted(tokenizer.end_ids)),
        temperature=pair.defaults.temperature,
        top_k=pair.defaults.top_k,
        top_p=pair.defaults.top_p,
    )


def pick_model(settings: NodeSettings, pair: Pair, tokenizer: ChatTokenizer) -> OnnxDrafter | None:
    """The pair's draft, if the settings have a use for it. Raises PairError when they need it and the pair has none."""
    kind = settings.drafter
    if kind is DrafterKind.NGRAM or (kind is DrafterKind.AUTO and pair.draft is None):
        return None
    return load_drafter(pair, settings.threads, tokenizer)


def pick_drafter(
    settings: NodeSettings, tokenizer: ChatTokenizer, model: Drafter | None, calibration: Calibration
) -> Drafter:
    """The drafter that the settings name; `model` is what `pick_model` gave, or drafts by it."""
    lookup = NgramDrafter(tokenizer.end_ids)
    if model is None:
        return lookup
    return model if settings.drafter is DrafterKind.MODEL else Cascade(lookup, model, calibration, SOURCE)


def load_drafter(pair: Pair, threads: int, tokenizer: ChatTokenizer) -> OnnxDrafter:
    """The pair's draft. Raises PairError when it has none, or its file is not a draft graph."""
    if pair.draft is None:
        raise PairError(
            f"the pair {pair.name!r} has no draft model; use --drafter ngram or --mode stream, or export one with tools.export"
        )
    path = pair.verify(pair.draft)
    return OnnxDrafter(path, threads=threads, vocab_size=tokenizer.vocab_size, end_ids=tokenizer.end_ids)
