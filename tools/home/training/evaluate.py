"""The loss of a trained model on words that it never saw, the same dialogues for every run, so that runs can be compared."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from tools.home.data.invent import HELD_OUT
from tools.home.training.batches import batches
from tools.home.training.model import CONTEXT, DEVICE, answer_logits

_STREAM = "evaluation"
_BATCH_IDS = 4096


@dataclass(frozen=True)
class Evaluation:
    """Means over the ids of the answers."""

    loss: float  # cross entropy, nats
    top_id_right: float  # share of ids that the argmax, given the true text before, gets right


@torch.inference_mode()
def evaluate(model: LlamaForCausalLM, tokenizer: Tokenizer, count: int) -> Evaluation:
    """Measure `model` on the first `count` batches of the evaluation stream."""
    loss, right, ids = 0.0, 0, 0
    for batch in itertools.islice(batches(tokenizer, HELD_OUT, _BATCH_IDS, CONTEXT, _STREAM), count):
        there = batch.to(DEVICE)
        logits, true = answer_logits(model, there), there.ids[:, 1:][there.answer]
        loss += torch.nn.functional.cross_entropy(logits, true, reduction="sum").item()
        right += int((logits.argmax(-1) == true).sum())
        ids += len(true)
    return Evaluation(loss / ids, right / ids)
