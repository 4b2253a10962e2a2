"""What each layer of a model is worth: how far what the model says goes wrong when that layer alone is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hub.export.rounding import layers_of
from hub.pairing.answers import Answered


@torch.inference_mode()
def worth_of_layers(
    model: Any, texts: Sequence[Answered], on_layer: Callable[[int], None] = lambda _: None
) -> list[float]:
    """By layer, the mean Kullback-Leibler divergence in nats of what the model says without it from what it says with it, in answers."""
    plain = [_said(model, text) for text in texts]
    worth = []
    for layer in layers_of(model):
        with _left_out(layer):
            apart = [
                nn.functional.kl_div(_said(model, text), said, log_target=True, reduction="none").sum(-1)
                for text, said in zip(texts, plain, strict=True)
            ]
        worth.append(float(torch.cat(apart).mean()))
        on_layer(1)
    return worth


def most_worth(worth: Sequence[float], count: int) -> list[int]:
    """The `count` layers that are worth most, in their order; the first and the last are always among them where two are kept or more."""
    ends = {0, len(worth) - 1} if count > 1 else set()
    ranked = sorted(range(len(worth)), key=lambda layer: (layer not in ends, -worth[layer]))
    return sorted(ranked[:count])


def _said(model: Any, text: Answered) -> torch.Tensor:
    """Log probabilities at the positions of the answer, [ids, vocab]."""
    logits = model(input_ids=torch.tensor([text.ids]), use_cache=False).logits[0, text.prompt - 1 : -1]
    return torch.log_softmax(logits.float(), -1)


@contextmanager
def _left_out(layer: nn.Module) -> Iterator[None]:
    """While active, the layer gives on what it is given."""

    def pass_on(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    with layer.register_forward_hook(pass_on, with_kwargs=True):
        yield
