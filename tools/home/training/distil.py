"""Trains the draft on the target's own answers, towards the target's distribution at each of their ids."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator

import torch
from transformers import LlamaForCausalLM

from tools.home.training.batches import Batch, Text, grouped
from tools.home.training.compute import forward_flops, training_flops
from tools.home.training.model import DEVICE, answer_logits
from tools.home.training.own_answers import answered_pool
from tools.home.training.recipe import Distillation
from tools.home.training.run import Run


def distil(run: Run, target: LlamaForCausalLM, dialogues: Iterator[Text], how: Distillation) -> None:
    """Train until the budget is spent, in turns: the target answers a pool of dialogues, the draft learns from it."""
    writer = copy.deepcopy(target).bfloat16()  # writing is bound by memory
    while not run.stage_is_over:
        stream = f"pool at step {run.spent.steps}"
        before = run.spent.seconds
        pool, flops = answered_pool(writer, list(itertools.islice(dialogues, how.pool)), how, stream)
        run.charge(flops)
        run.spent.answering_seconds += run.spent.seconds - before
        rng = random.Random(stream)
        for _ in range(how.passes):
            for batch in grouped(pool, run.recipe.batch_ids, rng):
                if not run.stage_is_over:
                    distil_step(run, target, batch.to(DEVICE))
    run.save()


def distil_step(run: Run, target: LlamaForCausalLM, batch: Batch) -> None:
    """One step on the divergence at the answers; the target's forward is paid for too."""
    rows, length = batch.ids.shape
    answers = int(batch.answer.sum())
    flops = forward_flops(target.config, rows, length, length, answers)
    flops += training_flops(run.model.config, rows, length, answers)
    run.step(divergence(target, run.model, batch), flops, rows * length)


def divergence(target: LlamaForCausalLM, draft: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """KL(target || draft) over the whole vocabulary, nats, mean over the answers' ids; gradients reach the draft alone."""
    with torch.no_grad():
        wanted = answer_logits(target, batch).log_softmax(-1)
    given = answer_logits(draft, batch).log_softmax(-1)
    return torch.nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
