"""An answer in progress: its credit, the timing of its rounds, and what its rounds did."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge_node.link.channel import Channel
from edge_node.rounds.credit import Credit
from edge_node.rounds.pace import Pace
from edge_node.rounds.patience import Patience
from edge_node.rounds.progress import Source
from edge_node.rounds.round_stats import RoundStats
from edge_node.rounds.timing import RoundTimes, Timing
from edge_node.settings import NodeSettings
from shared.errors import HubSilent
from shared.grammar import Grammar
from shared.messages import Draft, Verdict
from shared.sampling_parameters import Sampling

log = logging.getLogger(__name__)

_REOPENINGS = 8  # new sessions in a row that bring no token


class AnswerInProgress:
    """What belongs to one answer, from its first draft on, also over several sessions."""

    def __init__(
        self,
        settings: NodeSettings,
        pace: Pace,
        times: RoundTimes,
        sampling: Sampling,
        limit: int,
        stats: RoundStats,
        clock: Callable[[], float] = time.monotonic,
        grammar: Grammar | None = None,
        *,
        must_keep: bool = False,
        wants_surprisal: bool = False,
    ) -> None:
        """`limit` is the length of the whole text at which the answer ends at the latest; `grammar` is the one that `sampling` names."""
        self.sampling = sampling
        self.grammar = grammar
        self.wants_surprisal = wants_surprisal  # of its ids, from a hub that can say
        self.must_keep = must_keep  # whether the answer is of no use without its grammar
        self.stats = stats
        self.credit = Credit(settings, pace, times, limit)
        self.timing = Timing(times, clock)
        self._clock = clock
        self.patience = Patience(times, settings.hub_timeout_s, clock)
        self.had_trouble = False  # whether broker or hub could not be reached when that was looked at last
        self.reopened_in_vain = 0  # sessions since something was committed
        self.provisional: tuple[int, ...] = ()  # drafted without a hub behind what is committed
        self.ended = False  # whether it ends there, as far as this device can tell
        self.joined = False  # whether the answer has come to drafted blocks
        self._bits = ""  # what the bits of what is committed depend on; nothing while no hub has said
        self._began_at = clock()
        self._draft: Draft | None = None  # the last one that was sent
        self._bytes_up = 0  # of the round under way, repetitions included
        self._bytes_down = 0  # the link's count when the round was sent

    def served_in(self, channel: Channel) -> None:
        """The answer begins, or goes on, in that session. Where it goes on by other bits than it began the user is to know.

        Nothing is said while nothing is committed: the whole answer is then that hub's own, whoever wrote the turns before.
        """
        bits = channel.opened.bits
        if not self.stats.tokens:
            self._bits = bits
        elif self._bits and bits and bits != self._bits:
            notice = (
                f"the answer went on at hub {channel.hub!r}, which computes a little differently from where it began: at a near "
                "tie it may say something else"
            )
            if notice not in self.stats.notices:
                log.warning("%s (%s; before: %s)", notice, bits, self._bits)
                self.stats.notices.append(notice)
        self._bits = self._bits or bits

    def do_without_grammar(self) -> None:
        """Its hub knows nothing of grammars."""
        if self.stats.tokens:
            self.stats.notices.append("the answer went on at a hub that can't keep it to the pair's calls")
        self.grammar = None
        self.sampling = replace(self.sampling, grammar=0, grammar_from=0)

    def reopening(self, reason: str) -> None:
        """A new session is asked for. Raises HubSilent when too many have brought nothing."""
        if self.reopened_in_vain == _REOPENINGS:
            raise HubSilent(f"{reason}; {_REOPENINGS} new sessions did not help")
        self.reopened_in_vain += 1
        self.stats.reopened += 1

    def sending(self, draft: Draft, held: int, bytes_down: int) -> None:
        """A draft is about to be sent. `held` is the session's length, `bytes_down` what the link has received so far.

        A repetition counts as a draft that was sent, but its tokens were drafted once, and its round began when it was sent first.
        """
        self.stats.rounds += 1
        if draft is self._draft:
            return
        extends = self.credit.give(draft, held)
        self.timing.start_round(answered_next=not extends)  # what is under way already answers an extension
        self.stats.drafted += len(draft.tokens)
        self._draft, self._bytes_up, self._bytes_down = draft, 0, bytes_down

    def sent(self, size: int) -> None:
        """The draft has left in a payload of that many bytes."""
        self._bytes_up += size

    def committed(self, count: int) -> None:
        """So many tokens were committed."""
        self.stats.tokens += count
        self.stats.elapsed_s = self._clock() - self._began_at
        if count and not self.stats.first_token_s:
            self.stats.first_token_s = self.stats.elapsed_s

    def note(
        self, answered: Draft | None, verdict: Verdict, sources: Sequence[Source], at: float, bytes_down: int
    ) -> None:
        """A verdict came at that time and committed tokens from these sources; `answered` is the draft that it answers first, if any."""
        self.stats.step(0 if answered is None else len(answered.tokens), sources)
        if answered is not None and answered.tokens:
            self.stats.note(answered, verdict, at - self.timing.sent_at, self._bytes_up, bytes_down - self._bytes_down)
        else:
            self.stats.streamed += len(sources)
