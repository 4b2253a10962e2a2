"""Triton kernels behind `hub.model.fixed_order`: products and sums of rows in an order that the number of rows has no part in.

Tiles are of one size for each type of numbers, no sum over `inner` is split over programs, and what is padded is zero. So what
a row gets depends on that row alone. The number of rows is not specialized either: all of them run the same machine code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

_COLUMNS = 1024  # of a row that are added up at a time


@dataclass(frozen=True)
class Tile:
    """What one program multiplies: [rows, inner] by [inner, columns], step by step along `inner`."""

    rows: int
    columns: int
    inner: int


# 32 rows: a step of as many sessions reads each weight once. 32 columns: small targets too have work for most of a GPU.
TILES = {
    torch.float32: Tile(32, 32, 32),
    torch.bfloat16: Tile(32, 32, 64),
    torch.float16: Tile(32, 32, 64),
}


def product(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Of x [batch, rows, inner] and y [batch, inner, columns], one of `TILES` in type, with bias [columns] added before rounding."""
    batch, rows, inner = x.shape
    columns = y.shape[2]
    output = x.new_empty(batch, rows, columns)
    if output.numel() == 0:
        return output
    tile = TILES[x.dtype]
    _product[(triton.cdiv(rows, tile.rows) * triton.cdiv(columns, tile.columns), batch)](
        x.contiguous(),
        y,
        output if bias is None else bias.contiguous(),
        output,
        rows,
        inner,
        columns,
        *y.stride(),
        HAS_BIAS=bias is not None,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        INNER=tile.inner,
    )
    return output


def row_sum(x: torch.Tensor, dtype: torch.dtype, *, mean: bool) -> torch.Tensor:
    """Of x [..., columns], added up in float32: the sum or the mean of each row, [...]."""
    columns = x.shape[-1]
    output = x.new_empty(x.shape[:-1], dtype=dtype)
    if output.numel():
        _row_sum[(output.numel(),)](x.contiguous(), output, columns, columns if mean else 1, COLUMNS=_COLUMNS)
    return output


@triton.jit(do_not_specialize=["rows"])
def _product(
    x,  # [batch, rows, inner]
    y,  # [batch, inner, columns], strides given
    bias,  # [columns]
    output,  # [batch, rows, columns]
    rows,
    inner,
    columns,
    batch_stride,
    inner_stride,
    column_stride,
    HAS_BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    # Programs that follow each other have the same columns of y, which are then in the cache.
    tiles = tl.cdiv(rows, ROWS)
    row = (tl.program_id(0) % tiles) * ROWS + tl.arange(0, ROWS).to(tl.int64)
    column = (tl.program_id(0) // tiles) * COLUMNS + tl.arange(0, COLUMNS).to(tl.int64)
    batch = tl.program_id(1).to(tl.int64)
    there, wanted = (row < rows)[:, None], (column < columns)[None, :]
    x_rows = x + (batch * rows + row[:, None]) * inner
    y_columns = y + batch * batch_stride + column[None, :] * column_stride
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for begin in range(0, inner, INNER):
        place = begin + tl.arange(0, INNER)
        left = tl.load(x_rows + place[None, :], mask=there & (place < inner)[None, :], other=0.0)
        right = tl.load(y_columns + place[:, None] * inner_stride, mask=wanted & (place < inner)[:, None], other=0.0)
        total = tl.dot(left, right, total, input_precision="ieee")
    if HAS_BIAS:
        total += tl.load(bias + column, mask=column < columns, other=0.0).to(tl.float32)[None, :]
    places = output + (batch * rows + row[:, None]) * columns + column[None, :]
    tl.store(places, total.to(output.dtype.element_ty), mask=there & wanted)


@triton.jit
def _row_sum(x, output, columns, divisor, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros([COLUMNS], tl.float32)
    for begin in range(0, columns, COLUMNS):
        column = begin + tl.arange(0, COLUMNS)
        total += tl.load(x + row * columns + column, mask=column < columns, other=0.0).to(tl.float32)
    answer = tl.sum(total, 0) / divisor
    tl.store(output + row, answer.to(output.dtype.element_ty))
