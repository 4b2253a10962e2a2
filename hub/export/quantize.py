"""Turns the weights of a draft graph into few bits, in blocks of numbers with a scale each; activations stay float32.

A matrix W [out, in] that was rounded (`hub/export/rounding.py`) becomes com.microsoft::MatMulNBits: uint8 [out, in / 64, 64 · bits / 8], float32
scales [out, in / 64] and, below 8 bits, zero points of as many bits; blocks have 32 numbers where 64 does not divide the rows. The
head has 8 bits. accuracy_level 4 makes ONNX Runtime multiply in int8 (activations are rounded on the way in); without it, it computes
in float32 and takes 20 times as long. The embedding is read by com.microsoft::GatherBlockQuantized from the same numbers, so that
one tied to the head is still stored once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper

from hub.export.gptq import Rounded, round_weight
from hub.export.rounding import Grid, block_size

_HEAD_BITS = 8  # bits of the LM head and the embedding, whatever the rest has: an error there falls on every token
_MULTIPLY = ("MatMul", "Gemm", "MatMulNBits")
_IN_INT8 = 4  # accuracy_level


def quantize(model: onnx.ModelProto, grid: Grid) -> None:
    """Quantize, in place, what the graph multiplies by and `grid` knows, and head and embedding to 8 bits. Raises QuantizeError."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    made: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        rounded: Rounded | None = None
        match node.op_type:
            case "MatMul" if node.input[1] in weights:
                if rounded := grid.find(_rows(weights[node.input[1]], stored_transposed=False)):
                    made |= _tensors(node.input[1], rounded)
                nodes.append(_multiply(node, rounded) if rounded else node)
            case "Gemm" if node.input[1] in weights:
                rows = _rows(weights[node.input[1]], stored_transposed=_is_set(node, "transB"))
                rounded = grid.find(rows) or _in_8_bits(rows)
                made |= _tensors(node.input[1], rounded)
                nodes.append(_multiply(node, rounded))
            case "Gather" if node.input[0] in weights and node.input[1] == "input_ids":
                rounded = _in_8_bits(_rows(weights[node.input[0]], stored_transposed=True))
                made |= _tensors(node.input[0], rounded)
                nodes += _look_up(node, rounded)
            case _:
                nodes.append(node)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in [*graph.initializer, *made.values()] if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def step_bytes(model: onnx.ModelProto) -> int:
    """Bytes of weights that are read for each token: of all that is multiplied by, not of tables in which a row is looked up."""
    sizes = {
        tensor.name: len(tensor.raw_data) or numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer
    }
    multiplied = {
        name for node in model.graph.node if node.op_type in _MULTIPLY for name in node.input if name in sizes
    }
    return sum(sizes[name] for name in multiplied)


def pack(numbers: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Numbers as they are stored: as many in a byte as there is room for, the first in the lowest bits; a last byte is filled with zeros."""
    in_a_byte = 8 // bits
    wanted = -(-numbers.shape[-1] // in_a_byte) * in_a_byte
    padded = np.zeros((*numbers.shape[:-1], wanted), np.uint8)
    padded[..., : numbers.shape[-1]] = numbers
    packed = np.zeros((*numbers.shape[:-1], wanted // in_a_byte), np.uint8)
    for place in range(in_a_byte):
        packed |= padded[..., place::in_a_byte] << (bits * place)
    return packed


def _in_8_bits(rows: npt.NDArray[np.float32]) -> Rounded:
    return round_weight(torch.from_numpy(rows.copy()), _HEAD_BITS, block_size(rows.shape[1]))


def _rows(weight: onnx.TensorProto, *, stored_transposed: bool) -> npt.NDArray[np.float32]:
    """The weight as float32 [out, in]; `stored_transposed` says that it already lies so."""
    array: npt.NDArray[np.float32] = numpy_helper.to_array(weight)
    return array if stored_transposed else np.ascontiguousarray(array.T)


def _tensors(name: str, rounded: Rounded) -> dict[str, onnx.TensorProto]:
    """What the operators read in place of the weight `name`, by name."""
    split = rounded.numbers.view(*rounded.scales.shape, rounded.block).numpy()
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{name}.numbers": pack(split, rounded.bits),
        f"{name}.scales": rounded.scales.numpy(),
        f"{name}.zeros": pack(rounded.zeros.numpy(), rounded.bits),
        f"{name}.shape": np.array(rounded.numbers.shape, np.int64),
    }
    return {key: numpy_helper.from_array(array, key) for key, array in arrays.items()}


def _multiply(node: onnx.NodeProto, rounded: Rounded) -> onnx.NodeProto:
    """The node that stands for a MatMul, or for a Gemm whose third input is a bias."""
    source, weight, *bias = node.input
    zeros = f"{weight}.zeros" if rounded.bits < _HEAD_BITS else ""
    inputs = [source, f"{weight}.numbers", f"{weight}.scales", zeros, *(["", *bias] if bias else [])]
    while not inputs[-1]:
        inputs.pop()
    sizes: dict[str, Any] = {
        "N": rounded.numbers.shape[0],
        "K": rounded.numbers.shape[1],
        "bits": rounded.bits,
        "block_size": rounded.block,
        "accuracy_level": _IN_INT8,
    }
    return _microsoft("MatMulNBits", inputs, node, sizes)


def _look_up(node: onnx.NodeProto, rounded: Rounded) -> list[onnx.NodeProto]:
    """The nodes that stand for a Gather: it wants the numbers as [vocab, in]."""
    weight, ids = node.input
    flat = onnx.helper.make_node("Reshape", [f"{weight}.numbers", f"{weight}.shape"], [f"{weight}.flat"])
    sizes: dict[str, Any] = {
        "bits": rounded.bits,
        "block_size": rounded.block,
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
