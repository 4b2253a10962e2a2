"""Trains the target: few layers first, then deeper stages, each begun by a look-ahead of the new layers alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.home.batches import Batch
from tools.home.compute import training_flops
from tools.home.growth import freeze_below
from tools.home.model import DEVICE, answer_loss, save_model
from tools.home.run import Run


def train_stages(run: Run, stream: Iterator[Batch], out: Path) -> None:
    """Train until the budget is spent; a stage that ends leaves its model in OUT/stage-DEPTH."""
    while True:
        while not run.stage_is_over:
            train_step(run, next(stream).to(DEVICE))
        if run.is_last_stage:
            run.save()
            return
        save_model(run.model, out / f"stage-{run.depth}")
        run.next_stage()


def train_step(run: Run, batch: Batch) -> None:
    """One step on the loss at the answers; the layers of earlier stages rest while the look-ahead lasts."""
    frozen = frozen_layers(run)
    freeze_below(run.model, frozen)
    rows, length = batch.ids.shape
    flops = training_flops(run.model.config, rows, length, int(batch.answer.sum()), frozen)
    run.step(answer_loss(run.model, batch), flops, rows * length)


def frozen_layers(run: Run) -> int:
    """How many of the lowest layers rest at this step."""
    looking_ahead = run.spent.stage > 0 and run.spent.stage_steps < run.recipe.lookahead_steps
    return run.recipe.stages[run.spent.stage - 1].depth if looking_ahead else 0
