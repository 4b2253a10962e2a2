"""SmolLM2-135M-Instruct as a target, in its own vocabulary and in another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM

from edge_node.drafting.translation import Translation
from shared.sampling import draw
from shared.sampling_parameters import Sampling

Logits = npt.NDArray[np.float32]


class Target:
    """The model in float32, by plain transformers."""

    def __init__(self, checkpoint: str, end_ids: frozenset[int]) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self._end_ids = end_ids

    def answer(self, prompt: Sequence[int], sampling: Sampling, most: int) -> list[int]:
        """The ids that it writes behind `prompt`."""
        return self._written(prompt, most, lambda logits, count: draw(logits, sampling, len(prompt) + count))

    def answer_in(
        self, translation: Translation, prompt: Sequence[int], position: int, sampling: Sampling, most: int
    ) -> list[int]:
        """The same model as one of `translation`'s target vocabulary: of its tokens, those that are in both can be written.

        Draws and returns ids of that vocabulary, the first at `position` in its own count.
        """
        common = np.flatnonzero(translation.to_target < translation.target.size)
        row = np.full(translation.target.size, -np.inf, np.float32)
        own = {int(translation.to_target[token]): int(token) for token in common}

        def choose(logits: Logits, count: int) -> int:
            row[translation.to_target[common]] = logits[common]
            return own[draw(row, sampling, position + count)]

        return [int(translation.to_target[token]) for token in self._written(prompt, most, choose)]

    @torch.inference_mode()
    def _written(self, prompt: Sequence[int], most: int, choose: Callable[[Logits, int], int]) -> list[int]:
        ids: list[int] = []
        feed, held = list(prompt), None
        while len(ids) < most:
            out = self._model(input_ids=torch.tensor([feed]), past_key_values=held, use_cache=True)
            held = out.past_key_values
            ids.append(choose(out.logits[0, -1].numpy(), len(ids)))
            if ids[-1] in self._end_ids:
                break
            feed = ids[-1:]
        return ids
