"""Picks the dialogues worth a training step: those that the model has not got yet.

A model that answers nine in ten requests learns next to nothing from most of what it is shown, and backward costs twice
the forward. So each pool is first only scored, and its hardest dialogues are trained on (selective backpropagation,
Jiang et al., arXiv:1910.00762; here by rank within a pool, with no chance involved).
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

from tools.home.training.batches import Batch, Text, grouped
from tools.home.training.compute import forward_flops
from tools.home.training.model import DEVICE, answer_losses


@dataclass(frozen=True)
class Chosen:
    """The texts, the mean loss of the whole pool (nats per id of an answer), and what scoring it cost."""

    texts: list[Text]
    pool_loss: float
    flops: float


def hardest(
    model: LlamaForCausalLM, pool: Sequence[Text], loss_share: float, batch_ids: int, rng: random.Random
) -> Chosen:
    """The fewest texts that hold `loss_share` of the pool's loss, but one at least."""
    scored: list[tuple[float, Text]] = []
    flops, ids = 0.0, 0
    for batch in grouped(pool, batch_ids, rng):
        scored += zip(text_losses(model, batch.to(DEVICE)).tolist(), batch.texts, strict=True)
        rows, length = batch.ids.shape
        answers = int(batch.answer.sum())
        flops += forward_flops(model.config, rows, length, length, answers)
        ids += answers
    scored.sort(key=lambda each: -each[0])
    held = list(itertools.accumulate(loss for loss, _ in scored))
    count = bisect.bisect_left(held, loss_share * held[-1]) + 1
    return Chosen([text for _, text in scored[:count]], held[-1] / ids, flops)


@torch.no_grad()
def text_losses(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """For each row its answers' cross entropy, nats, summed over the ids."""
    rows = batch.answer.nonzero()[:, 0]
    return torch.zeros(len(batch.ids), device=rows.device).index_add(0, rows, answer_losses(model, batch))
