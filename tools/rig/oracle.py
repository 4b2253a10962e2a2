"""The oracle of every test of exactness: the target decoding alone, by plain `transformers`, and a sampler of its own.

Nothing here is shared with the product but the model's weights: the whole prefix goes through the model for every
token, without a cache, and the sampling rule is written again from docs/sampling.md, with noise for every id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM

_WORD = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Rule:
    """Sampling parameters, as the oracle takes them."""

    temperature: float
    top_k: int
    top_p: float
    seed: int


class Oracle:
    """A target that decodes alone."""

    def __init__(
        self,
        checkpoint: str,
        vocab_size: int,
        end_ids: Sequence[int],
        context: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        # Other attentions of transformers leave out what some architectures have beyond softmax, a cap on scores for instance.
        self._model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, attn_implementation="eager").eval()
        self._vocab_size = vocab_size
        self._end_ids = frozenset(end_ids)
        self._context = context

    @torch.inference_mode()
    def answer(self, prompt: Sequence[int], rule: Rule, max_tokens: int) -> list[int]:
        """The ids that the target writes behind `prompt`, the end-of-turn id included."""
        ids = list(prompt)
        while len(ids) < min(len(prompt) + max_tokens, self._context):
            logits = self._model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(choose(logits.double().numpy()[: self._vocab_size], rule, len(ids)))
            if ids[-1] in self._end_ids:
                break
        return ids[len(prompt) :]

    @torch.inference_mode()
    def logits(self, prompt: Sequence[int], answer: Sequence[int]) -> npt.NDArray[np.float64]:
        """Logits [ids of the answer + 1, vocab] of one pass: what each of its ids, and one behind them, is drawn from."""
        logits = self._model(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0, len(prompt) - 1 :]
        rows: npt.NDArray[np.float64] = logits.double().numpy()[:, : self._vocab_size]
        return rows

    def confirm(self, prompt: Sequence[int], answer: Sequence[int], rule: Rule, max_tokens: int) -> list[int]:
        """What `answer` gives, sooner when the given ids are right.

        One pass over prompt and ids shows the logits at every position. If the target draws each id from the ids before
        it, and stops where they do, then by induction it writes just them; else it decodes alone.
        """
        rows = self.logits(prompt, answer)
        drawn = [choose(rows[i], rule, len(prompt) + i) for i in range(len(answer))]
        full = len(answer) == max_tokens or len(prompt) + len(answer) == self._context
        ends = [i for i, token in enumerate(drawn) if token in self._end_ids]
        if drawn == list(answer) and (ends == [len(answer) - 1] or (full and not ends)):
            return drawn
        return self.answer(prompt, rule, max_tokens)


def choose(logits: npt.NDArray[np.float64], rule: Rule, position: int) -> int:
    """The token at `position`, by the rule of docs/sampling.md without its shortcuts."""
    order = np.lexsort((np.arange(len(logits)), -logits))  # falling logits, ties by rising id
    if rule.temperature == 0:
        return int(order[0])
    scaled = logits / rule.temperature
    if rule.top_k:
        order = order[: rule.top_k]
    if rule.top_p < 1:
        weights = np.floor(np.exp((logits[order] - logits[order[0]]) / rule.temperature) * 2**40)
        before = np.cumsum(weights) - weights
        order = order[before < rule.top_p * weights.sum()]
    kept = np.sort(order)
    scores = scaled[kept] + _gumbel(noise_hash(rule.seed, position, kept))
    return int(kept[np.argmax(scores)])  # the first of equals: the smallest id


def _gumbel(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    uniform = (hashes.astype(np.float64) + 0.5) / 2**32
    return -np.log(-np.log1p(-uniform))


def noise_hash(seed: int, position: int, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """The 32-bit hashes of `tokens` at `position`."""
    key = _mix64(_mix64(_mix64(1) ^ seed) ^ position)
    return _mix32(_mix32(tokens.astype(np.uint64) ^ np.uint64(key >> 32)) ^ np.uint64(key & 0xFFFFFFFF))


def _mix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _WORD
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        x = (x ^ (x >> shift)) * factor & _WORD
    return x


def _mix32(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97), (15, 1)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return x
