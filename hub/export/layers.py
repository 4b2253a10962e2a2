"""A model's layers one by one: what each is given and multiplies by, and the model run from one of them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def layers_of(model: Any) -> nn.ModuleList:
    """The model's layers."""
    count = model.config.num_hidden_layers
    return next(each for each in model.modules() if isinstance(each, nn.ModuleList) and len(each) == count)


def linears_of(layer: nn.Module) -> list[nn.Module]:
    """What a layer multiplies by."""
    return [each for each in layer.modules() if isinstance(each, nn.Linear) or type(each).__name__ == "Conv1D"]


def weight_of(linear: nn.Module) -> torch.Tensor:
    """The weight as [out, in]; Conv1D keeps it transposed."""
    weight: Any = linear.weight
    data: torch.Tensor = weight.data
    return data if isinstance(linear, nn.Linear) else data.T


Given = tuple[
    torch.Tensor, tuple[tuple[Any, ...], dict[str, Any]]
]  # hidden states, and the rest of what a layer is given


class _Stop(Exception):
    """Ends a forward that has been seen enough of."""


def inputs_of(model: Any, first: nn.Module, texts: Sequence[Sequence[int]]) -> list[Given]:
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


def run_layer(layer: nn.Module, hidden: torch.Tensor, given: tuple[tuple[Any, ...], dict[str, Any]]) -> torch.Tensor:
    """What the layer gives on."""
    args, kwargs = given
    output: Any = layer(hidden, *args, **kwargs)
    states: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return states


def groups_of(layer: nn.Module, inputs: Sequence[Given]) -> Iterator[list[nn.Module]]:
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
    run_layer(layer, *inputs[0])
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


def squares_of(layer: nn.Module, linear: nn.Module, inputs: Sequence[Given]) -> torch.Tensor:
    """The sum of x·xᵀ over what `linear` is given, [in, in]."""
    width = weight_of(linear).shape[1]
    total = torch.zeros(width, width)

    def note(_: nn.Module, args: tuple[Any, ...]) -> None:
        rows = args[0].reshape(-1, width)
        total.addmm_(rows.T, rows)
        raise _Stop

    with linear.register_forward_pre_hook(note):
        for hidden, given in inputs:
            try:
                run_layer(layer, hidden, given)
            except _Stop:
                continue
    return total


Packer = Callable[[torch.Tensor], Any]  # makes of hidden states what a layer gives on


def packer_of(layer: nn.Module, given: Given) -> Packer:
    """How the layer gives hidden states on: alone, or first of a tuple."""
    hidden, (args, kwargs) = given
    output: Any = layer(hidden, *args, **kwargs)
    if not isinstance(output, tuple):
        return lambda states: states
    rest = [None] * (len(output) - 1)
    return lambda states: (states, *rest)


@contextmanager
def resumed(layers: nn.ModuleList, place: int, hidden: torch.Tensor, pack: Packer) -> Iterator[None]:
    """While active, forwards of the model give `hidden` to the layer at `place`, 1 or more, and the layers before it compute nothing."""
    before: list[Any] = list(layers[:place])
    computing = [layer.forward for layer in before]
    for layer in before:
        layer.forward = lambda *_, **__: pack(hidden)
    try:
        yield
    finally:
        for layer, forward in zip(before, computing, strict=True):
            layer.forward = forward
