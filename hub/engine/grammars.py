"""The grammars that drafts bring: compiled on a thread of their own, as one of a hostile node takes long, and known by their hashes."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from hub.sessions.session import HubSession
from shared.errors import GrammarError
from shared.grammar import Grammar
from shared.guide import CompiledGrammar, GuideMaker
from shared.messages import MAX_DETAIL, Draft, Fault, FaultCode

_KNOWN = 32  # grammars that are kept besides those of open sessions
_MOST_WAITING = 32  # grammars that wait to be compiled
_MOST_OF_NODE = 2  # of one node
_BUSY_RETRY_MS = 500  # milliseconds after which a node may ask again to have one compiled


class Grammars:
    """For the engine's thread."""

    def __init__(self, maker: GuideMaker | None) -> None:
        """Without a maker every grammar is refused."""
        self._maker = maker
        self._known: OrderedDict[int, CompiledGrammar | GrammarError] = OrderedDict()
        self._waiting: dict[int, Future[CompiledGrammar]] = {}
        self._of_node: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammars")

    def find(self, session: HubSession, draft: Draft, again: Callable[[], None]) -> CompiledGrammar | Fault | None:
        """The grammar that a draft's sampling names, or why there is none.

        None where it is being compiled: `again` is called, on another thread, when that is done.
        """
        assert draft.sampling is not None
        digest = draft.sampling.grammar
        if self._maker is None:
            return _refused(draft, "this hub can't keep answers to a grammar")
        if session.grammar is not None and session.grammar.digest == digest:
            return session.grammar
        self._note_compiled(digest)
        known = self._known.get(digest)
        if isinstance(known, CompiledGrammar):
            self._known.move_to_end(digest)
            return known
        if known is not None:
            return _refused(draft, str(known))
        if not draft.grammar and digest not in self._waiting:
            return Fault(FaultCode.UNKNOWN_SESSION, "the hub does not hold the answer's grammar", round=draft.round)
        return self._compile(session.key.node, draft, digest, self._maker, again)

    def forget(self, grammar: CompiledGrammar) -> None:
        """It could not be followed: what it has come to know on the way is too much, and it is to be compiled anew."""
        self._known.pop(grammar.digest, None)

    def _compile(
        self, node: str, draft: Draft, digest: int, maker: GuideMaker, again: Callable[[], None]
    ) -> Fault | None:
        waiting = self._waiting.get(digest)
        if waiting is None:
            if len(self._waiting) >= _MOST_WAITING or self._of_node[node] >= _MOST_OF_NODE:
                detail = "too many grammars wait to be compiled"
                return Fault(FaultCode.BUSY, detail, _BUSY_RETRY_MS, round=draft.round)
            waiting = self._thread.submit(_compiled, maker, draft.grammar, digest)
            self._waiting[digest] = waiting
            self._of_node[node] += 1
            waiting.add_done_callback(lambda _: self._of_node.subtract((node,)))
        waiting.add_done_callback(lambda _: again())
        return None

    def _note_compiled(self, digest: int) -> None:
        waiting = self._waiting.get(digest)
        if waiting is None or not waiting.done():
            return
        del self._waiting[digest]
        error = waiting.exception()
        if error is None:
            self._known[digest] = waiting.result()
        else:
            self._known[digest] = error if isinstance(error, GrammarError) else GrammarError(f"it failed: {error!r}")
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)


def _compiled(maker: GuideMaker, packed: bytes, digest: int) -> CompiledGrammar:
    grammar = Grammar.unpacked(packed)
    if grammar.digest != digest:
        raise GrammarError("the grammar's text is not the one that its hash names")
    return maker.compile(grammar)


def _refused(draft: Draft, detail: str) -> Fault:
    return Fault(FaultCode.BAD_REQUEST, detail[:MAX_DETAIL], round=draft.round)
