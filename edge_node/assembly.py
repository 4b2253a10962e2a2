"""A node put together: pair, broker, drafter and conversation, as the commands use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.drafting.byte_vocabulary import ByteVocabulary
from edge_node.drafting.calibration import Calibration, kept_in
from edge_node.drafting.drafter import Drafter
from edge_node.drafting.ngram import Cascade, NgramDrafter
from edge_node.drafting.onnx_drafter import SOURCE, OnnxDrafter
from edge_node.drafting.prefix_drafter import PrefixDrafter
from edge_node.drafting.prefix_files import files_of
from edge_node.drafting.translating_drafter import OwnDrafts, TranslatingDrafter
from edge_node.drafting.translation import TranslatedText, Translation
from edge_node.link.hub_link import HubLink
from edge_node.link.node_link import NodeLink
from edge_node.rounds.round_loop import RoundLoop
from edge_node.settings import DrafterKind, HubLoss, Mode, NodeSettings
from shared.errors import PairError
from shared.messages import Opened
from shared.pair import Pair, load_pair
from shared.vocabulary import read_tokenizer


class Node:
    """A node on the broker, whose conversations share its connection and its draft model."""

    def __init__(self, settings: NodeSettings) -> None:
        """Load the pair. Raises SledError when that can't be done."""
        self.settings = settings
        self.pair = load_pair(settings.pair)
        self._tokenizer = ChatTokenizer(self.pair)
        self._file = kept_in(f"{self.pair.name}-{settings.drafter.value}")
        self._drafts_alone = settings.on_hub_loss is HubLoss.DRAFT
        self._speculates = settings.mode is not Mode.STREAM or self._drafts_alone
        self._model = pick_model(settings, self.pair, self._tokenizer) if self._speculates else None
        self.link = NodeLink(settings.broker, settings.name, self.pair)
        self._members: list[_Member] = []

    @property
    def drafts(self) -> bool:
        """Whether its conversations have a drafter, without which they can only stream."""
        return self._speculates

    def connect(self) -> None:
        """Connect to the broker, or, where the device may go on alone, as soon as there is one. Raises LinkError."""
        self.link.connect(at_once=not self._drafts_alone)

    def conversation(self, system: str | None = None) -> Conversation:
        """One more conversation, its session still to be opened by `begin` or the first request."""
        settings, model = self.settings, self._model
        calibration = Calibration.load(self._file)
        if model is not None and self._members:
            model = model.another()
        prefixes = PrefixDrafter(model.graph, files_of(self.pair, model.graph)) if model is not None else None
        speaker = model.speaker(prefixes) if model is not None and prefixes is not None else None
        drafter = pick_drafter(settings, self._tokenizer, speaker, calibration) if self._speculates else None
        presumed = None
        if self._drafts_alone and drafter is not None:
            presumed = _presumed(settings, self.pair, self._tokenizer, drafter.context)
        loop = RoundLoop(HubLink(self.link), settings, drafter, calibration, presumed=presumed)
        conversation = Conversation(self._tokenizer, loop, system)
        self._members.append(_Member(conversation, calibration if drafter is not None else None, prefixes))
        return conversation

    def close(self) -> None:
        """Leave the sessions and the broker, and keep what was learned."""
        for member in self._members:
            member.conversation.clear()
        self.link.close()
        for member in reversed(self._members):  # the first has the most to do, and is written last
            if member.calibration is not None:
                member.calibration.save(self._file)
            if member.prefixes is not None and self._model is not None:
                member.prefixes.keep(self._model.own_ids(member.conversation.beginning))


class _Member(NamedTuple):
    conversation: Conversation
    calibration: Calibration | None
    prefixes: PrefixDrafter | None


@contextmanager
def connected(
    settings: NodeSettings, system: str | None = None, on_wait: Callable[[str], None] | None = None
) -> Iterator[Conversation]:
    """A conversation on the broker, its session still to be opened by `begin` or the first request.

    `on_wait` is told what an answer waits for, and "" when it goes on. Raises SledError when the pair can't be loaded or the broker can't be reached.
    """
    node = Node(settings)
    node.connect()
    try:
        conversation = node.conversation(system)
        if on_wait is not None:
            conversation.loop.on_wait = on_wait
        yield conversation
    finally:
        node.close()


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


class DraftModel(NamedTuple):
    """A pair's draft, loaded."""

    graph: OnnxDrafter
    translation: Translation | None  # where its ids are not the target's

    def another(self) -> DraftModel:
        """The same for another conversation."""
        return self._replace(graph=self.graph.another())

    def speaker(self, drafts: OwnDrafts) -> Drafter:
        """A drafter in the target's ids; `drafts` is the graph, or drafts by it."""
        return drafts if self.translation is None else TranslatingDrafter(drafts, self.translation)

    def own_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids of a text in the draft's vocabulary."""
        return ids if self.translation is None else TranslatedText(self.translation).follow(ids)


def pick_model(settings: NodeSettings, pair: Pair, tokenizer: ChatTokenizer) -> DraftModel | None:
    """The pair's draft, if the settings have a use for it. Raises PairError when they need it and the pair has none."""
    kind = settings.drafter
    if kind is DrafterKind.NGRAM or (kind is DrafterKind.AUTO and pair.draft is None):
        return None
    translation = load_translation(pair, tokenizer)
    return DraftModel(load_drafter(pair, settings.threads, tokenizer, translation), translation)


def pick_drafter(
    settings: NodeSettings, tokenizer: ChatTokenizer, model: Drafter | None, calibration: Calibration
) -> Drafter:
    """The drafter that the settings name; `model` is what `pick_model` gave, or drafts by it."""
    lookup = NgramDrafter(tokenizer.end_ids)
    if model is None:
        return lookup
    return model if settings.drafter is DrafterKind.MODEL else Cascade(lookup, model, calibration, SOURCE)


def load_translation(pair: Pair, tokenizer: ChatTokenizer) -> Translation | None:
    """The way between the target's ids and the draft's, where these are others. Raises PairError."""
    if pair.draft is None or pair.draft.tokenizer is None:
        return None
    own = read_tokenizer(pair.verify(pair.draft.tokenizer))
    sides = ByteVocabulary(tokenizer.tokenizer, str(pair.tokenizer)), ByteVocabulary(own, str(pair.draft.tokenizer))
    return Translation(*sides, pair.draft.words)


def load_drafter(
    pair: Pair, threads: int, tokenizer: ChatTokenizer, translation: Translation | None = None
) -> OnnxDrafter:
    """The pair's draft, which drafts in its own ids. Raises PairError when it has none, or its file is not a draft graph.

    `translation` is that of `load_translation`; who calls without it can't do with a draft that needs one, which is an error too.
    """
    if pair.draft is None:
        raise PairError(
            f"the pair {pair.name!r} has no draft model; use --drafter ngram or --mode stream, or make one by sled-hub pair create"
        )
    path = pair.verify(pair.draft.model)
    if translation is not None:
        ends = translation.ends(tokenizer.end_ids)
        return OnnxDrafter(path, threads=threads, vocab_size=translation.draft.size, end_ids=ends)
    if pair.draft.tokenizer is not None:
        raise PairError(
            f"the draft of {pair.name!r} has a tokenizer of its own; take a pair whose draft has the target's"
        )
    return OnnxDrafter(path, threads=threads, vocab_size=tokenizer.vocab_size, end_ids=tokenizer.end_ids)
