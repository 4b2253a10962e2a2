"""Makes an exported draft graph shorter, so that a step runs fewer operators and its threads meet less often.

    reshapes   heads need not be split and joined around GroupQueryAttention, which takes them side by side
    joined     query, key and value are one product, which GroupQueryAttention takes as it is
    norms      a sum of the residual stream and the RMS norm behind it are one SkipSimplifiedLayerNormalization

What a graph does not have in that form stays as it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from hub.export.operators import ATTENTION, MICROSOFT, NORM


def fuse(model: onnx.ModelProto) -> None:
    """Fuse the nodes of the graph, in place."""
    _drop_reshapes(model.graph)
    _join_projections(model.graph)
    _join_norms(model.graph)
    drop_unread(model.graph)


def _drop_reshapes(graph: onnx.GraphProto) -> None:
    """Drop the pairs of reshapes by which heads are split and joined again around each attention operator.

    With the arithmetic for their shapes they are half the nodes, and a sixth of the time of a very small graph.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    reshaped = {name: node.input[0] for name, node in made_by.items() if node.op_type == "Reshape"}
    for node in graph.node:
        if node.op_type == ATTENTION:
            node.input[:3] = [reshaped.get(reshaped.get(name, ""), name) for name in node.input[:3]]
        elif node.op_type == "MatMul":
            name = node.input[0]
            while name in reshaped:
                name = reshaped[name]
            if name in made_by and made_by[name].op_type == ATTENTION:
                node.input[0] = name
    drop_unread(graph)


@dataclass(frozen=True)
class _Projection:
    """y = x · weight [+ bias], in one node or two; the names are those of the graph."""

    nodes: tuple[onnx.NodeProto, ...]
    weight: onnx.TensorProto  # [in, out]
    bias: onnx.TensorProto | None

    @property
    def source(self) -> str:
        """The name of x."""
        return str(self.nodes[0].input[0])


def _join_projections(graph: onnx.GraphProto) -> None:
    """Replace query, key and value, where attention takes them straight from their projections, by a single one.

    Gate and up are not joined: taking the product apart again costs as much as the second product.
    """
    projections = _projections(graph)
    made: dict[str, list[onnx.NodeProto]] = {}  # by the output before which they go
    gone: set[str] = set()
    for attention in graph.node:
        if attention.op_type != ATTENTION:
            continue
        parts = [projections[name] for name in attention.input[:3] if name in projections]
        if len(parts) < 3 or len({part.source for part in parts}) > 1 or len({part.bias is None for part in parts}) > 1:
            continue
        joined = f"{attention.name}.joined"
        made[attention.output[0]] = _joined(graph, parts, joined)
        attention.input[:3] = [joined, "", ""]
        gone.update(node.output[0] for part in parts for node in part.nodes)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes += made.get(node.output[0], [])
        if node.output[0] not in gone:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _projections(graph: onnx.GraphProto) -> dict[str, _Projection]:
    """The graph's projections by the name of their output, if that is read once."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    read = Counter(name for node in graph.node for name in node.input)
    added = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}
    found: dict[str, _Projection] = {}
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights or read[node.output[0]] != 1:
            continue
        add = added.get(node.output[0])
        bias = next((weights[name] for name in add.input if name in weights), None) if add is not None else None
        nodes = (node, add) if add is not None and bias is not None else (node,)
        if read[nodes[-1].output[0]] == 1:
            found[nodes[-1].output[0]] = _Projection(nodes, weights[node.input[1]], bias)
    return found


def _joined(graph: onnx.GraphProto, parts: list[_Projection], output: str) -> list[onnx.NodeProto]:
    """Add the weights side by side to the graph; return the nodes that make `output` with them."""
    weight, bias = f"{output}.weight", f"{output}.bias"
    _store(graph, weight, [part.weight for part in parts])
    biases = [part.bias for part in parts if part.bias is not None]
    product = f"{output}.product" if biases else output
    nodes = [onnx.helper.make_node("MatMul", [parts[0].source, weight], [product], name=product)]
    if biases:
        _store(graph, bias, biases)
        nodes.append(onnx.helper.make_node("Add", [product, bias], [output], name=output))
    return nodes


def _store(graph: onnx.GraphProto, name: str, parts: list[onnx.TensorProto]) -> None:
    whole = np.concatenate([numpy_helper.to_array(part) for part in parts], axis=-1)
    graph.initializer.append(numpy_helper.from_array(whole, name))


def _join_norms(graph: onnx.GraphProto) -> None:
    """Join every RMS norm with the sum that it reads; one that reads something else is given its own domain."""
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    read = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op_type != NORM:
            continue
        source = made_by.get(node.input[0])
        if source is None or source.op_type != "Add" or not weights.isdisjoint(source.input):
            node.domain = ""
            continue
        total = node.input[0]
        epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
        norm = onnx.helper.make_node(
            f"Skip{NORM}",
            [*source.input, node.input[1]],
            [node.output[0], *(["", "", total] if read[total] > 1 else [])],
            name=node.name,
            domain=MICROSOFT,
            epsilon=epsilon,
        )
        source.CopyFrom(norm)
        node.output[0] = f"{total}.unread"


def drop_unread(graph: onnx.GraphProto) -> None:
    """Drop the nodes and weights that no output depends on."""
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(name for name in node.input if name)
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)
