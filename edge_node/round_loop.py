"""The node's loop: draft, publish, await, commit."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence

from edge_node.calibration import Calibration
from edge_node.drafter import Drafter
from edge_node.gate import Gate
from edge_node.hub_link import Channel, HubLink, SeenHub
from edge_node.lookahead import Lookahead
from edge_node.pace import Pace
from edge_node.round_stats import RoundStats
from edge_node.session import NodeSession, Ruling
from edge_node.settings import Mode, NodeSettings, Policy
from shared.errors import HubRefused, HubSilent
from shared.messages import Draft, Early, Fault, FaultCode, Finish, Verdict
from shared.sampling import Sampling
from shared.transcript import common_length

log = logging.getLogger(__name__)

_ATTEMPTS = 4  # times that a round is sent before its hub counts as silent
_REOPENINGS = 4  # of one answer
_JOINING = 4  # tokens that the hub decodes alone while the drafter takes in the text, or where it has no idea
_TRYING = 16  # while neither drafting nor streaming has been timed
_TRIPS = 3  # round trips that the credit of a stream lasts for at least,
_MOST_CREDIT = 512  # up to so many tokens
_LEAST_REACHED = 0.05  # chance from which on a token that is drafted already goes along


class RoundLoop:
    """Runs answers over one hub session, re-opening it where the protocol says so."""

    def __init__(
        self, link: HubLink, settings: NodeSettings, drafter: Drafter | None, calibration: Calibration | None = None
    ) -> None:
        """`drafter` may be None when the mode is to stream; `calibration` says how its confidence is to be taken."""
        self.channel: Channel | None = None
        self.session = NodeSession()
        self.pace = Pace(settings.ahead)
        self._link = link
        self._settings = settings
        self._lookahead = Lookahead(drafter, calibration or Calibration(), self.pace) if drafter else None
        self.gate = Gate(self.pace, settings.mode)
        self._advised: int | None = None  # block length that the hub would like
        self._sampling = Sampling()
        self._limit = 0  # length at which the answer ends at the latest
        self._until = 0  # credit of the last draft
        self._sent_at = 0.0
        self._sent_bytes = 0
        self._bytes_down = 0  # the link's count when the round was sent
        self._last_at: float | None = None  # when the last verdict came, if nothing disturbed what came after
        self._timed = False  # whether the round that is under way went undisturbed
        self._joined = False  # whether the answer has come to drafted blocks

    @property
    def explained(self) -> str:
        """What the modes take, with the numbers that it follows from."""
        return self.pace.explained(self._longest)

    @property
    def hub_seen(self) -> SeenHub:
        """What the session's hub has published about itself."""
        assert self.channel is not None
        return self._link.seen(self.channel.hub)

    def open(self) -> Channel:
        """Open a session, if none is open. Raises SessionError or LinkError."""
        if self.channel is None:
            self.channel = self._link.open(self._settings.wait_s)
            self.session = NodeSession()
            self._advised = None
        return self.channel

    def reset(self) -> None:
        """Leave the session, so that the next answer begins a new one."""
        if self.channel is not None:
            self._link.leave(self.channel)
            self.channel = None
            self.session = NodeSession()

    def answer(
        self, prompt: Sequence[int], sampling: Sampling, max_tokens: int, stats: RoundStats
    ) -> Iterator[tuple[int, ...]]:
        """Yield the ids of the answer to `prompt` as they are committed, the end-of-turn id included.

        `prompt` is the whole chat; what the session already holds of it is not sent again. Closing the iterator
        early leaves the hub streaming: call `cancel` then.
        """
        channel = self.open()
        started = time.monotonic()
        self._sampling = sampling
        self._limit = min(len(prompt) + max_tokens, channel.opened.context)
        self._last_at, self._joined = None, False
        self._publish(self._begin(prompt), stats)
        if self._lookahead is not None:
            self._lookahead.begin(self.session.ids, sampling)
        while True:
            ids = self._await(stats)
            stats.tokens += len(ids)
            stats.elapsed_s = time.monotonic() - started
            if ids and not stats.first_token_s:
                stats.first_token_s = stats.elapsed_s
            yield ids
            if self.session.finish is not Finish.NO or len(self.session) >= self._limit:
                return
            draft = self._next(stats)
            if draft is not None:
                self._publish(draft, stats)

    def cancel(self) -> None:
        """Stop the hub from decoding on; what is committed stays."""
        if self.channel is not None:
            self._link.send(self.channel, self.session.compose(keep=len(self.session)))

    def _begin(self, prompt: Sequence[int]) -> Draft:
        """The draft that brings the hub from what it holds to `prompt`, and lets it stream."""
        held = self.session.ids
        shared = min(common_length(held, prompt), len(prompt) - 1)
        return self.session.compose(
            keep=shared if shared < len(held) else None,
            append=prompt[shared:],
            until=self._credit(len(prompt)) if self.gate.streams else len(prompt) + 1,
            sampling=self._sampling,
        )

    def _credit(self, length: int) -> int:
        """How far the hub may decode by itself: not far where drafted blocks are to follow."""
        ahead = self._settings.credit
        if not self.gate.streams:
            ahead = min(ahead, _JOINING)
        elif self._settings.mode is Mode.AUTO and not self.pace.known:
            ahead = min(ahead, _TRYING)
        elif self.pace.stream_s.count:
            # Half of it is left when it is renewed, and has to last for a round trip.
            ahead = min(max(ahead, int(_TRIPS * self.pace.trip_s.value / self.pace.stream_s.value)), _MOST_CREDIT)
        return min(length + ahead, self._limit)

    def _next(self, stats: RoundStats) -> Draft | None:
        """The next round, or None while the hub streams on credit that it has."""
        length = len(self.session)
        lookahead = self._lookahead
        advised = self._advised if self._settings.policy is Policy.AUTO else None
        if self.gate.choose(self._longest, advised) or lookahead is None or not lookahead.ready:
            credit = self._credit(length)
            renew = self._until < self._limit and self._until - length <= (credit - length) // 2
            return self.session.compose(until=credit) if renew else None
        if self._until > length:
            return None  # what the hub streams comes first
        self._joined = True
        tokens = self._block(stats)
        return self.session.compose(tokens=tokens, until=0 if tokens else self._credit(length))

    @property
    def _longest(self) -> int:
        """Tokens of the longest block that is of use, one at least."""
        longest = self._settings.draft_length
        if self.channel is not None:
            longest = min(longest, self.channel.opened.max_draft)
        return longest if self._advised is None else max(1, min(longest, self._advised))

    def _block(self, stats: RoundStats) -> tuple[int, ...]:
        """Drafted tokens to be verified: what is there already, and what more is worth its time."""
        assert self._lookahead is not None
        assert self.channel is not None
        room = self._limit - len(self.session) - 1  # the target's own token comes behind the drafted ones
        longest = self._longest if self._settings.policy is Policy.AUTO else self._settings.draft_length
        longest = min(longest, self.channel.opened.max_draft, room)
        started = time.monotonic()
        ready = len(self._lookahead.trunk)
        while (count := self._fitting(longest)) == len(self._lookahead.trunk) < longest and self._goes_on():
            if not self._lookahead.grow():
                break
        stats.drafting_s += time.monotonic() - started
        stats.ahead += min(ready, count)
        return self._lookahead.send(count)

    def _fitting(self, longest: int) -> int:
        """How many of the trunk's tokens go into a block."""
        assert self._lookahead is not None
        trunk = self._lookahead.trunk[: max(0, longest)]
        match self._settings.policy:
            case Policy.FIXED:
                return len(trunk)
            case Policy.THRESHOLD:
                unsure = (place for place, guess in enumerate(trunk) if guess.confidence < self._settings.threshold)
                return max(next(unsure, len(trunk)), min(1, len(trunk)))
            case Policy.AUTO:
                reached, count = 1.0, 0
                for chance in self._lookahead.chances[: len(trunk)]:
                    reached *= chance
                    if count and reached < _LEAST_REACHED:
                        break
                    count += 1
                return count

    def _goes_on(self) -> bool:
        """Whether to draft another token behind a trunk that goes into the block as a whole."""
        assert self._lookahead is not None
        if self._settings.policy is not Policy.AUTO or not self._lookahead.trunk:
            return True
        return self.pace.goes_on(self._lookahead.chances, self._longest)

    def _publish(self, draft: Draft, stats: RoundStats) -> None:
        assert self.channel is not None
        extends = draft.until > self._until > len(self.session) and not draft.append and not draft.cut
        self._until = draft.until
        self._sent_at = time.monotonic()
        self._timed = not extends  # what is under way already answers an extension
        self._bytes_down = self._link.bytes_down
        self._sent_bytes = self._link.send(self.channel, draft)
        stats.rounds += 1
        stats.drafted += len(draft.tokens)

    def _await(self, stats: RoundStats) -> tuple[int, ...]:
        """Wait for a verdict that commits something or ends the answer; ask again where the rules say so.

        Meanwhile the drafter takes in the text or drafts ahead, a piece of work between two looks at what has come.
        """
        assert self.channel is not None
        attempts = 1
        patience = time.monotonic() + self._settings.patience_s
        while True:
            works = self._work_ahead()
            arrival = self._link.receive(self.channel, 0.0 if works else max(0.0, patience - time.monotonic()))
            if arrival is None:
                if time.monotonic() >= patience:
                    attempts = self._ask_again(attempts, stats)
                    patience = time.monotonic() + self._settings.patience_s
                continue
            match arrival.message:
                case Verdict():
                    committed = self._commit(arrival.message, arrival.at, stats)
                    if committed is not None:
                        return committed
                case Early():
                    self._expect(arrival.message, stats)
                case Fault():
                    self._heed(arrival.message, stats)
                    patience = time.monotonic() + self._settings.patience_s

    def _work_ahead(self) -> bool:
        """A piece of drafting that costs no time, if there is any."""
        lookahead = self._lookahead
        if lookahead is None:
            return False
        outstanding = self.session.outstanding
        awaits_block = outstanding is not None and bool(outstanding.tokens)
        if awaits_block and not self._settings.ahead:
            return False
        if self.gate.streams and not awaits_block:
            return self.gate.spies and not lookahead.trunk and self._spy(lookahead)
        length = self.pace.best_length(self._longest) if self._settings.policy is Policy.AUTO else self._longest
        if awaits_block:
            return lookahead.work(length, self._sent_at + self.pace.wait_s - time.monotonic())
        streamed = max(0, self._until - len(self.session))
        return len(lookahead.trunk) < (streamed + length if self._settings.ahead else 1) and lookahead.grow()

    def _spy(self, lookahead: Lookahead) -> bool:
        """A piece of drafting beside a stream, only to see what it takes and how it fares."""
        grown = lookahead.grow()
        if lookahead.trunk or not grown:
            self.gate.spied()
        return grown

    def _commit(self, verdict: Verdict, at: float, stats: RoundStats) -> tuple[int, ...] | None:
        """The ids that a verdict commits, and what it tells about the pace; None if it commits nothing."""
        assert self.channel is not None
        sent = self.session.outstanding
        receipt = self.session.receive(verdict)
        if receipt.ruling is Ruling.GAP:
            self._last_at, self._timed = None, False
            self._link.send(self.channel, self._ask_from_here())
        if receipt.ruling is not Ruling.COMMIT:
            return None
        self._advised = self._advised if verdict.advised is None else verdict.advised
        count = len(receipt.committed)
        answered = sent if sent is not None and verdict.round == sent.round else None
        self._learn(verdict, answered, at, count)
        if answered is not None and answered.tokens:
            stats.note(
                answered, verdict, at - self._sent_at, self._sent_bytes, self._link.bytes_down - self._bytes_down
            )
        else:
            stats.streamed += count
        self._last_at = at
        if self._lookahead is not None:
            kept = self._lookahead.settle(self.session.ids, count)
            stats.foreseen += kept and answered is not None and len(answered.tokens) == count - 1
        return receipt.committed

    def _learn(self, verdict: Verdict, answered: Draft | None, at: float, count: int) -> None:
        """Note what a verdict that came at that time tells; `answered` is the draft that it is the first answer to, if it is one."""
        pace = self.pace
        hub_s = (verdict.forward_us + verdict.queued_us) / 1e6
        if answered is not None and self._timed:
            pace.trip_s.add(max(0.0, at - self._sent_at - hub_s))
            if answered.tokens:
                pace.block_s.add(at - self._sent_at)
        if verdict.forward_us and not (answered is not None and answered.append):
            pace.hub_s.add(hub_s)
            if answered is None or not answered.tokens:
                # As the hub says, for what arrives may have waited for credit.
                pace.stream_s.add(hub_s)
        if self._last_at is None or not count:
            return
        elapsed = at - self._last_at
        if self.gate.streams:
            self.gate.streamed(count)
        elif self._joined:
            self.gate.speculated(elapsed, count)

    def _expect(self, early: Early, stats: RoundStats) -> None:
        """Draft on from what an early verdict says; it commits nothing."""
        outstanding = self.session.outstanding
        if self._lookahead is None or outstanding is None or not self._settings.early:
            return
        if early.round != outstanding.round or early.base != len(self.session) or len(early.ids) != 1:
            return
        stats.early += 1
        self._lookahead.expect(early.accepted, early.ids[0])

    def _ask_again(self, attempts: int, stats: RoundStats) -> int:
        """No answer came: send the round once more, or look for a hub. The number of attempts made by then."""
        assert self.channel is not None
        self._last_at, self._timed = None, False
        if attempts == _ATTEMPTS or not self._link.seen(self.channel.hub).online:
            self._reopen(stats, f"hub {self.channel.hub!r} stopped answering")
            return 1
        outstanding = self.session.outstanding
        self._link.send(self.channel, self._ask_from_here() if outstanding is None else outstanding)
        return attempts + 1

    def _heed(self, fault: Fault, stats: RoundStats) -> None:
        """Do what a fault asks for. Raises HubRefused where re-opening will not help."""
        assert self.channel is not None
        if 0 < fault.round < self.session.round:
            return  # about a round that another has replaced
        if fault.code is FaultCode.BUSY:
            time.sleep(fault.retry_after_ms / 1e3 * random.uniform(0.5, 1.5))  # or all would come back at once
        elif fault.code not in (FaultCode.UNKNOWN_SESSION, FaultCode.OUT_OF_SYNC):
            raise HubRefused(f"hub {self.channel.hub!r}: {fault.detail}")
        self._reopen(stats, fault.detail)

    def _ask_from_here(self) -> Draft:
        self._until = max(self._until, self._credit(len(self.session)))
        return self.session.compose(until=self._until)

    def _reopen(self, stats: RoundStats, reason: str) -> None:
        """Go on in a new session whose prompt is all that is held."""
        assert self.channel is not None
        if stats.reopened == _REOPENINGS:
            raise HubSilent(f"{reason}; {_REOPENINGS} new sessions did not help")
        log.warning("%s; opening a new session", reason)
        stats.reopened += 1
        held = list(self.session.ids)
        left = self.channel
        self._link.leave(left)
        self.channel = self._link.open(self._settings.wait_s, prefer=left.hub)
        if self.channel.opened.target != left.opened.target:
            raise HubRefused(
                f"{reason}, and hub {self.channel.hub!r} runs {self.channel.opened.target!r} instead of "
                f"{left.opened.target!r}, which would go on with another text; ask again"
            )
        self.session = NodeSession()
        self._advised = None
        draft = self.session.compose(append=held, until=self._credit(len(held)), sampling=self._sampling)
        self._publish(draft, stats)
        self._last_at, self._timed = None, False
