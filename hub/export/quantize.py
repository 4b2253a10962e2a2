"""Turns the weights of a draft graph into int4 or int8, in blocks of numbers with a scale each; activations stay float32.

A matrix W [out, in] becomes com.microsoft::MatMulNBits: uint8 [out, in / 64, 64] around 128 or, of int4, [out, in / 64, 32]
around 8, and float32 scales [out, in / 64], so 8.5 or 4.5 bits a number; blocks have 32 where 64 does not divide the rows. The head has
8 bits always. accuracy_level 4 makes ONNX Runtime multiply in int8 (activations are rounded on the way in); without it, it
computes in float32 and takes 20 times as long. The embedding is read by com.microsoft::GatherBlockQuantized from the same
numbers, so that one tied to the head is still stored once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

BLOCKS = (64, 32)  # numbers along a row of a weight that share a scale: the first that divides the row
_HEAD_BITS = 8  # bits of the LM head and the embedding, whatever the rest has: an error there falls on every token
_IN_INT8 = 4  # accuracy_level


class QuantizeError(Exception):
    """A weight cannot be quantized; the text says why."""


def quantize(model: onnx.ModelProto, bits: int) -> None:
    """Quantize, in place, what the graph multiplies by to 4 or 8 bits, and head and embedding to 8. Raises QuantizeError."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    made: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        match node.op_type:
            case "MatMul" | "Gemm" if node.input[1] in weights:
                rows = _rows(weights[node.input[1]], stored_transposed=_is_set(node, "transB"))
                of = bits if node.op_type == "MatMul" else _HEAD_BITS
                made |= _tensors(node.input[1], rows, of)
                nodes.append(_multiply(node, rows.shape, of))
            case "Gather" if node.input[0] in weights and node.input[1] == "input_ids":
                rows = _rows(weights[node.input[0]], stored_transposed=True)
                made |= _tensors(node.input[0], rows, _HEAD_BITS)
                nodes += _look_up(node, rows.shape)
            case _:
                nodes.append(node)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in [*graph.initializer, *made.values()] if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def blocks(rows: npt.NDArray[np.float32], bits: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return [out, in] as numbers [out, in / block, block] and scales [out, in / block]: w ≈ (number − 2 ** (bits − 1)) · scale.

    The number farthest from 0 becomes −2 ** (bits − 1) of the scale, which has its sign for that: there is no such positive one.
    """
    split = rows.reshape(len(rows), -1, block_size(rows.shape[1]))
    zero = 2 ** (bits - 1)
    farthest = np.take_along_axis(split, np.abs(split).argmax(axis=-1, keepdims=True), axis=-1)
    scales = farthest / -zero
    steps = np.divide(split, scales, out=np.zeros_like(split), where=scales != 0)
    return np.minimum(np.rint(steps) + zero, 2 * zero - 1).astype(np.uint8), scales[..., 0]


def block_size(width: int) -> int:
    """How many numbers of a row of that many share a scale. Raises QuantizeError."""
    for size in BLOCKS:
        if width % size == 0:
            return size
    raise QuantizeError(f"a weight has rows of {width}: int4 and int8 need a multiple of {BLOCKS[-1]}")


def _pack(numbers: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Numbers as they are stored: bytes, or two in a byte, the first in the low half."""
    return numbers if bits == 8 else np.bitwise_or(numbers[..., 0::2], numbers[..., 1::2] << 4, dtype=np.uint8)


def _rows(weight: onnx.TensorProto, *, stored_transposed: bool) -> npt.NDArray[np.float32]:
    """The weight as float32 [out, in]; `stored_transposed` says that it already lies so."""
    array: npt.NDArray[np.float32] = numpy_helper.to_array(weight)
    return array if stored_transposed else np.ascontiguousarray(array.T)


def _tensors(name: str, rows: npt.NDArray[np.float32], bits: int) -> dict[str, onnx.TensorProto]:
    """What the operators read in place of the weight `name`, by name."""
    numbers, scales = blocks(rows, bits)
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{name}.numbers": _pack(numbers, bits),
        f"{name}.scales": scales,
        f"{name}.shape": np.array(rows.shape, np.int64),
    }
    return {key: numpy_helper.from_array(array, key) for key, array in arrays.items()}


def _multiply(node: onnx.NodeProto, shape: tuple[int, ...], bits: int) -> onnx.NodeProto:
    """The node that stands for a MatMul, or for a Gemm whose third input is a bias; `shape` is (out, in)."""
    source, weight, *bias = node.input
    inputs = [source, f"{weight}.numbers", f"{weight}.scales", *(["", "", *bias] if bias else [])]
    sizes: dict[str, Any] = {
        "N": shape[0],
        "K": shape[1],
        "bits": bits,
        "block_size": block_size(shape[1]),
        "accuracy_level": _IN_INT8,
    }
    return _microsoft("MatMulNBits", inputs, node, sizes)


def _look_up(node: onnx.NodeProto, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    """The nodes that stand for a Gather: it wants the numbers as [vocab, in]."""
    weight, ids = node.input
    flat = onnx.helper.make_node("Reshape", [f"{weight}.numbers", f"{weight}.shape"], [f"{weight}.flat"])
    sizes: dict[str, Any] = {
        "bits": _HEAD_BITS,
        "block_size": block_size(shape[1]),
        "gather_axis": 0,
        "quantize_axis": 1,
    }
    return [flat, _microsoft("GatherBlockQuantized", [flat.output[0], ids, f"{weight}.scales"], node, sizes)]


def _microsoft(operator: str, inputs: list[str], like: onnx.NodeProto, attributes: dict[str, Any]) -> onnx.NodeProto:
    return onnx.helper.make_node(
        operator, inputs, list(like.output), name=like.name, domain="com.microsoft", **attributes
    )


def _is_set(node: onnx.NodeProto, attribute: str) -> bool:
    return any(a.name == attribute and a.i for a in node.attribute)
