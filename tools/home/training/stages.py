"""Trains the target: few layers first, then deeper stages, each begun by a look-ahead of the new layers alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from tools.home.training.batches import POOL, Batch, Text, grouped
from tools.home.training.compute import training_flops
from tools.home.training.growth import freeze_below
from tools.home.training.model import DEVICE, answer_losses, save_model
from tools.home.training.run import Run
from tools.home.training.selection import hardest


def train_stages(run: Run, dialogues: Iterator[Text], out: Path) -> None:
    """Train until the budget is spent; a stage that ends leaves its model in OUT/stage-DEPTH."""
    while True:
        while not run.stage_is_over:
            _train_on(run, list(itertools.islice(dialogues, POOL)))
        if run.is_last_stage:
            run.save()
            return
        save_model(run.model, out / f"stage-{run.depth}")
        run.next_stage()


def _train_on(run: Run, pool: list[Text]) -> None:
    """Train on `pool`, or on its hardest texts once most are easy."""
    rng = random.Random(f"pool at step {run.spent.steps}")
    loss = None
    if run.spent.loss is not None and run.spent.loss < run.recipe.selective_below:
        chosen = hardest(run.model, pool, run.recipe.loss_share, run.recipe.batch_ids, rng)
        run.charge(chosen.flops)
        pool, loss = chosen.texts, chosen.pool_loss
    for batch in grouped(pool, run.recipe.batch_ids, rng):
        if not run.stage_is_over:
            train_step(run, batch.to(DEVICE), loss)


def train_step(run: Run, batch: Batch, pool_loss: float | None = None) -> None:
    """One step on the mean loss at the answers; the layers of earlier stages rest while the look-ahead lasts.

    `pool_loss` is what is logged when `batch` is a choice from a pool; None logs the batch's own loss.
    """
    frozen = frozen_layers(run)
    freeze_below(run.model, frozen)
    rows, length = batch.ids.shape
    flops = training_flops(run.model.config, rows, length, int(batch.answer.sum()), frozen)
    run.step(answer_losses(run.model, batch).mean(), flops, rows * length, pool_loss)


def frozen_layers(run: Run) -> int:
    """How many of the lowest layers rest at this step."""
    looking_ahead = run.spent.stage > 0 and run.spent.stage_steps < run.recipe.lookahead_steps
    return run.recipe.stages[run.spent.stage - 1].depth if looking_ahead else 0
