"""Makes the channels that are multiplied alike in size, as activations are rounded in blocks: one large channel leaves the others of its block few levels.

A channel is divided by a factor where it is made, and the columns of the weights behind it are multiplied by it (Xiao et al., "SmoothQuant",
2023): the model says the same. It is made by a norm, or by a linear layer with nothing behind it but a product, as `up` of a feed-forward part
with gates is. Where that is so is found by trying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from hub.export.layers import linears_of, weight_of

_SEEN = 8  # texts by which channels are measured
_TRIED_IDS = 64  # ids by which is looked whether the model says the same
_SHARE = 0.5  # exponent of a channel's size in its factor; the weights' column has the rest
_SAME = 1e-3  # of the logits' spread: the largest difference that is left to another order of sums
_FORMS = (0.0, 1.0)  # what a norm adds to its weight


@dataclass(frozen=True)
class _Made:
    """Channels, by what makes them, and the linear layers that are given them."""

    maker: Any
    readers: tuple[nn.Module, ...]
    squares: torch.Tensor  # sum over the inputs seen, of each channel

    @property
    def factors(self) -> torch.Tensor:
        """Of each channel, with a geometric mean of 1."""
        size = self.squares.sqrt().clamp_min(1e-6)
        column = torch.stack([weight_of(linear).abs().amax(0) for linear in self.readers]).amax(0).clamp_min(1e-6)
        factors = size**_SHARE / column ** (1 - _SHARE)
        return factors / factors.log().mean().exp()


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
    norms, given = _look(model, linears, texts)
    tried = torch.tensor([list(texts[0][:_TRIED_IDS])])
    for added in _FORMS:
        if _kept(model, tried, norms, partial(_divide_norm, added=added)):
            break
    _kept(model, tried, _behind_products(model, layers, given, tried), _divide_rows)


Divide = Callable[[Any, torch.Tensor], None]  # divides the channels that a module makes by factors


def _kept(model: Any, tried: torch.Tensor, channels: Sequence[_Made], divide: Divide) -> bool:
    """Smooth these channels if the model then says the same; whether it does."""
    wanted = model(input_ids=tried, use_cache=False).logits
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    changed = [
        parameter for made in channels for module in (made.maker, *made.readers) for parameter in module.parameters()
    ]
    before = [(parameter, parameter.data.clone()) for parameter in changed]
    handles: list[Any] = []
    for made in channels:
        factors = made.factors
        divide(made.maker, factors)
        for linear in made.readers:
            weight_of(linear).mul_(factors)
            if linear is head and linear.weight is embedding.weight:
                handles.append(embedding.register_forward_hook(lambda _, __, rows, by=factors: rows / by))
    apart = model(input_ids=tried, use_cache=False).logits - wanted
    if float(apart.abs().max()) <= _SAME * float(wanted.std()):
        return True
    for parameter, data in before:
        parameter.data.copy_(data)
    for handle in handles:
        handle.remove()
    return False


def _divide_norm(norm: Any, factors: torch.Tensor, *, added: float) -> None:
    norm.weight.data = (norm.weight.data + added) / factors - added
    if getattr(norm, "bias", None) is not None:
        norm.bias.data /= factors


def _divide_rows(linear: Any, factors: torch.Tensor) -> None:
    weight_of(linear).div_(factors[:, None])
    if linear.bias is not None:
        linear.bias.data /= factors


def _look(
    model: Any, linears: Sequence[nn.Module], texts: Sequence[Sequence[int]]
) -> tuple[list[_Made], dict[nn.Module, torch.Tensor]]:
    """The channels that norms make, and for each other linear layer the sums of squares of what it is given."""
    squares: dict[nn.Module, torch.Tensor] = {}
    read: dict[nn.Module, dict[nn.Module, None]] = {}  # by norm, in the order in which they read
    given: dict[
        int, tuple[torch.Tensor, nn.Module]
    ] = {}  # what norms gave in this forward, which stays in memory meanwhile

    def gave(norm: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            given[output.data_ptr()] = output, norm

    def reads(linear: nn.Module, args: tuple[Any, ...]) -> None:
        channels = args[0].reshape(-1, args[0].shape[-1])
        squares[linear] = squares.get(linear, 0) + channels.square().sum(0)
        if args[0].data_ptr() in given:
            read.setdefault(given[args[0].data_ptr()][1], {})[linear] = None

    with ExitStack() as hooks:
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.ndim == 1 and not list(module.children()):
                hooks.enter_context(_hooked(module.register_forward_hook(gave)))
        for linear in linears:
            hooks.enter_context(_hooked(linear.register_forward_pre_hook(reads)))
        for text in texts[:_SEEN]:
            given.clear()
            model(input_ids=torch.tensor([list(text)]), use_cache=False)
    norms = [_Made(norm, tuple(readers), squares[next(iter(readers))]) for norm, readers in read.items()]
    smoothed = {linear for norm in norms for linear in norm.readers}
    return norms, {linear: seen for linear, seen in squares.items() if linear not in smoothed}


def _behind_products(
    model: Any, layers: Sequence[nn.Module], given: dict[nn.Module, torch.Tensor], tried: torch.Tensor
) -> list[_Made]:
    """The channels that linear layers make and others are given, as far as they are found in the first layer."""
    found: list[_Made] = []
    if not layers:
        return found
    first = linears_of(layers[0])
    for reader, maker in ((r, m) for r in range(len(first)) for m in range(len(first)) if r != m):
        pairs = [(linears_of(layer)[maker], linears_of(layer)[reader]) for layer in layers]
        if any(into not in given or len(weight_of(of)) != weight_of(into).shape[1] for of, into in pairs):
            continue
        made = [_Made(of, (into,), given[into]) for of, into in pairs]
        if _kept(model, tried, made[:1], _divide_rows):
            found += made[1:]
    return found


@contextmanager
def _hooked(handle: Any) -> Iterator[None]:
    with handle:
        yield
