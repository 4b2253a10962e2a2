"""The node's loop: draft, publish, await, commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Drafter
from edge_node.link.directory import SeenHub
from edge_node.link.hub_link import Channel, HubLink
from edge_node.link.serving_hub import ServingHub
from edge_node.rounds.answer import AnswerInProgress
from edge_node.rounds.block_length import BlockLength
from edge_node.rounds.drafting_schedule import DraftingSchedule
from edge_node.rounds.gate import Gate
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.pace import Pace
from edge_node.rounds.round_stats import RoundStats
from edge_node.rounds.session import NodeSession, VerdictRuling
from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import RoundTimes
from edge_node.settings import NodeSettings
from shared.errors import HubSilent
from shared.messages import Draft, Early, Fault, Finish, Verdict
from shared.sampling import Sampling
from shared.transcript import common_length

_ATTEMPTS = 4  # times that a round is sent until its hub counts as silent
_REOPENINGS = 4  # new sessions that one answer may take


class RoundLoop:
    """Runs answers over one hub session, re-opening it where the protocol says so."""

    def __init__(
        self,
        link: HubLink,
        settings: NodeSettings,
        drafter: Drafter | None,
        calibration: Calibration | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`drafter` may be None when the mode is to stream; `calibration` says how its confidence is to be taken."""
        self.session = NodeSession()
        self.skill = DraftSkill()
        self.times = RoundTimes()
        self.pace = Pace(self.skill, self.times, ahead=settings.ahead)
        self.gate = Gate(self.pace, settings.mode)
        self._settings = settings
        self._clock = clock
        self._hub = ServingHub(link, settings.wait_s)
        self._length = BlockLength(settings, self.pace)
        self._drafting: DraftingSchedule | None = None
        if drafter is not None:
            lookahead = Lookahead(drafter, calibration or Calibration(), self.skill, clock)
            self._drafting = DraftingSchedule(settings, self._length, lookahead)
        self._answer: AnswerInProgress | None = None  # the last one that was begun in the session

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
        self._answer = None

    def answer(
        self, prompt: Sequence[int], sampling: Sampling, max_tokens: int, stats: RoundStats
    ) -> Iterator[tuple[int, ...]]:
        """Yield the ids of the answer to `prompt` as they are committed, the end-of-turn id included.

        `prompt` is the whole chat; what the session already holds of it is not sent again. Closing the iterator
        early leaves the hub streaming: call `cancel` then.
        """
        channel = self.open()
        limit = min(len(prompt) + max_tokens, channel.opened.context)
        answer = self._answer = AnswerInProgress(
            self._settings, self.pace, self.times, sampling, limit, stats, self._clock
        )
        self._publish(answer, self._begin(answer, prompt))
        if self._drafting is not None:
            self._drafting.begin(self.session.ids, sampling)
        while True:
            ids = self._await(answer)
            answer.committed(len(ids))
            if ids:
                yield ids
            if self.session.finish is not Finish.NO or len(self.session) >= answer.credit.limit:
                return
            draft = self._next(answer)
            if draft is not None:
                self._publish(answer, draft)

    def cancel(self) -> None:
        """Stop the hub from decoding on; what is committed stays."""
        if self.channel is not None and self._answer is not None:
            self._publish(self._answer, self.session.compose(keep=len(self.session)))

    def _started(self, channel: Channel) -> Channel:
        """Begin with nothing in a session that was opened."""
        self.session = NodeSession()
        self._length.begin(channel.opened.max_draft)
        return channel

    def _begin(self, answer: AnswerInProgress, prompt: Sequence[int]) -> Draft:
        """The draft that brings the hub from what it holds to `prompt`, and lets it stream."""
        held = self.session.ids
        shared = min(common_length(held, prompt), len(prompt) - 1)
        return self.session.compose(
            keep=shared if shared < len(held) else None,
            append=prompt[shared:],
            until=answer.credit.due(len(prompt), streams=True) if self.gate.streams else len(prompt) + 1,
            sampling=answer.sampling,
        )

    def _next(self, answer: AnswerInProgress) -> Draft | None:
        """The next round, or None while the hub streams on credit that it has."""
        length = len(self.session)
        drafting = self._drafting
        if self.gate.choose(self._length.longest, self._length.advised) or drafting is None or not drafting.ready:
            credit = answer.credit.renewed(length, self.gate.streams)
            return None if credit is None else self.session.compose(until=credit)
        if answer.credit.until > length:
            return None  # what the hub streams comes first
        answer.joined = True
        tokens = self._block(answer, drafting)
        return self.session.compose(tokens=tokens, until=0 if tokens else answer.credit.due(length, streams=False))

    def _block(self, answer: AnswerInProgress, drafting: DraftingSchedule) -> tuple[int, ...]:
        """Drafted tokens to be verified: what is there already, and what more is worth its time."""
        room = answer.credit.limit - len(self.session) - 1  # the target's own token comes behind the drafted ones
        block = drafting.block(room)
        answer.stats.ahead += block.ahead
        return block.tokens

    def _publish(self, answer: AnswerInProgress, draft: Draft) -> None:
        """Send a draft. Every draft leaves here and counts in its answer."""
        answer.sending(draft, len(self.session), self._hub.bytes_down)
        answer.sent(self._hub.send(draft))

    def _await(self, answer: AnswerInProgress) -> tuple[int, ...]:
        """Wait for a verdict that commits something or ends the answer; ask again where the rules say so.

        Meanwhile the drafter takes in the text or drafts ahead, a piece of work whenever nothing has come.
        """
        attempts = 1
        patience = self._clock() + self._settings.patience_s
        while True:
            arrival = self._hub.receive(0.0)
            if arrival is None and not self._works(answer):
                arrival = self._hub.receive(max(0.0, patience - self._clock()))
            if arrival is None:
                if self._clock() >= patience:
                    attempts = self._ask_again(answer, attempts)
                    patience = self._clock() + self._settings.patience_s
                continue
            match arrival.message:
                case Verdict():
                    committed = self._commit(answer, arrival.message, arrival.at)
                    if committed is not None:
                        return committed
                case Early():
                    if self._drafting is not None:
                        answer.stats.early += self._drafting.take_early(
                            answer, arrival.message, arrival.at, self.session
                        )
                case Fault():
                    self._recover(answer, arrival.message)
                    patience = self._clock() + self._settings.patience_s

    def _works(self, answer: AnswerInProgress) -> bool:
        """Do a piece of drafting, if there is any that costs no time."""
        return self._drafting is not None and self._drafting.work(answer, self.session, self.gate)

    def _commit(self, answer: AnswerInProgress, verdict: Verdict, at: float) -> tuple[int, ...] | None:
        """The ids that a verdict commits, and what it tells about the pace; None if it commits nothing."""
        sent = self.session.outstanding
        receipt = self.session.receive(verdict)
        if receipt.ruling is VerdictRuling.GAP:
            self._publish(answer, self._ask_from_here(answer))
            answer.timing.disturb()
        if receipt.ruling is not VerdictRuling.COMMIT:
            return None
        count = len(receipt.committed)
        answered = sent if sent is not None and verdict.round == sent.round else None
        self._length.advise(verdict.advised)
        elapsed = answer.timing.learn(verdict, answered, at)
        if count and elapsed is not None and self.gate.streams:
            self.gate.streamed(count)
        elif count and elapsed is not None and answer.joined:
            self.gate.speculated(elapsed, count)
        answer.note(answered, verdict, count, at, self._hub.bytes_down)
        if self._drafting is not None:
            kept = self._drafting.settle(self.session.ids, count)
            answer.stats.foreseen += kept and answered is not None and len(answered.tokens) == count - 1
        return receipt.committed

    def _ask_again(self, answer: AnswerInProgress, attempts: int) -> int:
        """No answer came: send the round once more, or look for a hub. The number of attempts made by then."""
        if attempts == _ATTEMPTS or not self._hub.seen.online:
            self._reopen(answer, f"hub {self._hub.name!r} stopped answering")
            return 1
        outstanding = self.session.outstanding
        self._publish(answer, self._ask_from_here(answer) if outstanding is None else outstanding)
        answer.timing.disturb()
        return attempts + 1

    def _recover(self, answer: AnswerInProgress, fault: Fault) -> None:
        """Do what a fault asks for. Raises HubRefused where re-opening will not help."""
        if 0 < fault.round < self.session.round:
            return  # about a round that another has replaced
        self._hub.prepare_reopening(fault)
        self._reopen(answer, fault.detail)

    def _ask_from_here(self, answer: AnswerInProgress) -> Draft:
        """A round that lets the hub go on behind what is held here."""
        length = len(self.session)
        credit = answer.credit
        return self.session.compose(until=max(credit.until, credit.due(length, self.gate.streams)))

    def _reopen(self, answer: AnswerInProgress, reason: str) -> None:
        """Go on in a new session whose prompt is all that is held."""
        if answer.stats.reopened == _REOPENINGS:
            raise HubSilent(f"{reason}; {_REOPENINGS} new sessions did not help")
        answer.stats.reopened += 1
        held = list(self.session.ids)
        self._started(self._hub.reopen(reason))
        until = answer.credit.due(len(held), self.gate.streams)
        self._publish(answer, self.session.compose(append=held, until=until, sampling=answer.sampling))
        answer.timing.disturb()
