"""A node put together: pair, broker, drafter and conversation, as the commands use them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.doubts import doubts_of
from edge_node.dialogue.guidance import Guidance
from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.drafting.calibration import Calibration, kept_in
from edge_node.drafting.drafter import Drafter
from edge_node.drafting.drift import Drift
from edge_node.drafting.guided_drafter import GuidedDrafter
from edge_node.drafting.prefix_drafter import PrefixDrafter
from edge_node.drafting.prefix_files import files_of
from edge_node.drafting.traced_drafter import TracedDrafter
from edge_node.drafts import Loaded, go_back, load, pick_drafter, store_of, tried
from edge_node.link.hub_link import HubLink
from edge_node.link.node_link import NodeLink
from edge_node.rounds.round_loop import RoundLoop
from edge_node.rounds.trace import RoundTrace
from edge_node.settings import HubLoss, Mode, NodeSettings
from shared.energy.meter import Meter
from shared.errors import SledError
from shared.messages import Opened
from shared.pair import Pair
from shared.program import sentence
from shared.streams import note
from shared.topics import check_name
from shared.trace_file import TraceFile


class Node:
    """A node on the broker, whose conversations share its connection and its draft model."""

    def __init__(self, settings: NodeSettings) -> None:
        """Load the pair. Raises SledError when that can't be done, or the trace can't be written that the settings name."""
        self.settings = settings
        name = check_name(settings.name, "node name")
        self._trace = None if settings.trace is None else TraceFile(settings.trace, "node", name)
        self._drafts_alone = settings.on_hub_loss is HubLoss.DRAFT
        self._speculates = settings.mode is not Mode.STREAM or self._drafts_alone
        self.store = store_of(settings)
        self._loaded = self._load()
        self.pair = self._loaded.pair
        self._guidance = Guidance(self.pair, self._loaded.tokenizer, own=settings.guided)
        # Ahead of the first answer. No daemon: a program that ends while it compiles would crash.
        threading.Thread(target=self._guidance.of, args=(None,), name="grammar").start()
        self._meter = Meter(settings.watts)
        self.link = NodeLink(settings.broker, settings.name, self.pair)
        self._members: list[_Member] = []

    @property
    def drafts(self) -> bool:
        """Whether its conversations have a drafter, without which they can only stream."""
        return self._speculates

    @property
    def drift(self) -> Drift | None:
        """How the draft model that is used now fares."""
        return self._loaded.drift

    def connect(self) -> None:
        """Connect to the broker, or, where the device may go on alone, as soon as there is one. Raises LinkError."""
        self.link.connect(at_once=not self._drafts_alone)

    def conversation(self, system: str | None = None) -> Conversation:
        """One more conversation, its session still to be opened by `begin` or the first request."""
        settings, loaded, model = self.settings, self._loaded, self._loaded.model
        calibration = Calibration.load(kept_in(loaded.kept))
        if model is not None and self._members:
            model = model.another()
        prefixes = PrefixDrafter(model.graph, files_of(loaded.pair, model.graph)) if model is not None else None
        guided = None
        speaker: Drafter | None = None
        if model is not None and prefixes is not None:
            if model.translation is None:
                speaker = guided = GuidedDrafter(prefixes, loaded.tokenizer.end_ids)
            else:
                speaker = model.speaker(prefixes)
        trace = None if self._trace is None else RoundTrace(self._trace)
        drafter: Drafter | None = None
        if self._speculates:
            drafter = pick_drafter(settings, loaded.tokenizer, speaker, calibration, lambda: loop.gate.leaves_out_model)
            if trace is not None:
                drafter = TracedDrafter(drafter, trace.drafted)
        presumed = None
        if self._drafts_alone and drafter is not None:
            presumed = _presumed(settings, loaded.pair, loaded.tokenizer, drafter.context)
        link = HubLink(self.link)
        loop = RoundLoop(
            link, settings, drafter, calibration, presumed=presumed, drift=loaded.drift, meter=self._meter, trace=trace
        )
        doubts = doubts_of(loaded.pair, loaded.tokenizer) if settings.asks_back else None
        conversation = Conversation(loaded.tokenizer, loop, system, self._guidance, guided, doubts)
        self._members.append(
            _Member(conversation, link, loaded, calibration if drafter is not None else None, prefixes)
        )
        return conversation

    def renew(self) -> bool:
        """Use what is in the store now, from the next answer of each conversation on; whether that is so. For any thread.

        Another tokenizer is no matter of the draft alone: it is used when the program is started again.
        """
        loaded = self._load()
        if loaded.pair.tokenizer_hash() != self.pair.tokenizer_hash():
            return False
        self._loaded = loaded
        return True

    def renewed(self, conversation: Conversation) -> Conversation:
        """The conversation, or one in its place where it is not by the draft that is used now. To be called between answers."""
        member = self._member(conversation)
        if member.loaded is self._loaded:
            return conversation
        fresh = self.conversation()
        conversation.clear()
        member.link.close()
        self._members.remove(member)
        member.save()
        return fresh

    def answered(self, conversation: Conversation) -> None:
        """A conversation has answered: the draft that it has is good, and the one before is not needed any more."""
        if self.store is not None and self._is_on_trial(conversation):
            self.store.prove()

    def failed(self, conversation: Conversation, error: Exception) -> None:
        """A conversation broke off by a mistake: where its draft has not answered yet, the one before is used again."""
        if self.store is None or not self._is_on_trial(conversation):
            return
        try:
            go_back(self.store, error)
            self.renew()
        except SledError as trouble:
            note(sentence(str(trouble)))

    def close(self) -> None:
        """Leave the sessions and the broker, and keep what was learned."""
        for member in self._members:
            if any(turn.role == "assistant" for turn in member.conversation.said):
                self.answered(member.conversation)
            member.conversation.clear()
        self.link.close()
        if self._trace is not None:
            self._trace.close()
        for member in reversed(self._members):  # the first has the most to do, and is written last
            member.save()
            if member.prefixes is not None and member.loaded.model is not None:
                member.prefixes.keep(member.loaded.model.own_ids(member.conversation.beginning))

    def _load(self) -> Loaded:
        """The pair; where a version that has not answered yet can't be used, the one before. Raises SledError."""
        store = self.store
        if store is None or store.is_proven:
            return load(self.settings, speculates=self._speculates)
        try:
            return tried(load(self.settings, speculates=self._speculates))
        except ModuleNotFoundError:
            raise  # of a package that is not installed, whatever the version
        except Exception as error:
            go_back(store, error)
            return load(self.settings, speculates=self._speculates)

    def _is_on_trial(self, conversation: Conversation) -> bool:
        is_new = self.store is not None and not self.store.is_proven
        return is_new and self._member(conversation).loaded.pair.folder == self.pair_in_use

    @property
    def pair_in_use(self) -> Path | None:
        """The folder of the version that the store has in use."""
        return None if self.store is None or self.store.current is None else self.store.current.resolve()

    def _member(self, conversation: Conversation) -> _Member:
        return next(member for member in list(self._members) if member.conversation is conversation)


class _Member(NamedTuple):
    conversation: Conversation
    link: HubLink
    loaded: Loaded
    calibration: Calibration | None
    prefixes: PrefixDrafter | None

    def save(self) -> None:
        """Keep what was learnt of its drafter."""
        if self.calibration is not None:
            self.calibration.save(kept_in(self.loaded.kept))
        if self.loaded.drift is not None:
            self.loaded.drift.save()


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
