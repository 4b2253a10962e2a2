"""A session on the node: its committed ids, the round that is under way, and the rule for verdicts that arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from edge_node.rounds.progress import Source, sources_of
from shared.grammar import Grammar
from shared.messages import Draft, Finish, Verdict
from shared.sampling_parameters import Sampling
from shared.transcript import Transcript


class VerdictRuling(Enum):
    """What the node does with a verdict."""

    DROP = "it is stale, or brings nothing new"
    GAP = "it begins past the node's own length: ask again from there"
    COMMIT = "it goes on from what the node holds"


def rule(verdict: Verdict, *, floor: int, current_round: int, held: int, end: int, awaited: bool) -> VerdictRuling:
    """The node's table of docs/protocol.md.

    Rounds below `floor` were voided by a cut or an append; `end` is the length that the verdict would lead to, and
    `awaited` says that the current round has had no answer yet (an answer may bring nothing but a finish).
    """
    if not floor <= verdict.round <= current_round:
        return VerdictRuling.DROP
    if verdict.base > held:
        return VerdictRuling.GAP
    if end > held or (end == held and awaited and verdict.round == current_round):
        return VerdictRuling.COMMIT
    return VerdictRuling.DROP


@dataclass(frozen=True)
class Receipt:
    """What became of a verdict: the ruling, the ids that it committed, and where each of them is from."""

    ruling: VerdictRuling
    committed: tuple[int, ...] = ()
    sources: tuple[Source, ...] = ()
    surprisal: tuple[int | None, ...] = ()  # of each id, in thousandths of a nat; None where the hub has not said


class NodeSession:
    """One conversation. `transcript` holds what is committed, prompts included from the moment they are sent."""

    def __init__(self) -> None:
        self.transcript = Transcript()
        self.finish = Finish.NO
        self.outstanding: Draft | None = None  # the last draft, while it has had no answer
        self._sent_grammar = 0  # that the hub was told of last
        self._held_grammar = 0  # that the hub holds for certain
        self._round = 0
        self._floor = 1
        self._drafted: tuple[int, ...] = ()
        self._drafted_base = 0

    def __len__(self) -> int:
        return len(self.transcript)

    @property
    def round(self) -> int:
        """The last round that was sent."""
        return self._round

    @property
    def ids(self) -> Sequence[int]:
        """The committed ids; not to be changed by the caller."""
        return self.transcript.ids

    def compose(
        self,
        *,
        keep: int | None = None,
        append: Sequence[int] = (),
        tokens: Sequence[int] = (),
        until: int = 0,
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
        wants_surprisal: bool = False,
    ) -> Draft:
        """The next draft. `keep` cuts both sides to that length first; `append` and `tokens` follow.

        `grammar` is the one that `sampling` names; its text is sent until the hub has shown that it holds it.
        """
        if keep is not None:
            self.transcript.truncate(keep)
        self._round += 1
        base = len(self.transcript)
        draft = Draft(
            self._round,
            base,
            self.transcript.digest(base),
            tuple(tokens),
            until,
            tuple(append),
            keep is not None,
            sampling,
            b"" if grammar is None or grammar.digest == self._held_grammar else grammar.packed,
            wants_surprisal,
        )
        if grammar is not None:
            self._sent_grammar = grammar.digest
        if keep is not None or append:
            self._floor = self._round
            self.finish = Finish.NO
        self.transcript.extend(append)
        self._drafted, self._drafted_base = draft.tokens, len(self.transcript)
        self.outstanding = draft
        return draft

    def receive(self, verdict: Verdict) -> Receipt:
        """Apply a verdict."""
        if verdict.accepted:
            known = verdict.round == self._round and verdict.base == self._drafted_base
            if not known or verdict.accepted > len(self._drafted):
                return Receipt(VerdictRuling.DROP)
        new = (*self._drafted[: verdict.accepted], *verdict.ids)
        held = len(self.transcript)
        ruling = rule(
            verdict,
            floor=self._floor,
            current_round=self._round,
            held=held,
            end=verdict.base + len(new),
            awaited=self.outstanding is not None,
        )
        if ruling is not VerdictRuling.COMMIT:
            return Receipt(ruling)
        fresh = new[held - verdict.base :]
        self.transcript.extend(fresh)
        self.finish = verdict.finish
        self._held_grammar = self._sent_grammar
        is_current = verdict.round == self._round
        if is_current:
            self.outstanding = None
        drafted = self._drafted if is_current and verdict.base == self._drafted_base else ()
        told: tuple[int | None, ...] = verdict.surprisal if len(verdict.surprisal) == len(new) else (None,) * len(new)
        old = held - verdict.base
        return Receipt(ruling, fresh, sources_of(new, drafted)[old:], told[old:])
