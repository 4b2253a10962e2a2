"""The operators of a draft graph as torch's exporter sees them: tracing needs only the shapes of what they give."""

from __future__ import annotations

from typing import Any

import torch

ATTENTION = "GroupQueryAttention"
NORM = "SimplifiedLayerNormalization"  # exported in the domain of the other; ONNX Runtime knows it in ONNX's own
MICROSOFT = "com.microsoft"


class GroupQueryAttention(torch.autograd.Function):
    """Attention that writes the new K/V behind the past ones, and rotates query and key where tables of cosines and sines are given.

    Inputs: query [1, tokens, heads * head_dim], key and value [1, tokens, kv_heads * head_dim], past key and value
    [1, kv_heads, capacity, head_dim], seqlens_k, total_length, where it rotates both tables [context, head_dim / 2], and the
    operator's attributes. Outputs: attended [1, tokens, heads * head_dim], present key and value.
    """

    @staticmethod
    def forward(_: Any, query: torch.Tensor, *inputs: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give tensors of the right shapes."""
        return query.clone(), inputs[2].clone(), inputs[3].clone()

    @staticmethod
    def symbolic(g: Any, *inputs: Any) -> Any:
        """Put the operator into the graph."""
        *tensors, attributes = inputs
        outputs = g.op(f"{MICROSOFT}::{ATTENTION}", *tensors, **attributes, outputs=3)
        for output, like in zip(outputs, (tensors[0], tensors[3], tensors[4]), strict=True):
            output.setType(like.type())
        return outputs


class Head(torch.autograd.Function):
    """The LM head as Gemm(transB): it reads the weight as it is stored, so that a tied embedding is stored once."""

    @staticmethod
    def forward(_: Any, *tensors: torch.Tensor) -> torch.Tensor:
        """Logits [rows, vocab] of hidden states [rows, size]."""
        return torch.nn.functional.linear(*tensors)

    @staticmethod
    def symbolic(g: Any, *tensors: Any) -> Any:
        """Put the operator into the graph."""
        return g.op("Gemm", *tensors, transB_i=1)


class Norm(torch.autograd.Function):
    """An RMS norm as one operator; `hub/export/fuse.py` puts it where ONNX Runtime looks for it."""

    @staticmethod
    def forward(_: Any, hidden: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Of hidden states [..., size]."""
        return weight * hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + epsilon)

    @staticmethod
    def symbolic(g: Any, hidden: Any, weight: Any, epsilon: float) -> Any:
        """Put the operator into the graph."""
        output = g.op(f"{MICROSOFT}::{NORM}", hidden, weight, axis_i=-1, epsilon_f=epsilon)
        output.setType(hidden.type())
        return output
