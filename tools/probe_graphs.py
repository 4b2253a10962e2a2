"""Writes the graphs by which `sled-node profile` measures a device, into `edge_node/profile`: `python -m tools.probe_graphs`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_node.profile.probe import (
    ACCURACY,
    BLOCK,
    MATRICES,
    WIDTHS,
    Matrix,
    matrices,
    matrices_file,
)

_IR_VERSION = 10  # ONNX Runtime 1.23, the last for Python 3.10, reads no later one
_OPSET = 21
_NOWHERE = "given"  # where an external tensor says that it is: nobody looks there


def graphs() -> dict[Path, bytes]:
    """The content of every file, by its path."""
    return {matrices_file(bits): _of_matrices(bits) for bits in MATRICES}


def _of_matrices(bits: int) -> bytes:
    chain = matrices(bits)
    tensors = [_external(*each) for matrix in chain for each in matrix.tensors()]
    shares = chain[0].shares
    halves = np.tile(2.0 ** (-bits * np.arange(shares)[::-1]), (BLOCK, 1)).astype(np.float32)
    tensors.append(numpy_helper.from_array(halves, "shares"))
    for matrix in chain[: len(WIDTHS)]:
        for name, shape in (("blocks", [-1, matrix.columns // BLOCK, BLOCK]), ("flat", [-1, matrix.sums])):
            tensors.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}{matrix.columns}"))
    nodes = [node for matrix in chain for node in _product(matrix)]
    return _model(nodes, chain[0].columns, chain[-1].rows, tensors, f"y{len(chain)}")


def _product(matrix: Matrix) -> Iterator[onnx.NodeProto]:
    """The nodes of a product, those that `hub/export/quantize.py` makes of one."""
    x, y = f"y{matrix.place}", f"y{matrix.place + 1}"
    given = f"{x}.with_sums"
    yield helper.make_node("Reshape", [x, f"blocks{matrix.columns}"], [f"{x}.split"])
    yield helper.make_node("MatMul", [f"{x}.split", "shares"], [f"{x}.sums"])
    yield helper.make_node("Reshape", [f"{x}.sums", f"flat{matrix.columns}"], [f"{x}.flat"])
    yield helper.make_node("Concat", [x, f"{x}.flat"], [given], axis=1)
    yield helper.make_node(
        "MatMulNBits",
        [given, *(name for name, _, _ in matrix.tensors())],
        [y],
        domain="com.microsoft",
        N=matrix.rows,
        K=matrix.columns + matrix.sums,
        bits=matrix.bits,
        block_size=BLOCK,
        accuracy_level=ACCURACY,
    )


def _external(name: str, kind: type[np.generic], shape: tuple[int, ...]) -> onnx.TensorProto:
    """A tensor without its numbers."""
    tensor = onnx.TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(np.dtype(kind)),
        dims=shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    size = np.dtype(kind).itemsize * math.prod(shape)
    for key, value in (("location", _NOWHERE), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _model(
    nodes: Sequence[onnx.NodeProto], columns: int, rows: int, tensors: Sequence[onnx.TensorProto], last: str
) -> bytes:
    numbers = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("y0", numbers, [1, columns])],
        [helper.make_tensor_value_info(last, numbers, [1, rows])],
        tensors,
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, producer_name="sled", ir_version=_IR_VERSION, opset_imports=opsets)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


if __name__ == "__main__":
    for path, content in graphs().items():
        path.write_bytes(content)
