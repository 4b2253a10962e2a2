"""A target with a fault put into it, to see a benchmark find it."""

from __future__ import annotations

from torch import nn

from hub.model.checkpoint import load_checkpoint
from hub.model.target import Target


class PlantedTarget(Target):
    """A target whose linear layers can be made torch's own, whose bits depend on how many rows they multiply."""

    def plant(self, checkpoint: str) -> None:
        """Put torch's layers with the weights of `checkpoint` in the place of the hub's."""
        plain = load_checkpoint(checkpoint, dtype=self.cache.dtype)
        for name, module in list(plain.named_modules()):
            if type(module) is nn.Linear:
                self._model.set_submodule(name, module.to(self.device))
        self.is_exact = False
        self._graphs = None  # those were captured with the layers before
