"""One forward of the target over the rows of a plan: what the target says at the places they want, and what it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hub.engine.early import EarlyVerdicts
from hub.engine.forward_time import ForwardTime
from hub.engine.scheduler import PlannedRow
from hub.model.sampling import draw_wanted, guided, surprisals
from hub.model.target import Target


@dataclass(frozen=True)
class Forwarded:
    """The outcome of a forward."""

    # For each row the target's tokens at the places that were looked at: those that it wants, or its last. None where they are no numbers.
    drawn: Sequence[Sequence[int] | None]
    began: float  # by the engine's clock
    seconds: float  # of the whole forward, sampling included
    model_seconds: float  # of the model's own part
    guiding_seconds: float = 0.0  # in which grammars were followed, before it and in it
    # For each row that wants them the surprisals of its tokens, in thousandths of a nat.
    surprisals: Sequence[tuple[int, ...]] = ()


class PlanForward:
    """Runs forwards on the thread that loaded the target, and learns how long they take."""

    def __init__(
        self,
        target: Target,
        forward_time: ForwardTime,
        early: EarlyVerdicts,
        vocab_size: int,
        clock: Callable[[], float],
    ) -> None:
        """Ids from `vocab_size` on are never drawn. `clock` gives seconds."""
        self._target = target
        self._time = forward_time
        self._early = early
        self._vocab_size = vocab_size
        self._clock = clock

    def run(self, planned: Sequence[PlannedRow]) -> Forwarded:
        """Compute the rows of a plan; their early verdicts are sent on the way. Raises what the model raises."""
        asked_at = self._clock()
        rows = [plan.row() for plan in planned]
        began = self._clock()
        asked = self._early.asked_of(planned, rows, self._time.estimate(len(rows), _ids(planned)))
        inputs = self._target.prepare(rows)
        prepared = self._clock()
        logits = self._target.compute(inputs, asked)
        computed = self._clock()
        allowed = guided(logits, rows, self._vocab_size)
        masked = self._clock()
        drawn = draw_wanted(allowed, rows, self._vocab_size)
        told = surprisals(logits, rows, drawn, self._vocab_size)
        guiding = began - asked_at + masked - computed if any(row.masks is not None for row in rows) else 0.0
        return Forwarded(drawn, began, self._clock() - began, computed - prepared, guiding, told)

    def run_each(self, planned: Sequence[PlannedRow]) -> Forwarded:
        """Compute the rows of a plan one by one, after a forward over all of them failed; None is drawn for those that fail alone.

        Raises what the model raises when all of them do: then it is not for what a row holds.
        """
        began, failed = self._clock(), None
        drawn: list[list[int] | None] = []
        told: list[tuple[int, ...]] = []
        for plan in planned:
            try:
                row = plan.row()
                logits = self._target.compute(self._target.prepare([row]), None)
                its = draw_wanted(guided(logits, [row], self._vocab_size), [row], self._vocab_size)
                told += surprisals(logits, [row], its, self._vocab_size)
                drawn += its
            except Exception as error:
                drawn.append(None)
                told.append(())
                failed = error
        if failed is not None and not any(each is not None for each in drawn):
            raise failed
        seconds = self._clock() - began
        return Forwarded(drawn, began, seconds, seconds, surprisals=told)

    def learn(self, rows: Sequence[PlannedRow], forwarded: Forwarded) -> None:
        """Take in how long a forward took: after its verdicts are on their way, as it takes a moment itself."""
        self._time.learn(len(rows), _ids(rows), forwarded.seconds)


def _ids(rows: Sequence[PlannedRow]) -> int:
    return sum(len(row.ids) for row in rows)
