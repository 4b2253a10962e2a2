"""An exit of the target: a small head behind one of its layers, which tells early what the last layer will say."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from shared.errors import PairError

log = logging.getLogger(__name__)

_EPS = 1e-6


class ExitHead(nn.Module):
    """From hidden states x [n, size] behind layer `layer`, counted from 1, to what the target's LM head takes, [n, size].

    With z = g · x / rms(x) that is z + D silu(U z + b); b has `width` numbers.
    """

    def __init__(self, layer: int, size: int, width: int) -> None:
        super().__init__()
        self.layer, self.size = layer, size
        self.norm = nn.RMSNorm(size, eps=_EPS)
        self.up = nn.Linear(size, width)
        self.down = nn.Linear(width, size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map hidden states x [n, size] to what the LM head takes, [n, size]."""
        z: torch.Tensor = self.norm(x)
        y: torch.Tensor = self.down(nn.functional.silu(self.up(z)))
        return z + y

    @classmethod
    def load(cls, path: Path) -> ExitHead:
        """The head that `save` wrote. Raises PairError."""
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            width, size = tensors["up.weight"].shape
            head = cls(int(metadata["layer"]), size, width)
            head.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise PairError(f"{path} is no exit head ({error!r}); make it with tools.exits") from None
        return head

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all, in bfloat16: half of float32, and an exit only guesses. Raises OSError."""
        tensors = {name: tensor.detach().bfloat16().contiguous() for name, tensor in self.state_dict().items()}
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            fresh = Path(folder) / path.name
            fresh.write_bytes(save(tensors, metadata={"layer": str(self.layer)}))
            fresh.replace(path)


@dataclass(frozen=True)
class Asked:
    """What a forward is asked for at the exit: `tell` is given the logits [places, vocab] at `places` of its flat sequence."""

    places: Sequence[int]
    tell: Callable[[torch.Tensor], None]


class Exit:
    """A head at work in a loaded model, whose own forward is the same as without it."""

    def __init__(self, model: Any, head: ExitHead) -> None:
        """`model` is a causal LM of `transformers`. Raises PairError when the head does not go with it."""
        layers = getattr(model.get_decoder(), "layers", ())
        self._project = model.get_output_embeddings()
        if not 1 <= head.layer < len(layers):
            raise PairError(f"the exit head is for layer {head.layer}, and the target has {len(layers)} to exit from")
        if head.size != self._project.in_features:
            raise PairError(
                f"the exit head is for {head.size} numbers in each place, and the target has {self._project.in_features}"
            )
        self.rest = 1 - head.layer / len(layers)  # share of the layers that lie behind it
        self._head = head.to(device=model.device, dtype=model.dtype)
        self._asked: Asked | None = None
        self._works = True
        layers[head.layer - 1].register_forward_hook(self._at_layer)

    @contextmanager
    def asked(self, asked: Asked) -> Iterator[None]:
        """Let the forwards within the context tell what is asked."""
        self._asked = asked if self._works else None
        try:
            yield
        finally:
            self._asked = None

    def _at_layer(self, _layer: nn.Module, _inputs: Any, output: Any) -> None:
        if self._asked is None:
            return
        states = output[0] if isinstance(output, tuple) else output  # [1, tokens, size]
        try:
            self._asked.tell(self._project(self._head(states[0, self._asked.places])))
        except Exception:
            # Nobody needs an early verdict; the forward goes on to the one that counts.
            log.exception("the exit failed; there are no early verdicts from now on")
            self._works = False
