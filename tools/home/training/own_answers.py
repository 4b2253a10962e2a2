"""The target's own answers, many at once: what the draft learns from."""

from __future__ import annotations

import random

import torch
from transformers import DynamicCache, LlamaForCausalLM

from tools.home.training.batches import Text, grouped
from tools.home.training.compute import forward_flops
from tools.home.training.model import answer_logits
from tools.home.training.recipe import Distillation


def answered_pool(target: LlamaForCausalLM, pool: list[Text], how: Distillation, stream: str) -> tuple[list[Text], int]:
    """The dialogues of `pool` with last answers by `target`, and the floating-point operations that they took.

    Some are drawn, the others greedy. Most greedy ones are the answers that the pool has already, which one pass over all
    their ids tells; only the rest is written id by id.
    """
    rng = random.Random(stream)
    torch.manual_seed(rng.getrandbits(63))
    sampled: list[Text] = []
    greedy: list[Text] = []
    for text in pool:
        (sampled if rng.random() < how.sampled else greedy).append(text)
    result, others, flops = _sorted_out(target, greedy, how, rng)
    for texts, temperature in ((sampled, how.temperature), (others, 0.0)):
        ordered = sorted(texts, key=lambda text: len(text.prompt))
        for start in range(0, len(ordered), how.rows):
            rows = ordered[start : start + how.rows]
            answers, cost = answers_of(target, [text.prompt for text in rows], temperature, how.longest_answer)
            result += [text.answered(answer) for text, answer in zip(rows, answers, strict=True)]
            flops += cost
    return result, flops


@torch.inference_mode()
def _sorted_out(
    target: LlamaForCausalLM, texts: list[Text], how: Distillation, rng: random.Random
) -> tuple[list[Text], list[Text], int]:
    """The texts whose last answer is the target's own greedy one, the others, and what telling them apart cost."""
    own: list[Text] = []
    others: list[Text] = []
    flops = 0
    for batch in grouped(texts, how.pass_ids, rng):
        there = batch.last_answers().to(target.device)
        differs = answer_logits(target, there).argmax(-1) != there.ids[:, 1:][there.answer]
        wrong = set(there.answer.nonzero()[differs, 0].tolist())
        for row, text in enumerate(batch.texts):
            (others if row in wrong else own).append(text)
        rows, length = batch.ids.shape
        flops += forward_flops(target.config, rows, length, length, len(differs))
    return own, others, flops


@torch.inference_mode()
def answers_of(
    target: LlamaForCausalLM, prompts: list[list[int]], temperature: float, longest: int
) -> tuple[list[list[int]], int]:
    """For each prompt up to `longest` ids, the end included, and what they cost; temperature 0 is greedy."""
    device = target.device
    answers: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))  # the prompts that the rows of the tensors below belong to
    ids, mask = _left_padded(prompts, device)
    cache = DynamicCache()
    flops = 0
    for _ in range(longest):
        rows, queries = ids.shape
        flops += forward_flops(target.config, rows, queries, mask.shape[1], heads=rows)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -queries:]
        output = target(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1)
        chosen = _choose(output.logits[:, -1], temperature)
        for row, token in zip(alive, chosen.tolist(), strict=True):
            if not answers[row] or answers[row][-1] != target.config.eos_token_id:
                answers[row].append(token)
        going = [i for i, row in enumerate(alive) if answers[row][-1] != target.config.eos_token_id]
        if not going:
            break
        ids, mask = chosen[:, None], torch.nn.functional.pad(mask, (0, 1), value=1)
        if len(going) <= 0.75 * len(alive):  # finished rows are dropped now and then: each time copies the cache
            kept = torch.tensor(going, device=device)
            ids, mask, alive = ids[kept], mask[kept], [alive[i] for i in going]
            cache.batch_select_indices(kept)
    return answers, flops


def _choose(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Ids [rows] of logits [rows, vocabulary]: the argmax, or with a temperature a draw by the Gumbel trick."""
    if temperature:
        logits = logits.float() - temperature * torch.empty_like(logits, dtype=torch.float32).exponential_().log_()
    return logits.argmax(-1)


def _left_padded(prompts: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, both [rows, longest prompt]: a new id is then the last of every row."""
    length = max(map(len, prompts))
    ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask
