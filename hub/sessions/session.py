"""A session on the hub: its committed ids, the round in progress, and the rule for drafts that arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from hub.sessions.acceptance import Acceptance
from hub.sessions.held_kv import HeldKV
from hub.sessions.service_classes import ServiceClass
from shared.errors import GrammarError
from shared.guide import CompiledGrammar, Guide, Masks, nothing
from shared.messages import MAX_DETAIL, Draft, Fault, FaultCode, Finish, Verdict
from shared.sampling_parameters import Sampling
from shared.transcript import Transcript


class DraftRuling(Enum):
    """What the hub does with a draft."""

    DROP = "a round below the current one: late or duplicated"
    REPEAT = "the current round again: repeat what was answered"
    PROCEED = "base is the committed length: go on"
    TRUNCATE = "base is below the committed length and the rest is void: truncate, then go on"
    CATCH_UP = "base is below the committed length: the node missed a verdict, send the ids it lacks"
    OUT_OF_SYNC = "the two sides hold different ids"


def rule(draft: Draft, current_round: int, committed: int, digest: Callable[[int], int]) -> DraftRuling:
    """The table of docs/protocol.md, from top to bottom; `digest(n)` is the hub's digest of ids [0, n)."""
    if draft.round < current_round:
        return DraftRuling.DROP
    if draft.round == current_round:
        return DraftRuling.REPEAT
    if draft.base > committed or digest(draft.base) != draft.digest:
        return DraftRuling.OUT_OF_SYNC
    if draft.base == committed:
        return DraftRuling.PROCEED
    if draft.cut:
        return DraftRuling.TRUNCATE
    return DraftRuling.OUT_OF_SYNC if draft.append else DraftRuling.CATCH_UP


@dataclass(frozen=True)
class Limits:
    """What the target allows a session."""

    context: int  # ids that a session can hold
    vocab_size: int  # ids at or past it do not exist
    end_ids: frozenset[int]  # ids that end a turn
    max_draft: int  # drafted tokens that are verified in one round


def too_long(number: int, length: int, limits: Limits) -> Fault:
    """The answer to the draft of round `number` that would make a text of at least `length` ids."""
    return Fault(FaultCode.TOO_LONG, f"{length} ids do not fit the context of {limits.context}", round=number)


@dataclass(frozen=True)
class SessionKey:
    """A session is known by its node and its id: an id alone says nothing about who may use it."""

    node: str
    id: bytes


class HubSession:
    """One conversation. Between rounds `committed` ids are final; the engine reads `drafted` and `until` as its work.

    `kv` is what the hub has computed of the text; `computed` never passes `committed`.
    """

    def __init__(
        self,
        key: SessionKey,
        limits: Limits,
        of_all: Acceptance | None = None,
        service_class: ServiceClass = ServiceClass.NORMAL,
    ) -> None:
        """`of_all` is the acceptance of the hub's sessions together."""
        self.key = key
        self.service_class = service_class
        self.limits = limits
        self.transcript = Transcript()
        self.kv = HeldKV()
        self.acceptance = Acceptance(of_all)
        self.begun = 0  # number of the draft that asked for the current answer: the lower, the older the answer
        self.round = 0
        self.drafted: tuple[int, ...] = ()  # tokens of the round that wait for verification
        self.until = 0  # length up to which the target may decode
        self.sampling = Sampling()
        self.guide: Guide | None = None  # of the answer, where `sampling` names a grammar
        self.misguided = ""  # why its grammar could not be followed
        self.tells_surprisal = False  # of the answer's ids
        self.finish = Finish.NO
        self._surprisal: list[int] = []  # of the ids from `_surprisal_from` on
        self._surprisal_from = 0
        self._answer_base = 0  # length at which the current round's answer begins
        self._to_feed = False  # whether ids were appended since the last forward that reached the end of the text

    @property
    def precedence(self) -> tuple[int, int]:
        """Whoever has the lower one goes first: a higher class before an older answer."""
        return self.service_class, self.begun

    @property
    def committed(self) -> int:
        """The number of committed ids."""
        return len(self.transcript)

    @property
    def computed(self) -> int:
        """K/V of ids [0, computed) are valid."""
        return self.kv.computed

    @property
    def wants_tokens(self) -> bool:
        """Whether the target has to decode or verify for this session."""
        return self.finish is Finish.NO and self.committed < min(self.until, self.limits.context)

    @property
    def has_work(self) -> bool:
        """Whether the next forward should have a row for this session: tokens to decide, or a prompt to feed."""
        return self.wants_tokens or (self._to_feed and self.unfed > 1)

    @property
    def rests(self) -> bool:
        """Whether nobody waits for the session: nothing was asked of it yet, or its answer has ended."""
        return not self.has_work and (self.round == 0 or self.finish is not Finish.NO)

    @property
    def unfed(self) -> int:
        """Ids whose K/V is to be computed, the last committed one among them."""
        return self.committed - self.computed

    def receive(self, draft: Draft, number: int = 0, grammar: CompiledGrammar | None = None) -> Verdict | Fault | None:
        """Take in a draft. What is returned is to be published at once; work shows in `has_work`.

        `number` is the draft's own among all drafts of the hub, later ones having higher numbers; `grammar` is the one
        that its sampling names.
        """
        ruling = rule(draft, self.round, self.committed, self.transcript.digest)
        if ruling is DraftRuling.DROP:
            return None
        if ruling is DraftRuling.REPEAT:
            answered = self.committed > self._answer_base or not self.wants_tokens
            return self._since(self._answer_base) if answered else None
        if ruling is DraftRuling.OUT_OF_SYNC:
            detail = f"the hub holds {self.committed} ids, which do not go with base {draft.base}; re-open the session"
            return Fault(FaultCode.OUT_OF_SYNC, detail, round=draft.round)
        refusal = self._refusal(draft)
        if refusal is not None:
            return refusal
        if draft.sampling is not None:
            try:
                guide = self._guide_of(draft, draft.sampling, grammar)
            except GrammarError as error:
                return Fault(FaultCode.BAD_REQUEST, str(error)[:MAX_DETAIL], round=draft.round)
            self.guide = guide
        self.round = draft.round
        self.until = draft.until
        self.drafted = ()
        if ruling is DraftRuling.CATCH_UP:
            self._answer_base = draft.base
        else:
            self._go_on(draft, number)
        if self.wants_tokens:
            # The last id is fed for its logits, also where its K/V is there already.
            self.kv.void(self.committed - 1)
        answers_at_once = ruling is DraftRuling.CATCH_UP or not self.wants_tokens
        return self._since(self._answer_base) if answers_at_once else None

    def _go_on(self, draft: Draft, number: int) -> None:
        """Take over what the draft cuts, appends and proposes."""
        self._truncate(draft.base)
        self.transcript.extend(draft.append)
        if draft.append:
            self.begun = number
            self._to_feed = True
        self._answer_base = self.committed
        if draft.cut or draft.append:
            self.finish = Finish.NO
        if draft.sampling is not None:
            self.sampling, self.tells_surprisal = draft.sampling, draft.wants_surprisal
            self._surprisal, self._surprisal_from = [], self.committed
        if self.committed == self.limits.context:
            self.finish = Finish.LENGTH
        elif draft.tokens:
            # Room for the target's own token behind the drafted ones; a verified block earns it without credit.
            self.drafted = draft.tokens[: min(self.limits.max_draft, self.limits.context - self.committed - 1)]
            self.until = max(self.until, self.committed + 1)

    def _guide_of(self, draft: Draft, sampling: Sampling, grammar: CompiledGrammar | None) -> Guide | None:
        """A guide for the answer that the draft begins or resumes. Raises GrammarError where its text does not keep to the grammar."""
        if grammar is None:
            return None
        guide, begins = grammar.guide(), sampling.grammar_from
        held = self.transcript.ids[begins : draft.base]
        guide.follow((*held, *draft.append[max(0, begins - draft.base) :]))
        return guide

    def masks(self, drafted: Sequence[int]) -> Masks | None:
        """What may come behind the committed ids, and behind each of `drafted`; None where any id may.

        Nothing may where the grammar can't be followed: `misguided` says why, then.
        """
        if self.guide is None:
            return None
        try:
            return self.guide.masks(self.transcript.ids[self.sampling.grammar_from :], drafted)
        except GrammarError as error:
            self.misguided = str(error)
            self.guide.renew()
            return nothing(len(drafted) + 1, self.guide.grammar.words)

    def drop_draft(self) -> None:
        """Go on without the drafted tokens, of which the target can say nothing; its own are still wanted."""
        self.drafted = ()

    def fed(self, end: int) -> None:
        """K/V of committed ids up to `end` are computed."""
        self.kv.reach(end)
        self._to_feed = self._to_feed and self.unfed > 1

    def judged(self, drawn: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """How many drafted tokens are accepted, and the target's own token behind them, none where one of them ends the turn.

        `drawn` has an id for each drafted position that was looked at, given the drafted ones before, and one for the
        next. Drafted tokens are accepted exactly while they equal it.
        """
        for accepted, (drafted, token) in enumerate(zip(self.drafted, drawn[:-1], strict=False)):
            if drafted != token:
                return accepted, (token,)
            if token in self.limits.end_ids:
                return accepted + 1, ()
        return len(drawn) - 1, (drawn[-1],)

    def commit(self, drawn: Sequence[int], surprisal: Sequence[int] = ()) -> Verdict:
        """Commit what the target drew, in the form that `judged` takes, with the surprisal of each token where the node wants it."""
        base, drafted = self.committed, self.drafted[: len(drawn) - 1]
        accepted, own = self.judged(drawn)
        self.acceptance.add(accepted, rejected=accepted < len(drafted) and bool(own))
        self.transcript.extend((*drafted[:accepted], *own))
        self._surprisal += surprisal[: self.committed - base]
        self.fed(base + accepted)
        self.drafted = ()
        if not own or own[-1] in self.limits.end_ids:
            self.finish = Finish.END
        elif self.committed == self.limits.context:
            self.finish = Finish.LENGTH
        if self.finish is not Finish.NO:
            self.guide = None
        return Verdict(self.round, base, accepted, own, self.finish, surprisal=self._surprisal_since(base))

    def _truncate(self, length: int) -> None:
        self.transcript.truncate(length)
        del self._surprisal[max(0, length - self._surprisal_from) :]
        self.kv.truncate(length)

    def _refusal(self, draft: Draft) -> Fault | None:
        length = draft.base + len(draft.append)
        if length > self.limits.context:
            return too_long(draft.round, length, self.limits)
        if any(token >= self.limits.vocab_size for token in (*draft.append, *draft.tokens)):
            detail = f"the target knows ids below {self.limits.vocab_size} only"
            return Fault(FaultCode.BAD_REQUEST, detail, round=draft.round)
        if length == 0 and (draft.tokens or draft.until):
            return Fault(FaultCode.BAD_REQUEST, "append at least one id before asking for tokens", round=draft.round)
        return None

    def _since(self, base: int) -> Verdict:
        ids = tuple(self.transcript.ids[base:])
        return Verdict(self.round, base, 0, ids, self.finish, surprisal=self._surprisal_since(base))

    def _surprisal_since(self, base: int) -> tuple[int, ...]:
        """Of each id from there on, or nothing where it is not known of all of them."""
        known = self.tells_surprisal and base >= self._surprisal_from
        told = tuple(self._surprisal[base - self._surprisal_from :]) if known else ()
        return told if len(told) == self.committed - base else ()
