"""A rank of a target that is split over processes: `sled-hub serve` starts it, and it computes its part until the hub ends.

python -m hub.follower RANK JSON
"""

from __future__ import annotations

import json
import signal
import sys

import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import PAGE_SIZE
from hub.model.attention import NAME, attending
from hub.model.checkpoint import load_checkpoint
from hub.model.cpu import attention_shape, fit_to_cpu, settle_bits
from hub.model.groups import Padding, group_plan
from hub.model.ranks import Clear, Copy, Forward, Group, Part, Room
from hub.model.split import split_layers, sum_behind
from hub.model.windows import windows_of
from hub.settings import Exact
from shared.errors import SledError


class Follower:
    """A rank's part of the model and of its K/V."""

    def __init__(self, part: Part, rank: int, group: Group) -> None:
        """Load the checkpoint and leave of it what the rank has. Raises PairError."""
        self._group = group
        self._exact = Exact(part.exact)
        self.device = part.device_of(rank)
        self._dtype = getattr(torch, part.dtype)
        model = load_checkpoint(part.checkpoint, dtype=self._dtype, attention=NAME, refuse=windows_of)
        self._windows = windows_of(model.config)
        summed = split_layers(model, rank, part.count)
        self._model = model.to(self.device)
        if self.device.type == "cpu":
            fit_to_cpu(self._model, self._exact)
        sum_behind(self._model, summed, group.add_up)
        self._layers = getattr(self._model, self._model.base_model_prefix)  # the head is rank 0's alone
        self._padding = Padding()

    def run(self) -> None:
        """Do what rank 0 tells until that ends."""
        while (order := self._group.heard()) is not None:
            match order:
                case Room():
                    self._make_room(order)
                case Clear():
                    self._cache.clear(order.pages)
                case Copy():
                    self._cache.copy_page(order.source, order.destination)
                case Forward():
                    self._forward(order)

    def _make_room(self, order: Room) -> None:
        heads, kv_heads, head_dim = attention_shape(self._model.config)
        layers = self._model.config.num_hidden_layers
        self._queries_per_head = heads // kv_heads
        self._cache = KVCache(layers, order.pages, kv_heads, head_dim, self._dtype, self.device)
        if self.device.type == "cpu" and self._exact is not Exact.OFF:
            context = min(order.context, order.pages * PAGE_SIZE)
            self._padding = settle_bits(self._model, self._exact, context) or Padding()

    @torch.inference_mode()
    def _forward(self, order: Forward) -> None:
        plan = group_plan(self._cache, order.spans, self._queries_per_head, self._padding)
        ids, positions = (torch.tensor([each], device=self.device) for each in (order.ids, order.positions))
        with attending(self._cache, plan, self._windows):
            self._layers(input_ids=ids, position_ids=positions, use_cache=False)


def main(rank: int, part: Part) -> None:
    """Be that rank until rank 0 ends, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.SIG_IGN
        )  # systemd sends it to every process of the hub, which ends this one itself
    torch.set_num_threads(part.threads)
    part.join(rank)
    try:
        Follower(part, rank, Group(rank, part.count)).run()
    except (RuntimeError, SledError):
        sys.exit(1)  # rank 0 is gone, or finds the same wrong, and says so itself


if __name__ == "__main__":
    main(int(sys.argv[1]), Part(**json.loads(sys.argv[2])))
