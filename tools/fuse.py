"""Makes an exported draft graph shorter, so that a step runs fewer operators and its threads meet less often.

    reshapes   heads need not be split and joined around GroupQueryAttention, which takes them side by side
    scales     what attention multiplies its scores by goes into the weights of the query: unscaled products are faster
    joined     projections of the same input (query, key and value; gate and up) are one product of their weights
    norms      a sum of the residual stream and the RMS norm behind it are one SkipSimplifiedLayerNormalization

What a graph does not have in that form stays as it is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

ATTENTION = "GroupQueryAttention"
NORM = "SimplifiedLayerNormalization"  # exported in the domain of the next; ONNX Runtime knows it in ONNX's own
_MICROSOFT = "com.microsoft"


def fuse(model: onnx.ModelProto) -> None:
    """Fuse the nodes of the graph, in place."""
    _drop_reshapes(model.graph)
    _fold_scales(model.graph)
    _join_projections(model.graph)
    _join_norms(model.graph)
    _drop_unread(model.graph)


def _drop_reshapes(graph: onnx.GraphProto) -> None:
    """Drop the pairs of reshapes by which heads are split and joined again around each attention operator.

    With the arithmetic for their shapes they are half the nodes, and a sixth of the time of a very small graph.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    reshaped = {name: node.input[0] for name, node in made_by.items() if node.op_type == "Reshape"}
    for node in graph.node:
        if node.op_type == ATTENTION:
            node.input[:3] = [reshaped.get(reshaped.get(name, ""), name) for name in node.input[:3]]
        elif node.op_type == "MatMul" and (source := made_by.get(reshaped.get(node.input[0], ""))):
            node.input[0] = source.output[0] if source.op_type == ATTENTION else node.input[0]
    _drop_unread(graph)


def _fold_scales(graph: onnx.GraphProto) -> None:
    """Multiply what makes a query, which nothing else reads, by the attention's scale, and let that be 1.

    A product with scale 1 has a kernel of its own in ONNX Runtime for a single row, which reads the keys in place.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    read = _reads(graph)
    for node in graph.node:
        if node.op_type != ATTENTION:
            continue
        factors = _factors(made_by, weights, node.input[0])
        if not factors or any(read[tensor.name] > 1 for tensor in factors):
            continue
        scale = next(attribute for attribute in node.attribute if attribute.name == "scale")
        for tensor in factors:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(scale.f), tensor.name))
        scale.f = 1.0


def _factors(
    made_by: dict[str, onnx.NodeProto], weights: dict[str, onnx.TensorProto], name: str
) -> list[onnx.TensorProto]:
    """The weights that `name` is in proportion to when all are multiplied by a number; none when it is not known."""
    node = made_by.get(name)
    if node is None:
        return []
    match node.op_type:
        case "Reshape" | "Transpose":
            return _factors(made_by, weights, node.input[0])
        case "MatMul" | "SimplifiedLayerNormalization":
            return [weights[node.input[1]]] if node.input[1] in weights else []
        case "Add":
            bias = [weights[name] for name in node.input if name in weights]
            product = [name for name in node.input if name not in weights]
            made = _factors(made_by, weights, product[0]) if len(product) == 1 else []
            return [*bias, *made] if made else []
        case _:
            return []


@dataclass(frozen=True)
class _Projection:
    """y = x · weight [+ bias], in one node or two; the names are those of the graph."""

    nodes: tuple[onnx.NodeProto, ...]
    weight: onnx.TensorProto  # [in, out]
    bias: onnx.TensorProto | None

    @property
    def output(self) -> str:
        """The name of y."""
        return str(self.nodes[-1].output[0])


def _join_projections(graph: onnx.GraphProto) -> None:
    """Replace the projections of one input by a single one, whose result attention takes as it is, or Split takes apart."""
    attended = {frozenset(node.input[:3]): node for node in graph.node if node.op_type == ATTENTION}
    read = _reads(graph)
    made: dict[str, list[onnx.NodeProto]] = {}  # by the output before which they go
    gone: set[str] = set()
    for source, projections in _projections(graph).items():
        outputs = {projection.output for projection in projections}
        if len(projections) < 2 or len({projection.bias is None for projection in projections}) > 1:
            continue
        first = projections[0].nodes[0].output[0]
        joined = f"{source}.joined"
        attention = attended.get(frozenset(outputs)) if all(read[name] == 1 for name in outputs) else None
        if attention is not None:
            projections.sort(key=lambda projection: list(attention.input).index(projection.output))
            made[first] = _joined(graph, source, projections, joined)
            attention.input[:3] = [joined, "", ""]
        else:
            made[first] = [*_joined(graph, source, projections, joined), _split(graph, joined, projections)]
        gone.update(node.output[0] for projection in projections for node in projection.nodes)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes += made.get(node.output[0], [])
        if node.output[0] not in gone:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _projections(graph: onnx.GraphProto) -> dict[str, list[_Projection]]:
    """The graph's projections by the name of their input."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    read = _reads(graph)
    added = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}
    found: dict[str, list[_Projection]] = defaultdict(list)
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        add = added.get(node.output[0]) if read[node.output[0]] == 1 else None
        bias = next((weights[name] for name in add.input if name in weights), None) if add else None
        nodes = (node, add) if add is not None and bias is not None else (node,)
        found[node.input[0]].append(_Projection(nodes, weights[node.input[1]], bias))
    return found


def _joined(graph: onnx.GraphProto, source: str, projections: list[_Projection], output: str) -> list[onnx.NodeProto]:
    """Add the weights side by side to the graph; return the nodes that make `output` with them."""
    name = f"{projections[0].weight.name}.joined"
    _store(graph, name, [projection.weight for projection in projections])
    first = projections[0].nodes[0].name
    product = onnx.helper.make_node("MatMul", [source, name], [output], name=first)
    biases = [projection.bias for projection in projections if projection.bias is not None]
    if not biases:
        return [product]
    _store(graph, f"{name}.bias", biases)
    product.output[0] = f"{output}.product"
    return [product, onnx.helper.make_node("Add", [product.output[0], f"{name}.bias"], [output], name=f"{first}.bias")]


def _store(graph: onnx.GraphProto, name: str, parts: list[onnx.TensorProto]) -> None:
    whole = np.concatenate([numpy_helper.to_array(part) for part in parts], axis=-1)
    graph.initializer.append(numpy_helper.from_array(whole, name))


def _split(graph: onnx.GraphProto, joined: str, projections: list[_Projection]) -> onnx.NodeProto:
    widths = np.array([projection.weight.dims[1] for projection in projections], np.int64)
    graph.initializer.append(numpy_helper.from_array(widths, f"{joined}.widths"))
    outputs = [projection.output for projection in projections]
    return onnx.helper.make_node("Split", [joined, f"{joined}.widths"], outputs, name=f"{joined}.split", axis=-1)


def _join_norms(graph: onnx.GraphProto) -> None:
    """Join every RMS norm with the sum that it reads; one that reads something else is given its own domain."""
    made_by = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    read = _reads(graph)
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
            domain=_MICROSOFT,
            epsilon=epsilon,
        )
        source.CopyFrom(norm)
        node.output[0] = f"{total}.unread"


def _drop_unread(graph: onnx.GraphProto) -> None:
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


def _reads(graph: onnx.GraphProto) -> Counter[str]:
    """How often each name is read."""
    return Counter(name for node in graph.node for name in node.input)
