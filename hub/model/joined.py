"""Layers that are given the same input, multiplied as one: of few rows, a product costs by the call.

Architectures of `transformers` call their queries', keys' and values' layers with one tensor, and so the two that lead into a gated MLP.
The first of them that is called computes for all; the others take what is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

_NAMES = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # of layers in one module


class Joined(nn.Module):
    """The product of several layers, which keeps their outputs until each was taken."""

    def __init__(self, product: nn.Module, sizes: Sequence[int]) -> None:
        """`product` gives the outputs [..., sum of sizes] of all layers, one behind the other."""
        super().__init__()
        self.product = product
        self._sizes = list(sizes)
        self._input: torch.Tensor | None = None
        self._waiting: dict[int, torch.Tensor] = {}

    def take(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """What the layer at `place` gives for `x`."""
        if self._input is not x or place not in self._waiting:
            self._input = x
            self._waiting = dict(enumerate(self.product(x).split(self._sizes, -1)))
        y = self._waiting.pop(place)
        if not self._waiting:
            self._input = None
        return y


class JoinedPart(nn.Module):
    """x [..., in] -> y [..., out] as one of the layers gave it. The numbers of a row lie together, not its rows."""

    def __init__(self, joined: Joined, place: int) -> None:
        super().__init__()
        self.joined = joined
        self._place = place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply, or take what was multiplied with the layer before."""
        return self.joined.take(x, self._place)


def join_layers(model: nn.Module, made: Callable[[Sequence[nn.Linear]], nn.Module]) -> None:
    """Put one product in place of the linear layers that architectures give one input; it is `made` of them."""
    for module in list(model.modules()):
        for names in _NAMES:
            layers = [layer for name in names if type(layer := getattr(module, name, None)) is nn.Linear]
            kinds = {(layer.in_features, layer.bias is None) for layer in layers}
            if len(layers) == len(names) and len(kinds) == 1:
                joined = Joined(made(layers), [layer.out_features for layer in layers])
                for place, name in enumerate(names):
                    setattr(module, name, JoinedPart(joined, place))
