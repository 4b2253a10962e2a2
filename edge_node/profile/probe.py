"""The graphs by which a device is measured, as values: `tools/probe_graphs.py` makes the files, `speed.py` runs them.

A graph of matrices is a row of products y = W x in the form that `hub/export/quantize.py` gives them, up and down between two widths as in
the feed-forward part of a model. Its file holds no weights: they are named as external, and whoever loads it gives them from memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent
WIDTHS = (1024, 3072)
BLOCK = 32  # numbers along a row that share a scale
ACCURACY = 4  # accuracy_level, as drafts have it: products of whole numbers
# Matrices of a graph, by bits: some 12 MB of weights each. A device with little memory runs one such graph, others several in turn.
MATRICES: Mapping[int, int] = {2: 8, 4: 5, 8: 4}


@dataclass(frozen=True)
class Matrix:
    """A matrix [rows, columns] in blocks of few bits, with a scale each and, below 8 bits, an offset."""

    place: int
    bits: int

    @property
    def rows(self) -> int:
        """Numbers that come out."""
        return WIDTHS[(self.place + 1) % 2]

    @property
    def columns(self) -> int:
        """Numbers that go in."""
        return WIDTHS[self.place % 2]

    @property
    def shares(self) -> int:
        """Numbers in an offset's byte, each of which is multiplied by a share of a sum of the inputs over a block."""
        return 8 // self.bits

    @property
    def sums(self) -> int:
        """Shares of sums of the inputs over blocks."""
        return self.columns // BLOCK * self.shares

    @property
    def blocks(self) -> int:
        """Blocks of a row, with those of its offsets."""
        return -(-(self.columns + self.sums) // BLOCK)

    def tensors(self) -> Iterator[tuple[str, type[np.generic], tuple[int, ...]]]:
        """Name, type and shape of numbers and scales, as they are when a draft's graph is loaded."""
        yield f"numbers{self.place}", np.uint8, (self.rows, self.blocks, BLOCK * self.bits // 8)
        yield f"scales{self.place}", np.float32, (self.rows, self.blocks)

    def random(self, rng: np.random.Generator) -> Iterator[npt.NDArray[np.generic]]:
        """The tensors: weights around zero, by which numbers neither grow nor vanish much from matrix to matrix."""
        scale = 4 / (2**self.bits * math.sqrt(self.columns))
        for name, _, shape in self.tensors():
            if name.startswith("numbers"):
                yield np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape)
            else:
                yield np.full(shape, scale, np.float32)


def matrices(bits: int) -> list[Matrix]:
    """Those of the graph of that many bits."""
    return [Matrix(place, bits) for place in range(MATRICES[bits])]


def weights_of(bits: int) -> int:
    """Weights of the whole graph."""
    return MATRICES[bits] * math.prod(WIDTHS)


def bytes_of(bits: int) -> int:
    """Bytes of the whole graph's weights with their scales."""
    return sum(
        np.dtype(kind).itemsize * math.prod(shape) for each in matrices(bits) for _, kind, shape in each.tensors()
    )


def matrices_file(bits: int) -> Path:
    """Where the graph is."""
    return FOLDER / f"matrices{bits}.onnx"
