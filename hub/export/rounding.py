"""Rounds a model's layers to few bits, one after the other, each by what it is given once those before it are rounded.

The weights in the model become what the rounded ones stand for, so that the model says what a graph with these numbers will say, up to
the rounding of activations. `Grid` finds the numbers again, by the rows of the weights: a graph has them joined and transposed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hub.export.gptq import round_weight
from hub.export.layers import groups_of, inputs_of, layers_of, run_layer, squares_of, weight_of
from hub.export.rounded import MOST_BITS, Rounded
from hub.export.smoothing import smooth

_DIGEST = 16  # bytes of a row's hash


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
        offsets = [rounded.offsets[place] for rounded, place in known if rounded.offsets is not None]
        if offsets and len(offsets) < len(known):
            return None
        return Rounded(
            numbers=torch.stack([rounded.numbers[place] for rounded, place in known]),
            offsets=torch.stack(offsets) if offsets else None,
            levels=torch.stack([rounded.levels[place] for rounded, place in known]),
            factors=torch.stack([rounded.factors[place] for rounded, place in known]),
            bits=known[0][0].bits,
        )


def _hash(row: npt.NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=_DIGEST).digest()


@torch.no_grad()
def round_layers(
    model: Any,
    bits: Sequence[int | None],
    texts: Sequence[Sequence[int]],
    on_layer: Callable[[], None] = lambda: None,
) -> Grid:
    """Round the linear layers of each of the model's layers, in place, to as many bits as `bits` has for it; None leaves it.

    `texts` are ids that the model is given to see what its layers are given; without any, and with 8 bits, every number is rounded to the nearest.
    What layers of 8 bits are given is smoothed: there the rounding of activations counts, and not that of weights.
    `on_layer` is called when a layer is done. Raises QuantizeError.
    """
    grid = Grid()
    layers = layers_of(model)
    smooth(model, [layer for layer, each in zip(layers, bits, strict=True) if each == MOST_BITS], texts)
    inputs = inputs_of(model, layers[0], texts if min(each or MOST_BITS for each in bits) < MOST_BITS else ())
    for layer, wanted in zip(layers, bits, strict=True):
        if wanted is not None:
            for group in groups_of(layer, inputs):
                squares = squares_of(layer, group[0], inputs) if inputs and wanted < MOST_BITS else None
                for linear in group:
                    rounded = round_weight(weight_of(linear), wanted, squares)
                    weight_of(linear).copy_(rounded.weight())
                    grid.add(rounded)
        inputs = [(run_layer(layer, hidden, given), given) for hidden, given in inputs]
        on_layer()
    return grid
