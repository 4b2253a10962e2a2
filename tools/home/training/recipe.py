"""How the models of the built-in pair are trained, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stage:
    """A model of `depth` layers, trained with `share` of the run's compute."""

    depth: int
    share: float


@dataclass(frozen=True)
class Recipe:
    """A run of training: its stages in order, and the rates, counted in steps of one batch."""

    stages: tuple[Stage, ...]
    compute: float = 1.0  # of what the command line gives the target
    lookahead_steps: int = 60  # steps at a stage's start in which its new layers train alone
    rate: float = 4e-3
    warmup_steps: int = 100  # at each stage's start
    decay_share: float = 0.3  # the last share of the run's compute, over which the rate falls to zero
    batch_ids: int = 4096  # ids in a batch at most, padding included
    selective_below: float = 0.03  # running loss, nats per id, from which on only the hardest of a pool are trained on
    loss_share: float = 0.95  # of the pool's loss, that these hold

    def end(self, stage: int) -> float:
        """The share of the run's compute that is spent when `stage` ends; exactly 1 for the last."""
        return 1.0 if stage == len(self.stages) - 1 else sum(s.share for s in self.stages[: stage + 1])


@dataclass(frozen=True)
class Distillation:
    """How the draft's text is made: pools of dialogues whose last answers the target writes."""

    pool: int = 1024  # dialogues in a pool
    pass_ids: int = 8192  # ids in a pass over answers that the target may have given itself
    rows: int = 128  # answered together, id by id
    passes: int = 2  # times that a pool is trained on
    sampled: float = 0.25  # of the answers, drawn at `temperature`; the others are greedy
    temperature: float = 0.8
    longest_answer: int = 192  # ids


TARGETS = {
    "staged": Recipe((Stage(2, 0.15), Stage(4, 0.20), Stage(6, 0.65))),
    "plain": Recipe((Stage(6, 1.0),)),
}
_AGAIN = 0.5  # of the rate, for a model that has been trained


def again(recipe: Recipe, depth: int) -> Recipe:
    """How a model of that depth is trained on, as the data have grown."""
    return replace(recipe, stages=(Stage(depth, 1.0),), rate=_AGAIN * recipe.rate)


DRAFT_DEPTH = 2
DRAFT = Recipe((Stage(DRAFT_DEPTH, 1.0),), compute=0.08, rate=3e-3)
DISTILLATION = Distillation()
EVALUATION_BATCHES = 200
