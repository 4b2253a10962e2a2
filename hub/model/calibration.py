"""What a model's linear layers are given, in texts that the model writes itself: by that, rounding knows which inputs count.

A model writes its own kind of text, whatever that is; no data has to come with a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hub.model.attention_tables import use_attention

_TEXTS = 8
_LENGTH = 48  # ids of each
_KEPT = 96  # positions whose inputs are kept
_PLAIN = "eager"  # an attention of transformers that every architecture has


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes with one thread in this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
@one_thread()
def inputs_of(model: Any, attention: str) -> dict[nn.Module, torch.Tensor]:
    """Inputs [positions, in], in float32, of every linear layer that was called, by the layer.

    It is computed by one thread: by several the sums would be others, and so the texts. The model's attention is the function called `attention` again afterwards. Raises what an architecture raises that can't do without it.
    """
    generator = torch.Generator().manual_seed(0)
    use_attention(model, _PLAIN)
    try:
        vocabulary = model.get_input_embeddings().num_embeddings
        ids = torch.randint(vocabulary, (_TEXTS, 1), generator=generator)
        past = None
        for _ in range(_LENGTH - 1):
            told = model(input_ids=ids if past is None else ids[:, -1:], past_key_values=past, use_cache=True)
            past = told.past_key_values
            chances = told.logits[:, -1].float().softmax(-1)
            ids = torch.cat([ids, torch.multinomial(chances, 1, generator=generator)], 1)
        places = torch.randperm(_TEXTS * _LENGTH, generator=generator)[:_KEPT]
        with _noting(model, places) as found:
            model(input_ids=ids, use_cache=False)
        return found
    finally:
        use_attention(model, attention)


@contextmanager
def _noting(model: nn.Module, places: torch.Tensor) -> Iterator[dict[nn.Module, torch.Tensor]]:
    found: dict[nn.Module, torch.Tensor] = {}

    def note(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        rows = given[0].reshape(-1, given[0].shape[-1])
        found[module] = rows[places[places < len(rows)]].float()

    hooks = [module.register_forward_pre_hook(note) for module in model.modules() if type(module) is nn.Linear]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
