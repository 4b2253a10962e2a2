"""Trains a student on the target's answers, with the target's whole distribution at each of their positions.

The loss is the Kullback-Leibler divergence of the student from the target, which a draft's acceptance goes down with. What was
learned is kept every few minutes, so that a run that ends goes on where it was; how long it takes is given in minutes of work.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hub.pairing.answers import Answered

RATE, ROUNDED_RATE = 3e-4, 1e-4  # of learning, where layers were taken out, and where weights are only rounded
_LAST_RATE, _WARM_UP = 0.1, 0.03  # shares of the rate at the end, and of the time until it is reached
_BATCH_IDS = 1024  # ids of a step, with their padding
_KEPT_S = 120.0  # seconds between two times that what was learned is kept
_CLIPPED = 1.0  # norm of the gradient at most
_DECAY = 0.01


class Training:
    """A student in training; `path` keeps what was learned."""

    def __init__(
        self, model: Any, student: Any, texts: Sequence[Answered], minutes: float, path: Path, rate: float = RATE
    ) -> None:
        """Go on with what `path` has, if it is there."""
        self._most_rate = rate
        self._model, self._student, self._texts = model, student, texts
        self._budget_s = 60 * minutes
        self._path = path
        self._elapsed_s = 0.0
        self.steps = 0
        matrices = [p for p in student.parameters() if p.ndim > 1]
        vectors = [p for p in student.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": _DECAY}, {"params": vectors, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
        if path.exists():
            kept = torch.load(path, weights_only=True)
            student.load_state_dict(kept["student"])
            self._optimizer.load_state_dict(kept["optimizer"])
            self._elapsed_s, self.steps = kept["elapsed_s"], kept["steps"]

    def run(self, told: Callable[[float, float], None] = lambda _share, _loss: None) -> None:
        """Train until the time is over; `told` is given the share of the time that is over and the loss in nats, after every step."""
        self._student.train()
        kept_at = time.monotonic()
        for batch in self._batches():
            if self._elapsed_s >= self._budget_s:
                break
            started = time.monotonic()
            loss = self._step(batch)
            now = time.monotonic()
            self._elapsed_s += now - started
            self.steps += 1
            told(min(1.0, self._elapsed_s / self._budget_s), loss)
            if now - kept_at > _KEPT_S:
                self._keep()
                kept_at = now
        self._keep()
        self._student.eval()

    def _step(self, batch: Sequence[Answered]) -> float:
        rate = self._rate(self._elapsed_s / self._budget_s)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        longest = max(len(text.ids) for text in batch)
        ids = torch.tensor([[*text.ids, *[0] * (longest - len(text.ids))] for text in batch])
        places = [
            row * longest + place
            for row, text in enumerate(batch)
            for place in range(text.prompt - 1, len(text.ids) - 1)
        ]
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_in_16_bits()):
            with torch.no_grad():
                wanted = torch.log_softmax(_logits(self._model, ids)[places].float(), -1)
            said = torch.log_softmax(_logits(self._student, ids)[places].float(), -1)
            loss = nn.functional.kl_div(said, wanted, log_target=True, reduction="sum") / len(places)
        loss.backward()
        nn.utils.clip_grad_norm_(self._student.parameters(), _CLIPPED)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _batches(self) -> Iterator[list[Answered]]:
        """Texts of similar length together, in an order that the number of steps decides, without end."""
        ordered = sorted(self._texts, key=lambda text: len(text.ids))
        batches: list[list[Answered]] = [[]]
        for text in ordered:
            if batches[-1] and (len(batches[-1]) + 1) * len(text.ids) > _BATCH_IDS:
                batches.append([])
            batches[-1].append(text)
        while True:
            round_, place = divmod(self.steps, len(batches))
            order = random.Random(round_).sample(range(len(batches)), len(batches))
            yield batches[order[place]]

    def _keep(self) -> None:
        half = self._path.with_suffix(".half")
        kept = {
            "student": self._student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "elapsed_s": self._elapsed_s,
            "steps": self.steps,
        }
        torch.save(kept, half)
        half.replace(self._path)

    def _rate(self, share: float) -> float:
        if share < _WARM_UP:
            return self._most_rate * max(0.02, share / _WARM_UP)
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, (share - _WARM_UP) / (1 - _WARM_UP))))
        return self._most_rate * (_LAST_RATE + (1 - _LAST_RATE) * falling)


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """[ids, vocab]: behind a text's own ids stands padding, which none of them sees."""
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.flatten(0, 1)


def multiplies_in_16_bits() -> bool:
    """Whether the processor has arithmetic in bfloat16."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()  # type: ignore[no-any-return]  # noqa: SLF001
