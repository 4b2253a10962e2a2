"""The grammars that drafts bring: compiled on a thread of their own, as one of a hostile node takes long, and known by their hashes."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from hub.sessions.session import SessionKey
from shared.errors import GrammarError, GrammarUntried
from shared.grammar import Grammar
from shared.guide import CompiledGrammar, GuideMaker
from shared.messages import MAX_DETAIL, Draft, Fault, FaultCode

_KNOWN = 32  # grammars that are kept
_MOST_WAITING = 32  # grammars that wait to be compiled
_MOST_OF_NODE = 2  # of one node
_MOST_PARKED = 16  # drafts of one node that wait for grammars
_BUSY_RETRY_MS = 500  # milliseconds after which a node may ask again to have one compiled


@dataclass(frozen=True)
class Parked:
    """A draft that waited for its grammar, and what came of that."""

    key: SessionKey
    draft: Draft
    at: float  # when it came
    found: CompiledGrammar | Fault


class Grammars:
    """For the engine's thread. A session's newest draft waits for its grammar; whatever comes of the session meanwhile drops it."""

    def __init__(self, maker: GuideMaker | None, wake: Callable[[], None]) -> None:
        """Without a maker every grammar is refused. `wake` is called, on another thread, when one has been compiled."""
        self._maker = maker
        self._wake = wake
        self._known: OrderedDict[int, CompiledGrammar | GrammarError] = OrderedDict()
        self._compiling: dict[int, tuple[str, Future[CompiledGrammar]]] = {}  # the node that asked for it first
        self._parked: dict[SessionKey, tuple[Draft, float]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammars")

    def find(self, key: SessionKey, draft: Draft, at: float) -> CompiledGrammar | Fault | None:
        """The grammar that a draft's sampling names, or why there is none. None where it is being compiled: the draft comes out of `compiled` then."""
        assert draft.sampling is not None
        digest = draft.sampling.grammar
        if self._maker is None:
            return _refused(draft, "this hub can't keep answers to a grammar")
        known = self._known.get(digest)
        if known is not None:
            self._known.move_to_end(digest)
            return known if isinstance(known, CompiledGrammar) else _refused(draft, str(known))
        if Counter(parked.node for parked in self._parked)[key.node] >= _MOST_PARKED:
            return _busy(draft)
        if digest not in self._compiling:
            refusal = self._compile(key.node, draft, digest, self._maker)
            if refusal is not None:
                return refusal
        self._parked[key] = draft, at
        return None

    def drop(self, key: SessionKey) -> None:
        """The draft of that session that waits, if there is one, is void."""
        self._parked.pop(key, None)

    def compiled(self) -> list[Parked]:
        """The drafts that have waited long enough."""
        done = {digest: future for digest, (_, future) in self._compiling.items() if future.done()}
        outcomes = {digest: self._outcome(digest, future) for digest, future in done.items()}
        ready = []
        for key, (draft, at) in list(self._parked.items()):
            assert draft.sampling is not None
            outcome = outcomes.get(draft.sampling.grammar)
            if outcome is not None:
                del self._parked[key]
                found = outcome if isinstance(outcome, CompiledGrammar) else _refused(draft, str(outcome))
                ready.append(Parked(key, draft, at, found))
        return ready

    def forget(self, grammar: CompiledGrammar) -> None:
        """It could not be followed: what it has come to know on the way is too much, and it is to be compiled anew."""
        self._known.pop(grammar.digest, None)

    def close(self) -> None:
        """Compile nothing more, and wait for what is being compiled."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _compile(self, node: str, draft: Draft, digest: int, maker: GuideMaker) -> Fault | None:
        """Have the grammar compiled that came with the draft, or say why not. What one node sends says nothing of what another means by the same hash."""
        if not draft.grammar:
            return Fault(FaultCode.UNKNOWN_SESSION, "the hub does not hold the answer's grammar", round=draft.round)
        if len(self._compiling) >= _MOST_WAITING or self._asked_by(node) >= _MOST_OF_NODE:
            return _busy(draft)
        try:
            grammar = Grammar.unpacked(draft.grammar)
        except GrammarError as error:
            return _refused(draft, str(error))
        if grammar.digest != digest:
            return _refused(draft, "the grammar's text is not the one that its hash names")
        future = self._thread.submit(maker.compile, grammar)
        self._compiling[digest] = node, future
        future.add_done_callback(lambda _: self._wake())
        return None

    def _asked_by(self, node: str) -> int:
        return sum(asker == node for asker, _ in self._compiling.values())

    def _outcome(self, digest: int, future: Future[CompiledGrammar]) -> CompiledGrammar | GrammarError:
        """What came of compiling; remembered where it says something of the text, and not of this machine's moment."""
        del self._compiling[digest]
        error = future.exception()
        if error is not None and (isinstance(error, GrammarUntried) or not isinstance(error, GrammarError)):
            return GrammarError(f"the grammar could not be compiled: {error}")
        outcome = future.result() if error is None else error
        assert isinstance(outcome, CompiledGrammar | GrammarError)
        self._known[digest] = outcome
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return outcome


def _busy(draft: Draft) -> Fault:
    return Fault(FaultCode.BUSY, "too many grammars wait to be compiled", _BUSY_RETRY_MS, round=draft.round)


def _refused(draft: Draft, detail: str) -> Fault:
    return Fault(FaultCode.BAD_REQUEST, detail[:MAX_DETAIL], round=draft.round)
