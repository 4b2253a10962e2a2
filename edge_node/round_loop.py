"""The node's loop: draft, publish, await, commit."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence

from edge_node.drafter import Drafter
from edge_node.hub_link import Channel, HubLink
from edge_node.round_stats import RoundStats
from edge_node.session import NodeSession, Ruling
from edge_node.settings import NodeSettings, Policy
from shared.errors import HubRefused, HubSilent
from shared.messages import Draft, Fault, FaultCode, Finish, Verdict
from shared.sampling import Sampling

log = logging.getLogger(__name__)

_ATTEMPTS = 4  # times that a round is sent before its hub counts as silent
_REOPENINGS = 4  # of one answer
_WITHOUT_A_DRAFT = 4  # tokens that the hub decodes alone where the drafter has no idea


class RoundLoop:
    """Runs answers over one hub session, re-opening it where the protocol says so."""

    def __init__(self, link: HubLink, settings: NodeSettings, drafter: Drafter | None) -> None:
        """`drafter` may be None when the mode is to stream."""
        self.channel: Channel | None = None
        self.session = NodeSession()
        self._link = link
        self._settings = settings
        self._drafter = drafter
        self._sampling = Sampling()
        self._limit = 0  # length at which the answer ends at the latest
        self._until = 0  # credit of the last draft
        self._sent_at = 0.0
        self._sent_bytes = 0
        self._bytes_down = 0  # the link's count when the round was sent

    def open(self) -> Channel:
        """Open a session, if none is open. Raises SessionError or LinkError."""
        if self.channel is None:
            self.channel = self._link.open(self._settings.wait_s)
            self.session = NodeSession()
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
        draft: Draft | None = self._begin(prompt)
        while True:
            if draft is not None:
                self._publish(draft, stats)
                if draft.append and self._drafter is not None and len(self.session) <= self._drafter.context:
                    self._drafter.prefill(self.session.ids)  # while the hub prefills and decodes a first token
            ids = self._await(stats)
            stats.tokens += len(ids)
            stats.elapsed_s = time.monotonic() - started
            if ids and not stats.first_token_s:
                stats.first_token_s = stats.elapsed_s
            yield ids
            if self.session.finish is not Finish.NO or len(self.session) >= self._limit:
                return
            draft = self._next(stats)

    def cancel(self) -> None:
        """Stop the hub from decoding on; what is committed stays."""
        if self.channel is not None:
            self._link.send(self.channel, self.session.compose(keep=len(self.session)))

    def _begin(self, prompt: Sequence[int]) -> Draft:
        """The draft that brings the hub from what it holds to `prompt`, and asks for the first token."""
        held, shared = self.session.ids, 0
        while shared < min(len(held), len(prompt)) and held[shared] == prompt[shared]:
            shared += 1
        shared = min(shared, len(prompt) - 1)
        return self.session.compose(
            keep=shared if shared < len(held) else None,
            append=prompt[shared:],
            until=self._credit(len(prompt)),
            sampling=self._sampling,
        )

    def _credit(self, length: int) -> int:
        """How far the hub may decode by itself: one token where the device drafts."""
        ahead = 1 if self._drafter is not None else self._settings.credit
        return min(length + ahead, self._limit)

    def _next(self, stats: RoundStats) -> Draft | None:
        """The next round, or None while the hub streams on credit that it has."""
        length = len(self.session)
        if self._drafter is None:
            until = self._until
            if until - length > self._settings.credit // 2 or until >= self._limit:
                return None
            return self.session.compose(until=self._credit(length))
        if self._until > length:
            return None
        tokens = self._draft(stats)
        return self.session.compose(tokens=tokens, until=0 if tokens else min(length + _WITHOUT_A_DRAFT, self._limit))

    def _draft(self, stats: RoundStats) -> tuple[int, ...]:
        assert self._drafter is not None
        assert self.channel is not None
        room = self._limit - len(self.session) - 1  # the target's own token comes behind the drafted ones
        count = min(self._settings.draft_length, self.channel.opened.max_draft, room)
        if count <= 0:
            return ()
        threshold = self._settings.threshold if self._settings.policy is Policy.THRESHOLD else 0.0
        started = time.monotonic()
        block = self._drafter.draft(self.session.ids, count, self._sampling, threshold=threshold)
        stats.drafting_s += time.monotonic() - started
        return block.tokens

    def _publish(self, draft: Draft, stats: RoundStats) -> None:
        assert self.channel is not None
        self._until = draft.until
        self._sent_at = time.monotonic()
        self._bytes_down = self._link.bytes_down
        self._sent_bytes = self._link.send(self.channel, draft)
        stats.rounds += 1
        stats.drafted += len(draft.tokens)

    def _await(self, stats: RoundStats) -> tuple[int, ...]:
        """Wait for a verdict that commits something or ends the answer; ask again where the rules say so."""
        assert self.channel is not None
        attempts = 1
        while True:
            message = self._link.receive(self.channel, self._settings.patience_s)
            if isinstance(message, Verdict):
                sent = self.session.outstanding
                receipt = self.session.receive(message)
                if receipt.ruling is Ruling.GAP:
                    self._link.send(self.channel, self._ask_from_here())
                elif receipt.ruling is Ruling.COMMIT:
                    if sent is not None and sent.tokens and message.round == sent.round:
                        elapsed = time.monotonic() - self._sent_at
                        received = self._link.bytes_down - self._bytes_down
                        stats.note(sent, message, elapsed, self._sent_bytes, received)
                        if self._drafter is not None:
                            self._drafter.learn(receipt.committed)
                    return receipt.committed
            elif isinstance(message, Fault):
                self._heed(message, stats)
            elif message is None:
                attempts = self._ask_again(attempts, stats)

    def _ask_again(self, attempts: int, stats: RoundStats) -> int:
        """No answer came: send the round once more, or look for a hub. The number of attempts made by then."""
        assert self.channel is not None
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
        return self.session.compose(until=max(self._until, self._credit(len(self.session))))

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
        draft = self.session.compose(append=held, until=self._credit(len(held)), sampling=self._sampling)
        self._publish(draft, stats)
