"""The target's own answers, many at once: what the draft learns from."""

from __future__ import annotations

import random

import torch
from transformers import DynamicCache, LlamaForCausalLM

from tools.home.batches import Text
from tools.home.compute import forward_flops
from tools.home.recipe import Distillation


def answered_pool(target: LlamaForCausalLM, pool: list[Text], how: Distillation, stream: str) -> tuple[list[Text], int]:
    """The dialogues of `pool` with last answers by `target`, and the floating-point operations that they took."""
    rng = random.Random(stream)
    torch.manual_seed(rng.getrandbits(63))
    ordered = sorted(pool, key=lambda text: len(text.prompt))
    result: list[Text] = []
    flops = 0
    for start in range(0, len(ordered), how.rows):
        texts = ordered[start : start + how.rows]
        temperatures = [how.temperature if rng.random() < how.sampled else 0.0 for _ in texts]
        answers, cost = answers_of(target, [text.prompt for text in texts], temperatures, how.longest_answer)
        result += [text.answered(answer) for text, answer in zip(texts, answers, strict=True)]
        flops += cost
    return result, flops


@torch.inference_mode()
def answers_of(
    target: LlamaForCausalLM, prompts: list[list[int]], temperatures: list[float], longest: int
) -> tuple[list[list[int]], int]:
    """For each prompt up to `longest` ids, the end included, and what they cost; temperature 0 is greedy."""
    device = target.device
    answers: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))  # the prompts that the rows of the tensors below belong to
    ids, mask = _left_padded(prompts, device)
    temperature = torch.tensor(temperatures, device=device)
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
            ids, mask, temperature, alive = ids[kept], mask[kept], temperature[kept], [alive[i] for i in going]
            cache.batch_select_indices(kept)
    return answers, flops


def _choose(logits: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """Ids [rows] of logits [rows, vocabulary]: rows of temperature 0 take the argmax, others draw by the Gumbel trick."""
    drawn = temperature.nonzero()[:, 0]
    noise = -torch.empty_like(logits[drawn], dtype=torch.float32).exponential_().log_()
    noisy = logits.float()
    noisy[drawn] += temperature[drawn, None] * noise
    return noisy.argmax(-1)


def _left_padded(prompts: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, both [rows, longest prompt]: a new id is then the last of every row."""
    length = max(map(len, prompts))
    ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask
