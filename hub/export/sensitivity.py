"""How sensitive each layer of a model is: what changes in what the model says when that layer alone has few bits, or is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from hub.export.gptq import round_weight
from hub.export.layers import (
    Given,
    Packer,
    groups_of,
    inputs_of,
    layers_of,
    packer_of,
    resumed,
    run_layer,
    squares_of,
    weight_of,
)
from hub.export.rounded import MOST_BITS

OUT = 0  # in place of bits: the layer is left out
_MOST_NUMBERS = 1.5e8  # of the distributions that are compared: 600 MB


class Text(Protocol):
    """A prompt and an answer, as ids; the answer begins at `prompt`."""

    @property
    def ids(self) -> Sequence[int]:
        """All of them."""

    @property
    def prompt(self) -> int:
        """How many are the prompt's."""


@dataclass(frozen=True)
class Loss:
    """How far what a changed model says is from what the model says, at each id of answers."""

    divergence: float  # mean Kullback-Leibler divergence in nats
    changed: float  # share of greedy ids that are others


@torch.no_grad()
def sensitivities(
    model: Any,
    texts: Sequence[Text],
    choices: Sequence[int],
    calibration: Sequence[Sequence[int]] = (),
    on_layer: Callable[[int], None] = lambda _: None,
) -> list[dict[int, Loss]]:
    """By layer, and by each of `choices`, bits or OUT: what is lost in the answers of `texts`, as many as there is memory for.

    Weights are rounded by what the layer is given for `calibration`, texts of ids. `on_layer` is told of each layer that is done.
    Raises QuantizeError.
    """
    texts = texts[: _that_fit(model, texts)]
    layers = layers_of(model)
    plain = [_said(model, text) for text in texts]
    inputs, seen = (inputs_of(model, layers[0], ids) for ids in ([text.ids for text in texts], calibration))
    pack = packer_of(layers[0], inputs[0])
    found = []
    for place, layer in enumerate(layers):
        squares = _squares(layer, seen)
        losses = {}
        for bits in choices:
            start = place + 1 if bits == OUT else place
            with _rounded(bits, squares) if bits != OUT else nullcontext():
                losses[bits] = _mean(
                    [
                        _compared(_from(model, start, text, hidden, pack), said)
                        for text, (hidden, _), said in zip(texts, inputs, plain, strict=True)
                    ]
                )
        found.append(losses)
        inputs, seen = ([(run_layer(layer, hidden, given), given) for hidden, given in some] for some in (inputs, seen))
        on_layer(1)
    return found


@torch.inference_mode()
def agreement(model: Any, texts: Sequence[Text]) -> float:
    """The share of the ids of answers at which the model's greedy choice is that id."""
    same = compared = 0
    for text in texts:
        said = torch.tensor(list(text.ids[text.prompt :]))
        same += int((_said(model, text).argmax(-1) == said).sum())
        compared += len(said)
    return same / max(1, compared)


@torch.inference_mode()
def what_it_says(model: Any, texts: Sequence[Text]) -> list[torch.Tensor]:
    """Log probabilities [ids, vocab] at the positions of the answers, of as many texts as there is memory for."""
    return [_said(model, text) for text in texts[: _that_fit(model, texts)]]


def loss_between(said: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> Loss:
    """How far the distributions `said` are from those that are wanted."""
    return _mean([_compared(*each) for each in zip(said, wanted, strict=True)])


def _that_fit(model: Any, texts: Sequence[Text]) -> int:
    numbers = 0
    for count, text in enumerate(texts):
        numbers += (len(text.ids) - text.prompt) * model.config.vocab_size
        if numbers > _MOST_NUMBERS:
            return max(1, count)
    return len(texts)


def _said(model: Any, text: Text) -> torch.Tensor:
    """Log probabilities at the positions of the answer, [ids, vocab]."""
    logits = model(input_ids=torch.tensor([list(text.ids)]), use_cache=False).logits[0, text.prompt - 1 : -1]
    return torch.log_softmax(logits.float(), -1)


def _from(model: Any, place: int, text: Text, hidden: torch.Tensor, pack: Packer) -> torch.Tensor:
    """The same, where the layer at `place` is given `hidden`."""
    with resumed(layers_of(model), place, hidden, pack) if place else nullcontext():
        return _said(model, text)


def _compared(said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """[ids, 2]: the divergence and whether the greedy id is another."""
    apart = nn.functional.kl_div(said, wanted, log_target=True, reduction="none").sum(-1)
    return torch.stack([apart, (said.argmax(-1) != wanted.argmax(-1)).float()], 1)


def _mean(parts: Sequence[torch.Tensor]) -> Loss:
    divergence, changed = torch.cat(list(parts)).mean(0).tolist()
    return Loss(max(0.0, divergence), changed)


def _squares(layer: nn.Module, seen: Sequence[Given]) -> dict[nn.Module, torch.Tensor | None]:
    """By each of the layer's linear layers, the sum of x·xᵀ over what it is given."""
    found: dict[nn.Module, torch.Tensor | None] = {}
    for group in groups_of(layer, seen):
        squares = squares_of(layer, group[0], seen) if seen else None
        found |= dict.fromkeys(group, squares)
    return found


@contextmanager
def _rounded(bits: int, squares: dict[nn.Module, torch.Tensor | None]) -> Iterator[None]:
    """While active, the weights of those linear layers have so few bits."""
    before = {linear: weight_of(linear).clone() for linear in squares}
    try:
        for linear, seen in squares.items():
            weight = weight_of(linear)
            calibrated = seen if bits < MOST_BITS else None
            weight.copy_(round_weight(weight, bits, calibrated).weight())
        yield
    finally:
        for linear, weight in before.items():
            weight_of(linear).copy_(weight)
