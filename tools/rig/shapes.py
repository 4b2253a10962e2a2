"""Targets of real size with random weights, for benchmarks of speed: same compute as the model whose shape they have.

Random weights alone would be of no use: their logits are nearly flat, and in bfloat16 the text of a block and of single
tokens comes apart within a few dozen tokens. Here the layers add little to the residual stream, and the LM head is the
embedding with its rows permuted along one cycle: every token has one successor, by a wide margin.

So any layer says what the last will say. For an exit to err as a trained one does, its head has one unit that takes some of
the vocabulary, those ids whose embedding lies furthest in a random direction, for one and the same other id.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig

from hub.model.exits import ExitHead
from shared.errors import SettingsError
from shared.pair import MANIFEST, Pair, load_pair
from shared.settings import shown

_LLAMA = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 0,
}
SHAPES: dict[str, dict[str, Any]] = {
    "2m": {"hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
           "intermediate_size": 384, "vocab_size": 4096, "max_position_embeddings": 2048},
    "20m": {"hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 2,
            "intermediate_size": 1024, "vocab_size": 8192, "max_position_embeddings": 2048},
    "smollm2-135m": {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
                     "intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 8192},
    "1.1b": {"hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
             "intermediate_size": 5632, "vocab_size": 32000, "max_position_embeddings": 2048},
    "8b": {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
           "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 8192},
}  # fmt: skip
_RESIDUAL = 0.01  # share of what a layer would add to the residual stream that it adds
LOUD = 1.0  # that share where what counts is each layer's last bit, and not the text
_EXIT_DEPTH = 1 / 3  # share of the layers before the exit
_EXIT_WRONG = (
    0.065  # share of ids whose successor it does not know: of blocks half of which are accepted it gets 0.8 right
)
_EXIT_STEEPNESS = 100.0  # so steep that few ids are in between
_EXIT = "exit.safetensors"
_TEMPLATE = "{% for m in messages %}{{ m.content }} {% endfor %}"


def check_shape(name: str) -> None:
    """Raise SettingsError unless there is a shape of that name."""
    if name not in SHAPES:
        raise SettingsError(f"there is no shape {shown(name)}; use one of {', '.join(SHAPES)}")


def shape_pair(shape: str, dtype: str, folder: Path, residual: float = _RESIDUAL) -> Pair:
    """The pair of that shape in `folder`, made when it is not there. It has no draft; id 0 ends a turn and is never drawn.

    A layer adds the share `residual` of what it would to the residual stream.
    """
    check_shape(shape)
    home = folder / (f"{shape}-{dtype}" if residual == _RESIDUAL else f"{shape}-{dtype}-{residual:g}")
    if not (home / MANIFEST).exists() or not (home / _EXIT).exists():
        shutil.rmtree(home, ignore_errors=True)
        Console(stderr=True).print(f"making a target of shape {shape} in {dtype} in {home}")
        _make(SHAPES[shape], dtype, home, residual)
        (home / MANIFEST).write_text(
            f'schema = 1\nname = "{shape}"\n\n[target]\ncheckpoint = "target"\ndtype = "{dtype}"\n\n'
            f'[exit]\nhead = "{_EXIT}"\n\n'
            '[tokenizer]\nfile = "tokenizer.json"\nchat_template = "chat_template.jinja"\nend = ["0"]\n'
        )
    return load_pair(str(home))


@torch.no_grad()
def _make(shape: dict[str, Any], dtype: str, home: Path, residual: float) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(**_LLAMA, **shape)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(residual)
        layer.mlp.down_proj.weight.mul_(residual)
    cycle = torch.randperm(config.vocab_size - 1) + 1
    successor = torch.zeros(config.vocab_size, dtype=torch.long)
    successor[cycle] = cycle.roll(-1)
    model.lm_head.weight[successor] = model.model.embed_tokens.weight
    home.mkdir(parents=True)
    model.save_pretrained(home / "target")
    _exit_head(model.model.embed_tokens.weight.float(), config.num_hidden_layers).save(home / _EXIT)
    save_words(config.vocab_size, home)


def save_words(count: int, folder: Path) -> None:
    """Write a tokenizer of so many ids, whose words are the numbers of the ids, and a chat template that adds nothing."""
    vocabulary = {str(token): token for token in range(count)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)


@torch.no_grad()
def _exit_head(embedding: torch.Tensor, layers: int) -> ExitHead:
    """A head that knows the successors of all but some of the ids; `embedding` is [vocab, size]."""
    size = embedding.shape[1]
    head = ExitHead(round(_EXIT_DEPTH * layers), size, width=1)
    direction = torch.nn.functional.normalize(torch.randn(size), dim=0)
    places = head.norm(embedding)
    along = places @ direction
    threshold = along.quantile(1 - _EXIT_WRONG)
    head.up.weight[0] = _EXIT_STEEPNESS * direction
    head.up.bias.fill_(1 - _EXIT_STEEPNESS * threshold)
    head.down.weight[:, 0] = 2 * places[along.argmin()]
    return head
