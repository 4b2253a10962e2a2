"""CUDA graphs of the model's forward: a few hundred small kernels launched as one, for batches up to a few hundred ids.

A graph replays the same kernels on the same memory, so there is one for each of a few numbers of ids, and a batch is
copied into the next larger one's inputs. What is padded there costs next to nothing: such forwards wait for memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from hub.kv.kv_cache import KVCache
from hub.model.batch import Inputs
from hub.model.tiles import TilePlan

BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_TABLE = 2**16  # pages that all rows of a batch may hold together


@dataclass(frozen=True)
class Frame:
    """The fixed inputs of a graph over `size` ids: as many tiles, one token each at the least, and as many wanted logits."""

    inputs: Inputs
    plan: TilePlan
    spare_slot: int  # where K/V of padding goes

    @classmethod
    def empty(cls, size: int, cache: KVCache) -> Frame:
        """Nothing but padding."""

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=cache.device)

        spare = cache.spare_slot
        plan = TilePlan(
            written=torch.full((size,), spare, dtype=torch.long, device=cache.device),
            tiles=zeros(size, 4, dtype=torch.int32),
            pages=zeros(_TABLE, dtype=torch.int32),
        )
        return cls(Inputs(zeros(1, size), zeros(1, size), zeros(size), plan), plan, spare)

    def holds(self, batch: Inputs) -> bool:
        """Whether a batch of tiles fits."""
        plan = batch.plan
        return isinstance(plan, TilePlan) and batch.ids.shape[1] <= len(self.plan.written) and len(plan.pages) <= _TABLE

    def fill(self, batch: Inputs) -> None:
        """Take over a batch that it holds. Ids, positions and wanted places of what is padded stay what they were."""
        given = batch.plan
        assert isinstance(given, TilePlan)
        self.inputs.ids[:, : batch.ids.shape[1]].copy_(batch.ids)
        self.inputs.positions[:, : batch.positions.shape[1]].copy_(batch.positions)
        self.inputs.wanted[: len(batch.wanted)].copy_(batch.wanted)
        self.plan.written[: len(given.written)].copy_(given.written)
        self.plan.written[len(given.written) :].fill_(self.spare_slot)
        self.plan.tiles[: len(given.tiles)].copy_(given.tiles)
        self.plan.tiles[len(given.tiles) :].zero_()
        self.plan.pages[: len(given.pages)].copy_(given.pages)


class GraphedForward:
    """A forward, captured for some numbers of ids."""

    def __init__(
        self, forward: Callable[[Inputs], torch.Tensor], cache: KVCache, sizes: Sequence[int] = BUCKETS
    ) -> None:
        """Capture `forward`, for each of the ascending `sizes`, from inputs to logits [wanted, vocab]; raises what torch does when that can't be done."""
        self._graphs: list[tuple[Frame, torch.cuda.CUDAGraph, torch.Tensor]] = []
        memory = torch.cuda.graph_pool_handle()
        # The largest first: the others fit into what it took.
        for size in reversed(sizes):
            frame = Frame.empty(size, cache)
            side = torch.cuda.Stream(cache.device)
            side.wait_stream(torch.cuda.current_stream(cache.device))
            with torch.cuda.stream(side):
                forward(frame.inputs)  # what is made at the first call must not be in the graph
            torch.cuda.current_stream(cache.device).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=memory):
                logits = forward(frame.inputs)
            self._graphs.insert(0, (frame, graph, logits))

    def __call__(self, batch: Inputs) -> torch.Tensor | None:
        """The logits [wanted, vocab], valid until the next call; None for a batch that is too large."""
        for frame, graph, logits in self._graphs:
            if frame.holds(batch):
                frame.fill(batch)
                graph.replay()
                return logits[: len(batch.wanted)]
        return None
