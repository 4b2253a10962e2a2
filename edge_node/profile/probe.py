"""The graphs by which a device is measured, as values: `tools/probe_graphs.py` makes the files, `speed.py` runs them.

A graph of matrices is a row of products y = W x by com.microsoft::MatMulNBits, up and down between two widths as in the feed-forward
part of a model. Its file holds no weights: they are named as external, and whoever loads it gives them from memory. The graph of nodes
adds and multiplies numbers one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent
NODES_FILE = FOLDER / "nodes.onnx"
WIDTHS = (1024, 3072)
ACCURACY = 4  # accuracy_level, as drafts have it: products of whole numbers
# Matrices of a graph, by bits: some 12 MB of weights each. A device with little memory runs one such graph, others several in turn.
MATRICES: Mapping[int, int] = {2: 10, 4: 6, 8: 4}
NODES = 256


@dataclass(frozen=True)
class Matrix:
    """A matrix [rows, columns] in few bits; what is stored of it is as `hub/export/quantize.py` has it."""

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
    def block(self) -> int:
        """Numbers along a row that share a scale."""
        return 64 if self.bits == 8 else 32

    def tensors(self) -> Iterator[tuple[str, type[np.generic], tuple[int, ...]]]:
        """Name, type and shape of what is stored, in the order of the operator's inputs."""
        blocks = self.columns // self.block
        yield f"numbers{self.place}", np.uint8, (self.rows, blocks, self.block * self.bits // 8)
        yield f"scales{self.place}", np.float32, (self.rows, blocks)
        if self.bits < 8:
            yield f"zeros{self.place}", np.uint8, (self.rows, blocks * self.bits // 8)

    def random(self, rng: np.random.Generator) -> Iterator[npt.NDArray[np.generic]]:
        """Tensors by which numbers neither grow nor vanish much from matrix to matrix."""
        for _, kind, shape in self.tensors():
            if kind is np.float32:
                yield np.full(shape, 4 / (2**self.bits * math.sqrt(self.columns)), np.float32)
            else:
                yield np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape)


def matrices(bits: int) -> list[Matrix]:
    """Those of the graph of that many bits."""
    return [Matrix(place, bits) for place in range(MATRICES[bits])]


def weights_of(bits: int) -> int:
    """Weights of the whole graph."""
    return MATRICES[bits] * math.prod(WIDTHS)


def bytes_of(bits: int) -> int:
    """Bytes of the whole graph's weights with their scales and zero points."""
    return sum(
        np.dtype(kind).itemsize * math.prod(shape) for each in matrices(bits) for _, kind, shape in each.tensors()
    )


def matrices_file(bits: int) -> Path:
    """Where the graph is."""
    return FOLDER / f"matrices{bits}.onnx"
