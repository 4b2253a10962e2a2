"""The largest acceptance that any coupling of target and draft could give.

Of a token from p and one from q, drawn however jointly, the two are equal with probability at most
1 - TV(p, q) = sum over v of min(p(v), q(v)), and a maximal coupling reaches that (Leviathan, Kalman and Matias 2023 accept
with it). The rule of docs/sampling.md, which shares only noise, lies below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM

from edge_node.dialogue.answer import Answer
from edge_node.drafting.onnx_drafter import OnnxDrafter
from shared.sampling_parameters import Sampling

Reals = npt.NDArray[np.float64]


def probabilities(logits: npt.NDArray[np.floating], sampling: Sampling) -> Reals:
    """The distributions [rows, vocab] that the sampling rule draws from, for rows of logits; temperature above 0."""
    exact = logits.astype(np.float64)
    weights: Reals = np.exp((exact - exact.max(axis=1, keepdims=True)) / sampling.temperature)
    if sampling.top_k or sampling.top_p < 1:
        order = np.argsort(-exact, axis=1, kind="stable")  # falling logits, ties by rising id
        falling = np.take_along_axis(weights, order, axis=1)
        if sampling.top_k:
            falling[:, sampling.top_k :] = 0
        before = np.cumsum(falling, axis=1) - falling
        falling[before >= sampling.top_p * falling.sum(axis=1, keepdims=True)] = 0
        np.put_along_axis(weights, order, falling, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def overlap(p: Reals, q: Reals) -> Reals:
    """1 - TV of the rows of p and q [rows, vocab]."""
    shared: Reals = np.minimum(p, q).sum(axis=1)
    return shared


def judged(answer: Answer, length: int) -> list[int]:
    """The places in `answer.ids` at which the target looked at a drafted token, for blocks of `length` tokens.

    The first id of an answer is the target's alone, and so is the one behind a block that was accepted as a whole.
    """
    places: list[int] = []
    start = 1
    for accepted in answer.stats.accepted_by_round:
        looked = accepted + (accepted < length)
        places += range(start, min(start + looked, len(answer.ids)))
        start += accepted + 1
    return places


class Coupling:
    """Target and draft side by side along texts; `checkpoint` is the target's folder."""

    def __init__(self, checkpoint: str, drafter: OnnxDrafter) -> None:
        self._target = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self._drafter = drafter

    def best(self, prompt: Sequence[int], answer: Sequence[int], places: Sequence[int], sampling: Sampling) -> Reals:
        """1 - TV of target and draft at `places` of the answer, rising, each given all the ids before it."""
        if not places:
            return np.empty(0)
        ids = [*prompt, *answer]
        ends = [len(prompt) + place for place in places]
        p = probabilities(self._target_logits(ids[: ends[-1]], ends), sampling)
        q = probabilities(self._draft_logits(ids, ends), sampling)
        return overlap(p, q)

    @torch.inference_mode()
    def _target_logits(self, ids: Sequence[int], ends: Sequence[int]) -> npt.NDArray[np.float32]:
        wanted = torch.tensor(ends) - 1
        rows = self._target(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=wanted).logits[0]
        found: npt.NDArray[np.float32] = rows[:, : self._drafter.vocab_size].numpy()
        return found

    def _draft_logits(self, ids: Sequence[int], ends: Sequence[int]) -> npt.NDArray[np.float32]:
        """The drafter gives logits behind the last id alone, so it is fed from place to place."""
        self._drafter.align(ids[: ends[0]])
        return np.array([self._drafter.feed(ids[len(self._drafter.held) : end]).copy() for end in ends])
