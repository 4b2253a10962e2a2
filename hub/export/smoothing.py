"""Makes the channels that are multiplied alike in size, as activations are rounded in blocks: one large channel leaves the others of its block few levels.

A norm's weight is divided by a factor for each channel, and the columns of the weights behind it are multiplied by it (Xiao et al.,
"SmoothQuant", 2023): the model says the same. Where that is so is found by trying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from hub.export.layers import linears_of, weight_of

_SEEN = 8  # texts by which channels are measured
_TRIED_IDS = 64  # ids by which is looked whether the model says the same
_SHARE = 0.8  # exponent of a channel's size in its factor; the weights' column has the rest
_SAME = 1e-3  # of the logits' spread: the largest difference that is left to another order of sums
_FORMS = (0.0, 1.0)  # what a norm adds to its weight


@dataclass
class _Norm:
    """A norm, and the linear layers that are given what it gives."""

    module: Any
    squares: torch.Tensor  # sum over the inputs seen, of each channel
    readers: dict[int, nn.Module] = field(default_factory=dict)  # by their identity


@torch.no_grad()
def smooth(model: Any, layers: Sequence[nn.Module], texts: Sequence[Sequence[int]], *, head: bool = False) -> None:
    """Smooth what the linear layers of `layers` are given, and the `head` with it, in place, by `texts` of ids.

    A head that shares its weight with the embedding goes on to share it: what is looked up is divided again.
    """
    linears = [linear for layer in layers for linear in linears_of(layer)]
    if head:
        linears.append(model.get_output_embeddings())
    if not texts or not linears:
        return
    tried = torch.tensor([list(texts[0][:_TRIED_IDS])])
    wanted = model(input_ids=tried, use_cache=False).logits
    for added in _FORMS:
        before = {id(p): (p, p.data.clone()) for p in _changing(model, linears)}
        undo = _apply(model, _norms(model, linears, texts), added)
        apart = model(input_ids=tried, use_cache=False).logits - wanted
        if float(apart.abs().max()) <= _SAME * float(wanted.std()):
            return
        undo()
        for parameter, data in before.values():
            parameter.data.copy_(data)


def _changing(model: Any, linears: Sequence[nn.Module]) -> Iterator[nn.Parameter]:
    yield from (linear.weight for linear in linears)  # type: ignore[misc]
    yield from (parameter for parameter in model.parameters() if parameter.ndim == 1)


def _norms(model: Any, linears: Sequence[nn.Module], texts: Sequence[Sequence[int]]) -> Sequence[_Norm]:
    """The norms that the linear layers read, as far as all that read one are among them."""
    found: dict[int, _Norm] = {}
    given: dict[int, tuple[torch.Tensor, Any]] = {}  # what norms gave in this forward, which stays in memory meanwhile

    def gave(norm: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            given[output.data_ptr()] = output, norm

    def read(linear: nn.Module, args: tuple[Any, ...]) -> None:
        if not args or args[0].data_ptr() not in given:
            return
        values, norm = given[args[0].data_ptr()]
        channels = values.reshape(-1, values.shape[-1])
        known = found.setdefault(id(norm), _Norm(norm, torch.zeros(channels.shape[1])))
        if not known.readers or next(iter(known.readers)) == id(linear):
            known.squares += channels.square().sum(0)
        known.readers[id(linear)] = linear

    with ExitStack() as hooks:
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.ndim == 1 and not list(module.children()):
                hooks.enter_context(_hooked(module.register_forward_hook(gave)))
        for linear in linears:
            hooks.enter_context(_hooked(linear.register_forward_pre_hook(read)))
        for text in texts[:_SEEN]:
            given.clear()
            model(input_ids=torch.tensor([list(text)]), use_cache=False)
    return list(found.values())


@contextmanager
def _hooked(handle: Any) -> Iterator[None]:
    with handle:
        yield


def _apply(model: Any, norms: Sequence[_Norm], added: float) -> Callable[[], None]:
    """Change norms and weights; what takes the division of the embedding back."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    handles: list[Any] = []
    for norm in norms:
        factors = _factors(norm)
        norm.module.weight.data = (norm.module.weight.data + added) / factors - added
        if getattr(norm.module, "bias", None) is not None:
            norm.module.bias.data /= factors
        for linear in norm.readers.values():
            weight_of(linear).mul_(factors)
            if linear is head and linear.weight is embedding.weight:
                handles.append(embedding.register_forward_hook(lambda _, __, rows, by=factors: rows / by))

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo


def _factors(norm: _Norm) -> torch.Tensor:
    """Of each channel, with a geometric mean of 1."""
    size = norm.squares.sqrt().clamp_min(1e-6)
    column = torch.stack([weight_of(linear).abs().amax(0) for linear in norm.readers.values()]).amax(0).clamp_min(1e-6)
    factors = size**_SHARE / column ** (1 - _SHARE)
    return factors / factors.log().mean().exp()
