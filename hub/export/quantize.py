"""Turns the weights of a draft graph into few bits, in blocks of numbers; activations stay float32.

A matrix W [out, in] that was rounded (`hub/export/rounded.py`) becomes com.microsoft::MatMulNBits: uint8 [out, blocks, 32 · bits / 8]
and scales [out, blocks]. Offsets are further blocks of it. What these are multiplied by are shares of the inputs' sums over blocks, by which the numbers in an
offset's byte count as the byte does:

    y = MatMulNBits(x and shares of BlockSums(x), numbers and offsets)

MatMulNBits has zero points, but whole ones; with those that are not, it takes 35 times as long. Scales are stored in 8 bits, which ONNX
Runtime turns into float32 once, when it loads the graph. accuracy_level 4 makes it multiply in int8 (activations are rounded on the way in, a block
at a time); without it, it computes in float32 and takes 20 times as long. The embedding is read by com.microsoft::GatherBlockQuantized from
the same numbers, so that one tied to the head is still stored once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from hub.export.gptq import round_weight
from hub.export.rounded import BLOCK, MOST_BITS, OffsetForm, Rounded, blocks_of
from hub.export.rounding import Grid

_MULTIPLY = ("MatMul", "Gemm", "MatMulNBits")
_IN_INT8 = 4  # accuracy_level
_FLOATS = ("Cast", "Mul")  # of what is computed at loading, what is float32


def quantize(model: onnx.ModelProto, grid: Grid, vocabulary_bits: int = MOST_BITS) -> None:
    """Quantize, in place, what the graph multiplies by and `grid` knows; head and embedding have `vocabulary_bits`. Raises QuantizeError."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    quantized = _Quantized()
    for node in graph.node:
        match node.op_type:
            case "MatMul" if node.input[1] in weights:
                rounded = grid.find(_rows(weights[node.input[1]], stored_transposed=False))
                if rounded is None:
                    quantized.nodes.append(node)
                else:
                    quantized.multiply(node, rounded)
            case "Gemm" if node.input[1] in weights:
                rows = _rows(weights[node.input[1]], stored_transposed=_is_set(node, "transB"))
                quantized.multiply(node, grid.find(rows) or _round(rows, vocabulary_bits))
            case "Gather" if node.input[0] in weights and node.input[1] == "input_ids":
                rows = _rows(weights[node.input[0]], stored_transposed=True)
                quantized.look_up(node, _round(rows, vocabulary_bits))
            case _:
                quantized.nodes.append(node)
    read = {name for node in quantized.nodes for name in node.input}
    kept = [tensor for tensor in [*graph.initializer, *quantized.tensors.values()] if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(quantized.nodes)
    graph.initializer.extend(kept)


def step_bytes(model: onnx.ModelProto) -> int:
    """Bytes of weights that are read for each token: of all that is multiplied by, not of tables in which a row is looked up."""
    elements = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    size_of_one = {
        tensor.name: helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize for tensor in model.graph.initializer
    }
    for node in model.graph.node:
        if node.input and all(name in elements for name in node.input):  # computed once, when the graph is loaded
            output, parts = node.output[0], [elements[name] for name in node.input]
            elements[output] = sum(parts) if node.op_type == "Concat" else max(parts)
            size_of_one[output] = 4 if node.op_type in _FLOATS else size_of_one[node.input[0]]
    multiplied = {
        name for node in model.graph.node if node.op_type in _MULTIPLY for name in node.input if name in elements
    }
    return sum(elements[name] * size_of_one[name] for name in multiplied)


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


class _Quantized:
    """The nodes of a graph and the tensors that they read, as they are made."""

    def __init__(self) -> None:
        self._made: set[str] = set()  # outputs of nodes
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def multiply(self, node: onnx.NodeProto, rounded: Rounded) -> None:
        """Stand for a MatMul, or for a Gemm whose third input is a bias."""
        source, weight, *bias = node.input
        self._store(weight, rounded)
        out, width = rounded.numbers.shape
        given, numbers, sizes = source, f"{weight}.numbers", {"N": out, "K": width, "accuracy_level": _IN_INT8}
        if rounded.offsets is not None:
            form = OffsetForm(rounded.bits)
            given, numbers = self._with_sums(source, width, form), f"{weight}.all"
            sizes["K"] += blocks_of(width) * len(form.shares)
        inputs = [given, numbers, f"{weight}.scales", *(["", "", *bias] if bias else [])]
        self._add("MatMulNBits", inputs, node.output[0], _form(rounded) | sizes)

    def look_up(self, node: onnx.NodeProto, rounded: Rounded) -> None:
        """Stand for a Gather by ids, whose operator wants the numbers as [vocab, in]."""
        weight, ids = node.input
        self._store(weight, rounded)
        flat = f"{weight}.flat"
        self._tensor(f"{weight}.shape", np.array([*rounded.numbers.shape[:1], -1], np.int64))
        self._add("Reshape", [f"{weight}.numbers", f"{weight}.shape"], flat)
        attributes = _form(rounded) | {"gather_axis": 0, "quantize_axis": 1}
        self._add("GatherBlockQuantized", [flat, ids, f"{weight}.scales"], node.output[0], attributes)

    def _store(self, weight: str, rounded: Rounded) -> None:
        """The tensors and nodes that stand for a weight, unless they are there: a tied one is read twice."""
        if f"{weight}.numbers" in self.tensors:
            return
        out = len(rounded.numbers)
        self._tensor(f"{weight}.numbers", pack(rounded.numbers.view(out, -1, BLOCK).numpy(), rounded.bits))
        if rounded.offsets is not None:
            self._store_offsets(weight, rounded.offsets, OffsetForm(rounded.bits))
        self._tensor(f"{weight}.levels", rounded.levels.numpy())
        factors, raw = f"{weight}.factors", rounded.factors.contiguous().view(torch.int16).numpy().tobytes()
        self.tensors[factors] = helper.make_tensor(
            factors, TensorProto.BFLOAT16, list(rounded.factors.shape), raw, raw=True
        )
        parts = [f"{weight}.levels.float", f"{weight}.factors.float"]
        self._add("Cast", [f"{weight}.levels"], parts[0], {"to": TensorProto.FLOAT})
        self._add("Cast", [factors], parts[1], {"to": TensorProto.FLOAT})
        self._add("Mul", parts, f"{weight}.scales")

    def _store_offsets(self, weight: str, offsets: torch.Tensor, form: OffsetForm) -> None:
        """Offsets as further blocks behind the numbers; the last is filled when the graph is loaded."""
        count = offsets.shape[1]
        filled = form.units_of(count) * form.sharing
        self._tensor(f"{weight}.offsets", offsets.numpy())
        self._tensor(f"fill.{filled - count}", np.array([0, 0, 0, filled - count], np.int64))
        self._tensor(f"offset_blocks.{form.sharing}", np.array([0, -1, form.sharing], np.int64))
        self._add("Pad", [f"{weight}.offsets", f"fill.{filled - count}"], f"{weight}.filled")
        self._add("Reshape", [f"{weight}.filled", f"offset_blocks.{form.sharing}"], f"{weight}.offset_blocks")
        self._add("Concat", [f"{weight}.numbers", f"{weight}.offset_blocks"], f"{weight}.all", {"axis": 1})

    def _with_sums(self, source: str, width: int, form: OffsetForm) -> str:
        """The inputs [1, tokens, in] and behind them shares of their sums over blocks; once for all that multiply the same."""
        split, sums, flat, both = (f"{source}.{part}.{form.bits}" for part in ("split", "sums", "flat", "with_sums"))
        if both not in self._made:
            blocks, shares = blocks_of(width), f"shares.{form.bits}"
            self._tensor(f"blocks.{blocks}", np.array([1, -1, blocks, BLOCK], np.int64))
            self._tensor(shares, np.tile(np.array(form.shares, np.float32), (BLOCK, 1)))
            self._tensor(f"sums.{blocks}.{form.bits}", np.array([1, -1, blocks * len(form.shares)], np.int64))
            self._add("Reshape", [source, f"blocks.{blocks}"], split)
            self._add("MatMul", [split, shares], sums)
            self._add("Reshape", [sums, f"sums.{blocks}.{form.bits}"], flat)
            self._add("Concat", [source, flat], both, {"axis": 2})
        return both

    def _tensor(self, name: str, array: npt.NDArray[Any]) -> None:
        self.tensors[name] = numpy_helper.from_array(array, name)

    def _add(self, operator: str, inputs: list[str], output: str, attributes: dict[str, Any] | None = None) -> None:
        domain = "com.microsoft" if operator in {"MatMulNBits", "GatherBlockQuantized"} else ""
        node = helper.make_node(operator, inputs, [output], name=output, domain=domain, **(attributes or {}))
        self.nodes.append(node)
        self._made.add(output)


def _round(rows: npt.NDArray[np.float32], bits: int) -> Rounded:
    return round_weight(torch.from_numpy(rows.copy()), bits, offsets=False)


def _rows(weight: onnx.TensorProto, *, stored_transposed: bool) -> npt.NDArray[np.float32]:
    """The weight as float32 [out, in]; `stored_transposed` says that it already lies so."""
    array: npt.NDArray[np.float32] = numpy_helper.to_array(weight)
    return array if stored_transposed else np.ascontiguousarray(array.T)


def _form(rounded: Rounded) -> dict[str, Any]:
    return {"bits": rounded.bits, "block_size": BLOCK}


def _is_set(node: onnx.NodeProto, attribute: str) -> bool:
    return any(a.name == attribute and a.i for a in node.attribute)
