"""A run of training: the model, its optimizers, what has been spent, the log and the checkpoint it goes on from."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import LlamaForCausalLM

from tools.home.training.growth import resized
from tools.home.training.model import DEVICE
from tools.home.training.muon import Muon
from tools.home.training.recipe import Recipe

_CHECKPOINT_SECONDS = 120.0
_LOG_STEPS = 20
_SMOOTHING = 0.98


@dataclass
class Spent:
    """How far a run has come. `loss` is a running mean; `stage_steps` counts from the start of stage `stage`."""

    flops: float = 0.0
    tokens: int = 0  # padding included
    steps: int = 0
    stage: int = 0
    stage_steps: int = 0
    loss: float | None = None
    seconds: float = 0.0
    answering_seconds: float = 0.0  # of these, those in which the target wrote text to distil

    def smooth(self, loss: float) -> None:
        """Take a step's loss into the running mean."""
        self.loss = loss if self.loss is None else _SMOOTHING * self.loss + (1 - _SMOOTHING) * loss


def rate_share(spent: Spent, recipe: Recipe, budget: float) -> float:
    """The share of the full rate at this step: it rises at each stage's start and falls to zero at the run's end."""
    warmup = (spent.stage_steps + 1) / recipe.warmup_steps
    return max(0.0, min(1.0, warmup, (1 - spent.flops / budget) / recipe.decay_share))


class Run:
    """Trains one model, for `budget` floating-point operations in all; used as a context, which shows the progress."""

    def __init__(self, name: str, out: Path, recipe: Recipe, budget: float, start: LlamaForCausalLM) -> None:
        """Begin with `start`, a model of the first stage's depth, or go on from OUT/NAME.checkpoint.pt."""
        self.name, self.recipe, self.budget = name, recipe, budget
        self.spent = Spent()
        self.model = start
        self._checkpoint = out / f"{name}.checkpoint.pt"
        self._log = out / f"{name}.loss.csv"
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        )
        self._resume_or_begin()
        self._bar = self._progress.add_task(name, total=budget)
        self._progress.update(self._bar, completed=self.spent.flops)
        self._saved_at = self._counted_at = time.monotonic()

    def _resume_or_begin(self) -> None:
        if not self._checkpoint.exists():
            self._optimizers = optimizers(self.model, self.recipe)
            self._log.write_text("flops,tokens,loss,depth\n")
            return
        state = torch.load(self._checkpoint, map_location=DEVICE, weights_only=True)
        self.spent = Spent(**state["spent"])
        self.model = resized(self.model, self.depth)
        self.model.load_state_dict(state["model"])
        self._optimizers = optimizers(self.model, self.recipe)
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        head, *rows = self._log.read_text().splitlines()
        kept = [row for row in rows if float(row.split(",")[0]) <= self.spent.flops]
        self._log.write_text("\n".join([head, *kept, ""]))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def depth(self) -> int:
        """The layers of the current stage."""
        return self.recipe.stages[self.spent.stage].depth

    @property
    def stage_is_over(self) -> bool:
        """Whether the current stage has had its share."""
        return self.spent.flops >= self.budget * self.recipe.end(self.spent.stage)

    @property
    def is_last_stage(self) -> bool:
        """Whether no deeper stage follows."""
        return self.spent.stage == len(self.recipe.stages) - 1

    def next_stage(self) -> None:
        """Grow the model to the next stage's depth; its optimizers begin anew."""
        self.spent.stage, self.spent.stage_steps = self.spent.stage + 1, 0
        self.model = resized(self.model, self.depth)
        self._optimizers = optimizers(self.model, self.recipe)
        self.save()

    def step(self, loss: torch.Tensor, flops: float, tokens: int, logged: float | None = None) -> None:
        """Descend along `loss`, which took `flops` (backward included) on a batch of `tokens` ids.

        The log shows the running mean of `loss`, or of `logged` if that is given.
        """
        share = rate_share(self.spent, self.recipe, self.budget)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._optimizers[1].param_groups[0]["params"], 1.0)
        for optimizer in self._optimizers:
            optimizer.param_groups[0]["lr"] = self.recipe.rate * share
            optimizer.step()
        self.spent.smooth(loss.item() if logged is None else logged)
        self.spent.tokens += tokens
        self.spent.steps += 1
        self.spent.stage_steps += 1
        self.charge(flops)
        if self.spent.steps % _LOG_STEPS == 0:
            with self._log.open("a") as log:
                log.write(f"{self.spent.flops:.6e},{self.spent.tokens},{self.spent.loss:.5f},{self.depth}\n")
        if time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS:
            self.save()

    def charge(self, flops: float) -> None:
        """Count `flops` towards the budget, and the time since the last call."""
        now = time.monotonic()
        self.spent.flops += flops
        self.spent.seconds += now - self._counted_at
        self._counted_at = now
        loss = "" if self.spent.loss is None else f" · loss {self.spent.loss:.4f}"
        self._progress.update(
            self._bar, completed=self.spent.flops, description=f"{self.name} · {self.depth} layers{loss}"
        )

    def save(self) -> None:
        """Replace the checkpoint."""
        state = {
            "spent": asdict(self.spent),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)
        self._saved_at = time.monotonic()


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embedding and norms. Parameters without a gradient rest."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    return [
        Muon(matrices, lr=recipe.rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
