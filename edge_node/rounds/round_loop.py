"""The node's loop: draft, publish, await, commit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Drafter
from edge_node.link.hub_link import Channel, HubLink, SeenHub
from edge_node.link.serving_hub import ServingHub
from edge_node.rounds.block_length import BlockLength
from edge_node.rounds.credit import Credit
from edge_node.rounds.drafting_ahead import DraftingAhead
from edge_node.rounds.gate import Gate
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.pace import Pace
from edge_node.rounds.round_stats import RoundStats
from edge_node.rounds.session import NodeSession, Ruling
from edge_node.rounds.timing import Timing
from edge_node.settings import NodeSettings
from shared.errors import HubSilent
from shared.messages import Draft, Early, Fault, Finish, Verdict
from shared.sampling import Sampling
from shared.transcript import common_length

_ATTEMPTS = 4  # times that a round is sent before its hub counts as silent
_REOPENINGS = 4  # of one answer


class RoundLoop:
    """Runs answers over one hub session, re-opening it where the protocol says so."""

    def __init__(
        self, link: HubLink, settings: NodeSettings, drafter: Drafter | None, calibration: Calibration | None = None
    ) -> None:
        """`drafter` may be None when the mode is to stream; `calibration` says how its confidence is to be taken."""
        self.session = NodeSession()
        self.pace = Pace(settings.ahead)
        self.gate = Gate(self.pace, settings.mode)
        self._settings = settings
        self._hub = ServingHub(link, settings.wait_s)
        self._lookahead = Lookahead(drafter, calibration or Calibration(), self.pace) if drafter else None
        self._length = BlockLength(settings, self.pace)
        self._credit = Credit(settings, self.pace)
        self._timing = Timing(self.pace)
        self._ahead = DraftingAhead(settings, self._length, self._credit, self._timing)
        self._sampling = Sampling()
        self._sent_bytes = 0
        self._bytes_down = 0  # the link's count when the round was sent
        self._joined = False  # whether the answer has come to drafted blocks

    @property
    def channel(self) -> Channel | None:
        """The session that is open."""
        return self._hub.channel

    @property
    def explained(self) -> str:
        """What the modes take, with the numbers that it follows from."""
        return self.pace.explained(self._length.longest)

    @property
    def hub_seen(self) -> SeenHub:
        """What the session's hub has published about itself."""
        return self._hub.seen

    def open(self) -> Channel:
        """Open a session, if none is open. Raises SessionError or LinkError."""
        return self._hub.channel or self._started(self._hub.open())

    def reset(self) -> None:
        """Leave the session, so that the next answer begins a new one."""
        self._hub.leave()
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
        self._credit.limit = min(len(prompt) + max_tokens, channel.opened.context)
        self._timing.begin()
        self._joined = False
        self._publish(self._begin(prompt), stats)
        if self._lookahead is not None:
            self._lookahead.begin(self.session.ids, sampling)
        while True:
            ids = self._await(stats)
            stats.tokens += len(ids)
            stats.elapsed_s = time.monotonic() - started
            if ids and not stats.first_token_s:
                stats.first_token_s = stats.elapsed_s
            if ids:
                yield ids
            if self.session.finish is not Finish.NO or len(self.session) >= self._credit.limit:
                return
            draft = self._next(stats)
            if draft is not None:
                self._publish(draft, stats)

    def cancel(self) -> None:
        """Stop the hub from decoding on; what is committed stays."""
        if self.channel is not None:
            self._hub.send(self.session.compose(keep=len(self.session)))

    def _started(self, channel: Channel) -> Channel:
        """Begin with nothing in a session that was opened."""
        self.session = NodeSession()
        self._length.begin(channel.opened.max_draft)
        return channel

    def _begin(self, prompt: Sequence[int]) -> Draft:
        """The draft that brings the hub from what it holds to `prompt`, and lets it stream."""
        held = self.session.ids
        shared = min(common_length(held, prompt), len(prompt) - 1)
        return self.session.compose(
            keep=shared if shared < len(held) else None,
            append=prompt[shared:],
            until=self._credit.due(len(prompt), streams=True) if self.gate.streams else len(prompt) + 1,
            sampling=self._sampling,
        )

    def _next(self, stats: RoundStats) -> Draft | None:
        """The next round, or None while the hub streams on credit that it has."""
        length = len(self.session)
        lookahead = self._lookahead
        if self.gate.choose(self._length.longest, self._length.advised) or lookahead is None or not lookahead.ready:
            credit = self._credit.renewed(length, self.gate.streams)
            return None if credit is None else self.session.compose(until=credit)
        if self._credit.until > length:
            return None  # what the hub streams comes first
        self._joined = True
        tokens = self._block(lookahead, stats)
        return self.session.compose(tokens=tokens, until=0 if tokens else self._credit.due(length, streams=False))

    def _block(self, lookahead: Lookahead, stats: RoundStats) -> tuple[int, ...]:
        """Drafted tokens to be verified: what is there already, and what more is worth its time."""
        room = self._credit.limit - len(self.session) - 1  # the target's own token comes behind the drafted ones
        started = time.monotonic()
        ready = len(lookahead.trunk)
        count = self._length.fill(lookahead, room)
        stats.drafting_s += time.monotonic() - started
        stats.ahead += min(ready, count)
        return lookahead.send(count)

    def _publish(self, draft: Draft, stats: RoundStats) -> None:
        extends = self._credit.give(draft, len(self.session))
        self._timing.send(timed=not extends)  # what is under way already answers an extension
        self._bytes_down = self._hub.bytes_down
        self._sent_bytes = self._hub.send(draft)
        stats.rounds += 1
        stats.drafted += len(draft.tokens)

    def _await(self, stats: RoundStats) -> tuple[int, ...]:
        """Wait for a verdict that commits something or ends the answer; ask again where the rules say so.

        Meanwhile the drafter takes in the text or drafts ahead, a piece of work whenever nothing has come.
        """
        attempts = 1
        patience = time.monotonic() + self._settings.patience_s
        while True:
            arrival = self._hub.receive(0.0)
            if arrival is None and not self._works():
                arrival = self._hub.receive(max(0.0, patience - time.monotonic()))
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
                    if self._lookahead is not None:
                        stats.early += self._ahead.heed(arrival.message, arrival.at, self._lookahead, self.session)
                case Fault():
                    self._heed(arrival.message, stats)
                    patience = time.monotonic() + self._settings.patience_s

    def _works(self) -> bool:
        """Do a piece of drafting, if there is any that costs no time."""
        return self._lookahead is not None and self._ahead.work(self._lookahead, self.session, self.gate)

    def _commit(self, verdict: Verdict, at: float, stats: RoundStats) -> tuple[int, ...] | None:
        """The ids that a verdict commits, and what it tells about the pace; None if it commits nothing."""
        sent = self.session.outstanding
        receipt = self.session.receive(verdict)
        if receipt.ruling is Ruling.GAP:
            self._timing.disturb()
            self._hub.send(self._ask_from_here())
        if receipt.ruling is not Ruling.COMMIT:
            return None
        count = len(receipt.committed)
        answered = sent if sent is not None and verdict.round == sent.round else None
        self._length.advise(verdict.advised)
        elapsed = self._timing.learn(verdict, answered, at)
        if count and elapsed is not None and self.gate.streams:
            self.gate.streamed(count)
        elif count and elapsed is not None and self._joined:
            self.gate.speculated(elapsed, count)
        if answered is not None and answered.tokens:
            round_s = at - self._timing.sent_at
            stats.note(answered, verdict, round_s, self._sent_bytes, self._hub.bytes_down - self._bytes_down)
        else:
            stats.streamed += count
        if self._lookahead is not None:
            kept = self._lookahead.settle(self.session.ids, count)
            stats.foreseen += kept and answered is not None and len(answered.tokens) == count - 1
        return receipt.committed

    def _ask_again(self, attempts: int, stats: RoundStats) -> int:
        """No answer came: send the round once more, or look for a hub. The number of attempts made by then."""
        self._timing.disturb()
        if attempts == _ATTEMPTS or not self._hub.seen.online:
            self._reopen(stats, f"hub {self._hub.name!r} stopped answering")
            return 1
        outstanding = self.session.outstanding
        self._hub.send(self._ask_from_here() if outstanding is None else outstanding)
        return attempts + 1

    def _heed(self, fault: Fault, stats: RoundStats) -> None:
        """Do what a fault asks for. Raises HubRefused where re-opening will not help."""
        if 0 < fault.round < self.session.round:
            return  # about a round that another has replaced
        self._hub.heed(fault)
        self._reopen(stats, fault.detail)

    def _ask_from_here(self) -> Draft:
        """A round that lets the hub go on behind what is held here."""
        length = len(self.session)
        self._credit.until = max(self._credit.until, self._credit.due(length, self.gate.streams))
        return self.session.compose(until=self._credit.until)

    def _reopen(self, stats: RoundStats, reason: str) -> None:
        """Go on in a new session whose prompt is all that is held."""
        if stats.reopened == _REOPENINGS:
            raise HubSilent(f"{reason}; {_REOPENINGS} new sessions did not help")
        stats.reopened += 1
        held = list(self.session.ids)
        self._started(self._hub.reopen(reason))
        until = self._credit.due(len(held), self.gate.streams)
        self._publish(self.session.compose(append=held, until=until, sampling=self._sampling), stats)
        self._timing.disturb()
