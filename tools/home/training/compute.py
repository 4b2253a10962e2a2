"""What training costs, in floating-point operations: two for each multiply-add of a matrix product.

Counted are the matrices of the layers, the attention (eager: all pairs of positions, masked or not) and the head where it
runs. Embedding look-ups, norms and the optimizer's own work are not.
"""

from __future__ import annotations

from transformers import LlamaConfig


def layer_flops(config: LlamaConfig, rows: int, queries: int, keys: int) -> int:
    """One layer forward over `rows` x `queries` ids that attend to `keys` positions each."""
    width = config.num_attention_heads * config.head_dim
    kv_width = config.num_key_value_heads * config.head_dim
    attention = 2 * config.hidden_size * (width + kv_width)  # q and o; k and v
    matrices = attention + 3 * config.hidden_size * config.intermediate_size
    flops: int = rows * queries * (2 * matrices + 4 * keys * width)
    return flops


def head_flops(config: LlamaConfig, ids: int) -> int:
    """The head forward at `ids` positions."""
    matrix: int = config.hidden_size * config.vocab_size
    return ids * 2 * matrix


def forward_flops(config: LlamaConfig, rows: int, queries: int, keys: int, heads: int) -> int:
    """All layers forward, and the head at `heads` positions in all."""
    layers: int = config.num_hidden_layers
    return layers * layer_flops(config, rows, queries, keys) + head_flops(config, heads)


def training_flops(config: LlamaConfig, rows: int, length: int, answers: int, frozen: int = 0) -> int:
    """One step on a batch [rows, length] with the loss at `answers` ids, while the lowest `frozen` layers rest.

    Backward costs twice the forward: half for the weights' gradients, half for the inputs'. Frozen layers have none; the head
    is frozen along with them (it is the embedding), but gradients pass through it.
    """
    trained: int = config.num_hidden_layers - frozen
    layers = (frozen + 3 * trained) * layer_flops(config, rows, length, length)
    return layers + (2 if frozen else 3) * head_flops(config, answers)
