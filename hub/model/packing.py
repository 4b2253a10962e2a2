"""Which layers of whole numbers a CPU multiplies by oneDNN's product of int8: tried at the start, for each shape of layer.

All products there are give the same bits, so that the choice is one of time alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from hub.model.int4 import Int4Linear
from hub.model.int8 import Int8Linear, IntegerLinear, Packed

_ROWS = (1, 8, 32)
_FEW = (1, 2, 3, 4, 6, 8)
_TIMES = 3
_CACHE = 2**26  # bytes, more than most processors' caches hold
_EXTREME = 127


@torch.inference_mode()
def pack_layers(layers: Sequence[IntegerLinear], room: int) -> None:
    """Pack the layers for which that is faster with torch's present number of threads, as far as `room` bytes reach for those of 4 bits."""
    fits = sum(layer.in_features * layer.out_features for layer in layers if isinstance(layer, Int4Linear)) <= room
    faster: dict[tuple[type, int, int], int | None] = {}
    between = torch.zeros(min(_CACHE, sum(layer.weight_bytes for layer in layers)), dtype=torch.uint8)
    for layer in layers:
        kind = type(layer), layer.out_features, layer.in_features
        if kind not in faster:
            faster[kind] = _rows_that_stay(layer, between) if fits or isinstance(layer, Int8Linear) else None
        few = faster[kind]
        if few is not None and isinstance(layer, Int4Linear):
            layer.few = few
        layer.pack(None if few is None else Packed(layer.in_int8()))


def _rows_that_stay(layer: IntegerLinear, between: torch.Tensor) -> int | None:
    """Up to how many rows the layer's own product is the faster one; None where packing is slower altogether, or does not work.

    Before each product the bytes `between` are written, as a model's other layers are read between two products of one.
    """
    try:
        if not _sums_are_right(layer.out_features, layer.in_features):
            return None
        packed = Packed(layer.in_int8())
    except (RuntimeError, AttributeError, NotImplementedError):  # what a build of torch lacks, it says in several ways
        return None
    rows = torch.randint(-_EXTREME, _EXTREME + 1, (_ROWS[-1], layer.in_features)).float()

    def ratio(count: int) -> float:
        """What packing makes of the time for so many rows."""
        own = _seconds(layer.product, rows[:count], between)
        return _seconds(lambda some: packed.product(some, layer.scale, torch.float32), rows[:count], between) / own

    if isinstance(layer, Int4Linear):
        return max((count for count in _FEW if ratio(count) > 1), default=0)
    product = 1.0
    for count in _ROWS:
        product *= ratio(count)
    return 0 if product < 1 else None


def _sums_are_right(outputs: int, inputs: int) -> bool:
    """Whether packed weights of that shape give the sums that they should, the largest too: some processors cut sums of pairs off."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-_EXTREME, _EXTREME + 1, (outputs, inputs), dtype=torch.int8, generator=generator)
    rows = torch.randint(-_EXTREME, _EXTREME + 1, (_ROWS[-1], inputs), generator=generator).float()
    weight[::2], rows[::2] = _EXTREME, float(_EXTREME)
    ones = torch.ones(outputs)
    expected = Int8Linear(weight, ones, None).product(rows.clone())
    return torch.equal(Packed(weight).product(rows, ones, torch.float32), expected)


def _seconds(product: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, between: torch.Tensor) -> float:
    measured = []
    for _ in range(_TIMES):
        given = rows.clone()
        between.add_(1)
        started = time.perf_counter()
        product(given)
        measured.append(time.perf_counter() - started)
    return min(measured)
