"""Rounds a model's layers to few bits, one after the other, each by what it is given once those before it are rounded.

The weights in the model become what the rounded ones stand for, so that the model says what a graph with these numbers will say, up to
the rounding of activations. `Grid` finds the numbers again, by the rows of the weights: a graph has them joined and transposed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hub.export.gptq import Rounded, round_weight

BLOCKS = (64, 32)  # numbers along a row of a weight that share a scale: the first that divides the row
_DIGEST = 16  # bytes of a row's hash


class QuantizeError(Exception):
    """A weight cannot be quantized; the text says why."""


@dataclass
class Grid:
    """What rows of weights were rounded to, by the hashes of what they stand for now."""

    _rows: dict[bytes, tuple[Rounded, int]] = field(default_factory=dict)

    def add(self, rounded: Rounded) -> None:
        """Remember the rows of a weight."""
        for place, row in enumerate(rounded.weight().numpy()):
            self._rows[_hash(row)] = rounded, place

    def find(self, rows: npt.NDArray[np.float32]) -> Rounded | None:
        """What a weight [out, in] was rounded to, if all its rows are known, in as many bits."""
        found = [self._rows.get(_hash(row)) for row in rows]
        known = [each for each in found if each is not None]
        if len(known) < len(found) or len({each.bits for each, _ in known}) != 1:
            return None
        parts: list[list[torch.Tensor]] = [
            [getattr(each, name)[place] for each, place in known] for name in ("numbers", "scales", "zeros")
        ]
        numbers, scales, zeros = map(torch.stack, parts)
        return Rounded(numbers, scales, zeros, known[0][0].bits)


def _hash(row: npt.NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=_DIGEST).digest()


def block_size(width: int) -> int:
    """How many numbers of a row of that many share a scale. Raises QuantizeError."""
    for size in BLOCKS:
        if width % size == 0:
            return size
    raise QuantizeError(f"a weight has rows of {width}: fewer bits need a multiple of {BLOCKS[-1]}")


@torch.no_grad()
def round_layers(
    model: Any,
    bits: Sequence[int | None],
    texts: Sequence[Sequence[int]],
    on_layer: Callable[[], None] = lambda: None,
) -> Grid:
    """Round the linear layers of each of the model's layers, in place, to as many bits as `bits` has for it; None leaves it.

    `texts` are ids that the model is given to see what its layers are given; without any, every number is rounded to the nearest.
    `on_layer` is called when a layer is done. Raises QuantizeError.
    """
    grid = Grid()
    layers = layers_of(model)
    inputs = _inputs(model, layers[0], texts)
    for layer, wanted in zip(layers, bits, strict=True):
        if wanted is not None:
            for group in _groups(layer, inputs):
                squares = _squares(layer, group[0], inputs) if inputs else None
                for linear in group:
                    rounded = round_weight(_weight(linear), wanted, block_size(_weight(linear).shape[1]), squares)
                    _weight(linear).copy_(rounded.weight())
                    grid.add(rounded)
        inputs = [(_run(layer, hidden, given), given) for hidden, given in inputs]
        on_layer()
    return grid


def layers_of(model: Any) -> nn.ModuleList:
    """The model's layers."""
    count = model.config.num_hidden_layers
    return next(each for each in model.modules() if isinstance(each, nn.ModuleList) and len(each) == count)


def linears_of(layer: nn.Module) -> list[nn.Module]:
    """What a layer multiplies by."""
    return [each for each in layer.modules() if isinstance(each, nn.Linear) or type(each).__name__ == "Conv1D"]


def _weight(linear: nn.Module) -> torch.Tensor:
    """The weight as [out, in]; Conv1D keeps it transposed."""
    weight: Any = linear.weight
    data: torch.Tensor = weight.data
    return data if isinstance(linear, nn.Linear) else data.T


Given = tuple[
    torch.Tensor, tuple[tuple[Any, ...], dict[str, Any]]
]  # hidden states, and the rest of what a layer is given


class _Stop(Exception):
    """Ends a forward that has been seen enough of."""


def _inputs(model: Any, first: nn.Module, texts: Sequence[Sequence[int]]) -> list[Given]:
    """What the first layer is given for each text."""
    seen: list[Given] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden, *rest = args or (kwargs.pop("hidden_states"),)
        seen.append((hidden, (tuple(rest), kwargs)))
        raise _Stop

    with first.register_forward_pre_hook(note, with_kwargs=True):
        for text in texts:
            try:
                model(input_ids=torch.tensor([list(text)]), use_cache=False)
            except _Stop:
                continue
    return seen


def _run(layer: nn.Module, hidden: torch.Tensor, given: tuple[tuple[Any, ...], dict[str, Any]]) -> torch.Tensor:
    args, kwargs = given
    output: Any = layer(hidden, *args, **kwargs)
    states: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return states


def _groups(layer: nn.Module, inputs: Sequence[Given]) -> Iterator[list[nn.Module]]:
    """The layer's linear layers in the order in which they are computed, those together that are given the same."""
    linears = linears_of(layer)
    if not inputs:
        yield from ([linear] for linear in linears)
        return
    order: list[tuple[int, nn.Module]] = []
    hooks = [
        linear.register_forward_pre_hook(lambda module, args: order.append((args[0].data_ptr(), module)))
        for linear in linears
    ]
    _run(layer, *inputs[0])
    for hook in hooks:
        hook.remove()
    group: list[nn.Module] = []
    for place, (source, linear) in enumerate(order):
        if group and source != order[place - 1][0]:
            yield group
            group = []
        group.append(linear)
    if group:
        yield group


def _squares(layer: nn.Module, linear: nn.Module, inputs: Sequence[Given]) -> torch.Tensor:
    """The sum of x·xᵀ over what `linear` is given, [in, in]."""
    width = _weight(linear).shape[1]
    total = torch.zeros(width, width)

    def note(_: nn.Module, args: tuple[Any, ...]) -> None:
        rows = args[0].reshape(-1, width)
        total.addmm_(rows.T, rows)
        raise _Stop

    with linear.register_forward_pre_hook(note):
        for hidden, given in inputs:
            try:
                _run(layer, hidden, given)
            except _Stop:
                continue
    return total
