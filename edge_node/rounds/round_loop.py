"""The node's loop: draft, publish, await, commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Drafter
from edge_node.drafting.drift import Drift
from edge_node.link.channel import Channel, HubMessage, News
from edge_node.link.directory import SeenHub
from edge_node.link.hub_link import HubLink
from edge_node.link.serving_hub import ServingHub
from edge_node.rounds.alone import DraftingAlone
from edge_node.rounds.answer import AnswerInProgress
from edge_node.rounds.block_length import BlockLength
from edge_node.rounds.cost import AnswerCost
from edge_node.rounds.drafting_schedule import DraftingSchedule
from edge_node.rounds.gate import Gate
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.pace import Pace
from edge_node.rounds.progress import Progress
from edge_node.rounds.round_stats import RoundStats
from edge_node.rounds.session import NodeSession, Receipt, VerdictRuling
from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import RoundTimes
from edge_node.rounds.trace import RoundTrace
from edge_node.settings import HubLoss, Mode, NodeSettings
from shared.energy.meter import Meter
from shared.errors import AnswerCancelled, HubRefused, HubSilent, LinkError, SessionError, SettingsError
from shared.grammar import Grammar
from shared.messages import Draft, Early, Fault, Finish, Opened, Verdict
from shared.sampling_parameters import Sampling
from shared.transcript import common_length

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 1.0  # seconds in which a hub that is there again opens a session
_LIGHT = 2048  # ids that another hub may be given anew so that hubs have equal shares
_LONGEST_WAIT_S = 600.0  # seconds for which an answer waits for a hub


class RoundLoop:
    """Runs answers over one hub session, re-opening it where the protocol says so."""

    def __init__(
        self,
        link: HubLink,
        settings: NodeSettings,
        drafter: Drafter | None,
        calibration: Calibration | None = None,
        clock: Callable[[], float] = time.monotonic,
        presumed: Opened | None = None,
        drift: Drift | None = None,
        meter: Meter | None = None,
        trace: RoundTrace | None = None,
    ) -> None:
        """`drafter` may be None when the mode is to stream; `calibration` says how its confidence is to be taken, `drift` how its model fares.

        `presumed` are the limits of an answer that begins without a hub, as a hub would tell them. `meter` counts this device's joules.
        `trace` is told what happens to a round when, by the system's clock.
        """
        self.session = NodeSession()
        self.skill = DraftSkill()
        self.times = RoundTimes()
        self.pace = Pace(self.skill, self.times, ahead=settings.ahead)
        self.drift = drift
        self.gate = Gate(self.pace, settings.mode, drift, looks_up_instead=settings.looks_up_instead)
        self.on_wait = log.info
        self.is_unwanted: Callable[[], bool] = lambda: False  # whether nobody wants more of the answer in progress
        self._link = link
        self._settings = settings
        self._clock = clock
        self._presumed = presumed
        self._hub = ServingHub(link, settings.wait_s, clock)
        self._trace = trace
        self._send = self._hub.send if trace is None else trace.sending(self._hub)
        self._length = BlockLength(settings, self.pace)
        self._drafting: DraftingSchedule | None = None
        if drafter is not None:
            lookahead = Lookahead(drafter, calibration or Calibration(), self.skill, clock, drift)
            self._drafting = DraftingSchedule(settings, self._length, lookahead)
        self._alone = DraftingAlone(settings, self._drafting)
        drafting = self._drafting
        self._cost = AnswerCost(meter or Meter(sources=()), lambda: 0.0 if drafting is None else drafting.busy_s)
        self._answer: AnswerInProgress | None = None  # the last one that was begun in the session

    @property
    def on_wait(self) -> Callable[[str], None]:
        """Who is told what an answer waits for, and "" when it goes on."""
        return self._on_wait

    @on_wait.setter
    def on_wait(self, tell: Callable[[str], None]) -> None:
        self._on_wait = tell
        self._waits_for = ""  # what they were told last

    @property
    def mode(self) -> Mode:
        """Who decodes the answers to come."""
        return self._settings.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        """Raises SettingsError where there is nothing to draft with."""
        if self._drafting is None and mode is not Mode.STREAM:
            raise SettingsError(
                f"no draft model is loaded, as this program was started with the mode stream; start it with --mode {mode.value}"
            )
        self._settings = replace(self._settings, mode=mode)
        self.gate.follow(mode)

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

    def open(self) -> Opened:
        """Open a session, if none is open, and say what its limits are.

        Raises SessionError or LinkError, unless answers may begin without a hub: then the limits are the presumed ones.
        """
        if self._hub.channel is None:
            limit_s = None
            if self._presumed is not None:
                # Who can go on alone does not wait long, and not again where a hub was waited for before.
                limit_s = (
                    _LOOK_AGAIN_S if self._hub.is_asking else min(self._settings.wait_s, self._settings.hub_timeout_s)
                )
            try:
                self._started(self._hub.open(self._tell, limit_s))
            except (SessionError, LinkError) as error:
                if self._presumed is None:
                    raise
                self._tell(str(error))
                return self._presumed
        assert self._hub.channel is not None
        return self._hub.channel.opened

    def reset(self) -> None:
        """Leave the session, so that the next answer begins a new one."""
        self._hub.leave()
        self.session = NodeSession()
        self._answer = None

    def answer(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        max_tokens: int,
        stats: RoundStats,
        drafted: Sequence[int] = (),
        grammar: Grammar | None = None,
        *,
        must_keep: bool = False,
        wants_surprisal: bool = False,
    ) -> Iterator[Progress]:
        """Yield the ids of the answer to `prompt` as they are committed, the end-of-turn id included.

        `prompt` is the whole chat; what the session already holds of it is not sent again. Closing the iterator
        early leaves the hub streaming: call `cancel` then. Where the hub is lost and the settings say so, ids come that
        are provisional; an answer may end with such ids, if its hub does not come back before the draft ends it. `drafted`
        is such an answer's text, to be verified. The answer keeps to `grammar`, and where it `must_keep` to it HubRefused is
        raised where the hub can't. `wants_surprisal`: the hub is to say how sure the target is of each id, if it can.
        """
        if len(self.session) <= _LIGHT and self._hub.is_crowded():
            self.reset()
        opened = self.open()
        limit = min(len(prompt) + max_tokens, opened.context)
        if grammar is not None:
            sampling = replace(sampling, grammar=grammar.digest, grammar_from=len(prompt))
        answer = self._answer = AnswerInProgress(
            self._settings,
            self.pace,
            self.times,
            sampling,
            limit,
            stats,
            self._clock,
            grammar,
            must_keep=must_keep,
            wants_surprisal=wants_surprisal,
        )
        self._cost.begin()
        if self._hub.channel is None:
            self.session = NodeSession()
            self._hub.ask()
            answer.patience.give_up()
        else:
            self._served(answer, self._hub.channel)
        self._publish(answer, self._begin(answer, prompt, drafted))
        if self._drafting is not None:
            self._drafting.begin(self.session.ids, answer.sampling, drafted)
            answer.provisional = tuple(drafted)
        while True:
            progress = self._await(answer, opened.end_ids)
            answer.committed(len(progress.committed))
            stats.cost = self._cost.so_far(stats.tokens, self._hub.seen.stats)
            if progress.committed or self._alone.goes_on(answer):
                yield progress
            if self.session.finish is not Finish.NO or len(self.session) >= answer.credit.limit or answer.ended:
                return
            draft = None if self._alone.goes_on(answer) else self._next(answer)
            if draft is not None:
                self._publish(answer, draft)

    def wake(self) -> None:
        """Have `is_unwanted` asked now, from any thread. Where it says so, AnswerCancelled is raised out of what the loop is doing."""
        self._link.tell(News.CANCELLED)

    def cancel(self) -> None:
        """Stop the hub from decoding on; what is committed stays."""
        if self._answer is not None:
            self._publish(self._answer, self.session.compose(keep=len(self.session)))

    def _started(self, channel: Channel) -> None:
        """Begin with nothing in a session that was opened."""
        self.session = NodeSession()
        self._length.begin(channel.opened.max_draft)

    def _served(self, answer: AnswerInProgress, channel: Channel) -> None:
        """The answer begins, or goes on, in that session. Raises HubRefused where its hub can't keep it to what it must keep to."""
        answer.served_in(channel)
        if answer.grammar is None or self._hub.seen.info.get("grammars"):
            return
        if answer.must_keep:
            raise HubRefused(f"hub {channel.hub!r} can't keep an answer to a schema; update it")
        answer.do_without_grammar()

    def _tells_surprisal(self, answer: AnswerInProgress) -> bool:
        """Whether the answer's hub is to say how sure the target is. An older hub does not read a draft that asks for it."""
        return answer.wants_surprisal and bool(self._hub.seen.info.get("surprisal"))

    def _begin(self, answer: AnswerInProgress, prompt: Sequence[int], drafted: Sequence[int]) -> Draft:
        """The draft that brings the hub from what it holds to `prompt`, and lets it stream."""
        held = self.session.ids
        shared = min(common_length(held, prompt), len(prompt) - 1)
        return self.session.compose(
            keep=shared if shared < len(held) else None,
            append=prompt[shared:],
            until=answer.credit.due(len(prompt), streams=True)
            if self.gate.streams and not drafted
            else len(prompt) + 1,
            sampling=answer.sampling,
            grammar=answer.grammar,
            wants_surprisal=self._tells_surprisal(answer),
        )

    def _next(self, answer: AnswerInProgress) -> Draft | None:
        """The next round, or None while the hub streams on credit that it has."""
        length = len(self.session)
        drafting = self._drafting
        streams = self.gate.choose(self._length.longest, self._length.advised)
        if drafting is None or not (answer.provisional or (drafting.ready and not streams)):
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
        block = drafting.written_block(room) if answer.provisional else drafting.block(room)
        answer.stats.ahead += block.ahead
        return block.tokens

    def _publish(self, answer: AnswerInProgress, draft: Draft) -> None:
        """Send a draft. Every draft leaves here and counts in its answer."""
        answer.sending(draft, len(self.session), self._hub.bytes_down)
        answer.sent(self._send(draft))

    def _await(self, answer: AnswerInProgress, end_ids: Sequence[int]) -> Progress:
        """Wait for a verdict that commits something or ends the answer; ask again where the rules say so.

        Meanwhile the drafter takes in the text or drafts ahead, a piece of work whenever nothing has come. While the hub is
        lost it may draft for the reader instead.
        """
        while True:
            self._look_whether_wanted()
            arrival = self._hub.receive(0.0)
            if arrival is None and not self._works(answer):
                arrival = self._hub.receive(0.0 if self._alone.goes_on(answer) else answer.patience.wait_s)
            if isinstance(arrival, HubMessage):
                receipt = self._take_in(answer, arrival)
                if receipt is not None:
                    return Progress(receipt.committed, answer.provisional, receipt.sources, receipt.surprisal)
                continue
            self._look(answer, arrival)
            if self._alone.goes_on(answer) and self._alone.write(answer, len(self.session), end_ids):
                return Progress((), answer.provisional)

    def _look_whether_wanted(self) -> None:
        if self.is_unwanted():
            raise AnswerCancelled("nobody wants more of this answer")

    def _take_in(self, answer: AnswerInProgress, arrival: HubMessage) -> Receipt | None:
        """What a message of the hub commits; None if it commits nothing."""
        if self._trace is not None:
            self._trace.heard(arrival)
        match arrival.message:
            case Verdict():
                receipt = self._commit(answer, arrival.message, arrival.at)
                if self._trace is not None and receipt is not None:
                    self._trace.committed(arrival, arrival.message, len(receipt.committed))
                return receipt
            case Early():
                if self._drafting is not None:
                    answer.stats.early += self._drafting.take_early(answer, arrival.message, arrival.at, self.session)
            case Fault():
                self._recover(answer, arrival.message)
        return None

    def _look(self, answer: AnswerInProgress, news: News | None) -> None:
        """Nothing came of the hub: do what can be done about it, and tell the person."""
        patience = answer.patience
        if news is News.OPENED:
            self._resume(answer)
            return
        if self._hub.has_left():
            self._reopen(answer, self._hub.trouble)
        trouble = self._hub.trouble
        is_over = news is News.CONNECTED or (answer.had_trouble and not trouble)
        answer.had_trouble = bool(trouble)
        may_be_lost = news is News.HUB and patience.is_late  # what came before the hub had connected again
        if self._hub.channel is not None and (is_over or may_be_lost or patience.sends_again):
            self._ask_again(answer)
        if is_over:
            patience.reset()
        patience.look(served=not trouble)
        if patience.is_told(troubled=bool(trouble)):
            self._tell(trouble or "the hub's verdict")
        gives_up_s = self._settings.hub_timeout_s if self._settings.on_hub_loss is HubLoss.STOP else _LONGEST_WAIT_S
        if patience.lost_s > gives_up_s:
            self._hub.leave()
            raise HubSilent(trouble or "the hub lives but does not answer")

    def _tell(self, what: str) -> None:
        """Tell the person what is waited for, if it is something else than before."""
        self._look_whether_wanted()
        if what != self._waits_for:
            self._waits_for = what
            self.on_wait(what)

    def _works(self, answer: AnswerInProgress) -> bool:
        """Do a piece of drafting, if there is any that costs no time."""
        return self._drafting is not None and self._drafting.work(answer, self.session, self.gate)

    def _commit(self, answer: AnswerInProgress, verdict: Verdict, at: float) -> Receipt | None:
        """What a verdict commits, once what it tells about the pace is taken in; None if it commits nothing."""
        sent = self.session.outstanding
        receipt = self.session.receive(verdict)
        if receipt.ruling is VerdictRuling.GAP:
            self._publish(answer, self._ask_from_here(answer))
            answer.timing.disturb()
        if receipt.ruling is not VerdictRuling.COMMIT:
            return None
        count = len(receipt.committed)
        answered = sent if sent is not None and verdict.round == sent.round else None
        answer.patience.reset()
        answer.reopened_in_vain = 0
        self._tell("")
        self._length.advise(verdict.advised)
        elapsed = answer.timing.learn(verdict, answered, at)
        if count and elapsed is not None and self.gate.streams:
            self.gate.streamed(count)
        elif count and elapsed is not None and answer.joined:
            self.gate.speculated(elapsed, count)
        answer.note(answered, verdict, receipt.sources, at, self._hub.bytes_down)
        if self._drafting is not None:
            kept = self._drafting.settle(self.session.ids, count)
            answer.provisional = answer.provisional[count:] if kept else ()
            answer.stats.foreseen += kept and answered is not None and len(answered.tokens) == count - 1
        return receipt

    def _ask_again(self, answer: AnswerInProgress) -> None:
        """No answer came: send the round once more."""
        outstanding = self.session.outstanding
        self._publish(answer, self._ask_from_here(answer) if outstanding is None else outstanding)
        answer.timing.disturb()
        answer.patience.sent_again()

    def _recover(self, answer: AnswerInProgress, fault: Fault) -> None:
        """Do what a fault asks for. Raises HubRefused where re-opening will not help."""
        if 0 < fault.round < self.session.round:
            return  # about a round that another has replaced
        answer.reopening(fault.detail)
        self._hub.reopen_after(fault)

    def _ask_from_here(self, answer: AnswerInProgress) -> Draft:
        """A round that lets the hub go on behind what is held here."""
        length = len(self.session)
        credit = answer.credit
        return self.session.compose(until=max(credit.until, credit.due(length, self.gate.streams)))

    def _reopen(self, answer: AnswerInProgress, reason: str) -> None:
        answer.reopening(reason)
        self._hub.reopen(reason)

    def _resume(self, answer: AnswerInProgress) -> None:
        """Go on in a new session whose prompt is all that is held."""
        assert self._hub.channel is not None
        held = list(self.session.ids)
        self._started(self._hub.channel)
        self._served(answer, self._hub.channel)
        until = answer.credit.due(len(held), self.gate.streams)
        if answer.provisional:
            until = len(held) + 1  # the hub verifies what was drafted alone, in blocks
        self._publish(
            answer,
            self.session.compose(
                append=held,
                until=until,
                sampling=answer.sampling,
                grammar=answer.grammar,
                wants_surprisal=self._tells_surprisal(answer),
            ),
        )
        answer.timing.disturb()
        answer.patience.reset()
