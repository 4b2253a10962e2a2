"""The target model: a causal LM of `transformers`, run over a flat ragged batch with its K/V in pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hub.kv.kv_cache import KVCache, default_kv_memory, free_memory
from hub.kv.pages import PAGE_SIZE, OutOfPages, PagePool, pages_for
from hub.model.attention import NAME, AttentionPlan, Span, attending, spans_of
from hub.model.batch import Inputs, Row, flatten
from hub.model.checkpoint import load_checkpoint, rotary_limit
from hub.model.cpu import attention_shape, fit_to_cpu, order_of, settle_bits
from hub.model.exits import Asked, Exit, ExitHead
from hub.model.graphs import BUCKETS, GraphedForward
from hub.model.groups import Padding, group_plan
from hub.model.identity import bits_of, weights_hash
from hub.model.linear import linear_bytes
from hub.model.order_choice import fixed_order
from hub.model.probe_rows import probe_rows
from hub.model.ranks import Forward, Ranks, Room, SharedCache
from hub.model.rounding import round_layers
from hub.model.row_trial import STEPS, bits_move, step_seconds
from hub.model.self_check import SelfCheck
from hub.model.split import split_layers, sum_behind
from hub.model.threads import fastest_threads
from hub.model.tiles import tile_plan
from hub.model.windows import windows_of
from hub.settings import Exact, Weights
from shared.errors import PairError, SettingsError
from shared.limits import MAX_APPEND

if TYPE_CHECKING:
    from hub.model.fixed_order import FixedOrder

log = logging.getLogger(__name__)

_TRIED = {"cpu": 5, "cuda": 600}  # ids of a forward, at most, in which a text's bits are looked at
_ROUNDING = 0.05  # share of the logits' norm by which bfloat16 may differ between matrices of different sizes


class Target:
    """A loaded target with its page pool. Not thread-safe: the engine's thread alone calls it."""

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        kv_memory: int | None,
        weights: Weights = Weights.AUTO,
        exact: Exact = Exact.AUTO,
        threads: int | None = None,
        exit_head: Path | None = None,
        rounded: Path | None = None,
        crowded: Callable[[], bool] = lambda: False,
        ranks: Ranks | None = None,
    ) -> None:
        """Load `checkpoint`, as `load_checkpoint` takes it, with room for `kv_memory` bytes of K/V, None for the default.

        On a CPU `threads` is the number of torch's threads from here on, 0 for as many as are fastest, None for those it has.
        `crowded` says whether other programs take cores that those need. Rounded weights are kept in the folder `rounded`, if there
        is one, from one target to the next. `ranks` are the processes that share its layers; then it has neither an exit nor rounded weights.
        Raises SettingsError for more memory than there is, PairError for a checkpoint that can't be loaded, whose cache can't be
        truncated, or that the hub does not compute as plain `transformers` does, and for an `exit_head` that does not go with it.
        """
        _check_memory(kv_memory, device)
        if weights is Weights.INT4 and device.type != "cpu":
            raise SettingsError("weights in int4 are multiplied on a CPU alone; use --device cpu, or --weights int8")
        model = load_checkpoint(checkpoint, dtype=dtype, attention=NAME, refuse=windows_of)
        self._windows = windows_of(model.config)
        self._weights_hash = weights_hash(model)
        if weights is not Weights.AUTO:
            # Before it moves: a GPU never holds the weights as they were.
            self._weights_hash = round_layers(model, weights, self._weights_hash, rounded, NAME)
        self.device = device
        self._ranks = ranks
        self.context = _context(model.config)
        self.vocab_size = int(model.config.vocab_size)
        # Where it is split, the whole of it is on the CPU alone.
        check = SelfCheck(
            model if ranks else _moved(model, device), NAME, self.context, rounded=weights is not Weights.AUTO
        )
        summed = split_layers(model, 0, ranks.part.count) if ranks else []
        self._model: Any = _moved(model, device)
        if device.type == "cpu":
            fit_to_cpu(self._model, exact)
        if ranks is not None:
            sum_behind(self._model, summed, ranks.group.add_up)
        self._exit = None if exit_head is None else Exit(self._model, ExitHead.load(exit_head))
        self.weight_bytes = linear_bytes(self._model)
        self._make_room(kv_memory, dtype)
        self._padding = Padding()
        self._order: FixedOrder | None = None
        self._reads_in_place = device.type == "cuda" and ranks is None and find_spec("triton") is not None
        self._graphs: GraphedForward | None = None
        if self._reads_in_place and not self._can_read_in_place():
            self._reads_in_place = False
        if threads is not None and device.type == "cpu":
            shared = ranks.part.threads if ranks else 0
            torch.set_num_threads(shared or threads or fastest_threads(self, crowded=crowded()))
        settled = self._settle(exact, check)
        if self._reads_in_place:
            self._graphs = self._graphed(BUCKETS)
        # Whether the bits of a text's logits do not depend on how its ids are fed, nor on the rows beside it.
        self.is_exact = check.compare(self) and settled and not self._moves(check)
        if not self.is_exact and exact is not Exact.OFF:
            log.warning(
                "the last bits of a text's logits depend on the batch here: at a near tie an answer may go on otherwise than alone"
            )

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """Logits [sum of the rows' `wanted`, vocab] of one forward; the K/V of every id fed are in the pages after it.

        Every row must have pages up to its end.
        """
        return self.compute(self.prepare(rows))

    def prepare(self, rows: Sequence[Row]) -> Inputs:
        """The rows as tensors."""
        ids, positions, wanted = flatten(rows)
        spans = spans_of((row.start, len(row.ids), row.pages[: pages_for(row.end)]) for row in rows)
        return Inputs(
            ids=torch.tensor([ids], device=self.device),
            positions=torch.tensor([positions], device=self.device),
            wanted=torch.tensor(wanted, dtype=torch.long, device=self.device),
            plan=self._attention_plan(spans),
            spans=spans,
        )

    @property
    def bits(self) -> str:
        """What the bits of logits depend on, as `bits_of` says it, with torch's present number of threads."""
        if self.device.type == "cpu":
            order = order_of(self._model, self._padding)
            order += f" in {self._ranks.part.count} parts" if self._ranks else ""
        else:
            order = "torch's order" if self._order is None else "fixed order"
        return bits_of(self._weights_hash, self.device, order, exact=self.is_exact)

    @property
    def exit_rest(self) -> float | None:
        """The share of the layers that lie behind the exit; None without one."""
        return None if self._exit is None else self._exit.rest

    @property
    def is_graphed(self) -> bool:
        """Whether forwards run as CUDA graphs, as far as they can."""
        return self._graphs is not None

    @torch.inference_mode()
    def compute(self, inputs: Inputs, asked: Asked | None = None) -> torch.Tensor:
        """The model's own part of `forward`; the logits are valid until the next call.

        What is asked is told at the exit, in the middle of the forward, which is no graph then: those run to their end.
        """
        if asked is not None and self._exit is not None:
            with self._exit.asked(asked):
                logits = self._run(inputs)
        else:
            graphed = self._graphs(inputs) if self._graphs else None
            logits = self._run(inputs) if graphed is None else graphed
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return logits

    def _run(self, inputs: Inputs) -> torch.Tensor:
        with self._together(inputs), attending(self.cache, inputs.plan, self._windows):
            output = self._model(
                input_ids=inputs.ids, position_ids=inputs.positions, use_cache=False, logits_to_keep=inputs.wanted
            )
        logits: torch.Tensor = output.logits[0]
        return logits

    @contextmanager
    def _together(self, inputs: Inputs) -> Iterator[None]:
        """All ranks compute the batch. Raises RankLost."""
        if self._ranks is None:
            yield
            return
        self._ranks.tell(Forward(inputs.ids[0].tolist(), inputs.positions[0].tolist(), tuple(inputs.spans)))
        with self._ranks.together():
            yield

    def _make_room(self, kv_memory: int | None, dtype: torch.dtype) -> None:
        heads, kv_heads, head_dim = attention_shape(self._model.config)
        layers = self._model.config.num_hidden_layers
        kv_memory = default_kv_memory(self.device) if kv_memory is None else kv_memory
        pages = kv_memory // KVCache.bytes_per_page(layers, kv_heads, head_dim, dtype)
        if pages < 1:
            raise SettingsError("kv_memory is too small for a single page; give the hub more memory")
        self.pool = PagePool(pages)
        self._queries_per_head = heads // kv_heads
        shape = layers, pages, kv_heads, head_dim, dtype, self.device
        if self._ranks is not None:
            self._ranks.tell(Room(pages, self.context))
        self.cache = KVCache(*shape) if self._ranks is None else SharedCache(self._ranks, *shape)
        self.context = min(self.context, pages * PAGE_SIZE)

    def _attention_plan(self, spans: Sequence[Span]) -> AttentionPlan:
        if self._reads_in_place:
            return tile_plan(spans, self.device)
        return group_plan(self.cache, spans, self._queries_per_head, self._padding)

    def _settle(self, exact: Exact, check: SelfCheck) -> bool:
        """Choose an order of sums that makes a row's bits its own; whether there is one, as far as trying its parts shows."""
        if exact is Exact.OFF or (self._ranks is not None and self.device.type == "cuda"):
            return False
        if self.device.type == "cpu":
            padding = settle_bits(self._model, exact, self.context)
            self._padding = padding or Padding()
            return padding is not None
        moves = partial(self._bits_move, check)
        self._order = fixed_order(exact, moves=moves, seconds=self._step_seconds)  # at work as long as it is held
        return True

    def _can_read_in_place(self) -> bool:
        """Whether the kernel runs here: Triton wants a C compiler and enough shared memory."""
        try:
            with probe_rows(self.pool, [(0, 1)]) as rows:
                self.forward(rows)
        except Exception as error:
            # What goes wrong here for another reason goes wrong without the kernel too, and is told then.
            log.warning("attention copies K/V, since its kernel does not run here: %s", error)
            return False
        return True

    def _bits_move(self, check: SelfCheck) -> bool:
        """Whether a row's bits depend on the forward, as far as trying shows. Raises PairError where logits are wrong."""
        return not check.compare(self) or self._moves(check)

    def _moves(self, check: SelfCheck) -> bool:
        return bits_move(self, check.text, _TRIED[self.device.type])

    def _step_seconds(self) -> list[float]:
        """What steps take on a GPU, with the products that are at work now: as graphs, if there will be any, as then they cost no launches."""
        self._graphs = self._graphed(STEPS) if self._reads_in_place else None
        try:
            return step_seconds(self)
        finally:
            self._graphs = None

    @torch.inference_mode()
    def _graphed(self, sizes: Sequence[int]) -> GraphedForward | None:
        """Graphs of those sizes that compute what the model does; None, and a warning, where that can't be had."""
        try:
            graphs = GraphedForward(self._run, self.cache, sizes)
            for size in sizes:
                self._compare(graphs, size)
        except (RuntimeError, AssertionError, OutOfPages) as error:
            # A capture that broke off may have left its own stream.
            torch.cuda.set_stream(torch.cuda.default_stream(self.device))
            log.warning("forwards run without CUDA graphs: %s", error)
            return None
        return graphs

    def _compare(self, graphs: GraphedForward, size: int) -> None:
        """Raise AssertionError unless a graph gives the logits of the model, up to rounding, for a batch of almost `size` ids."""
        held = PAGE_SIZE + 3
        shapes = [(held, 1)] * (size // 2) + [(0, size - size // 2)]
        generator = torch.Generator().manual_seed(size)
        with probe_rows(self.pool, shapes) as rows:
            texts = [tuple(torch.randint(self.vocab_size, (row.end,), generator=generator).tolist()) for row in rows]
            told = [
                replace(row, start=0, ids=text[: row.start], wanted=0) for row, text in zip(rows, texts, strict=True)
            ]
            if before := [row for row in told if row.ids]:
                self._run(self.prepare(before))
            inputs = self.prepare([replace(row, ids=text[row.start :]) for row, text in zip(rows, texts, strict=True)])
            plain, graphed = self._run(inputs).float(), graphs(inputs)
            assert graphed is not None, "no graph for a batch of its size"
            off = float((graphed.float() - plain).norm() / plain.norm())
        assert off < _ROUNDING, f"a graph of {size} ids is off by {off:.1%}"


def _check_memory(kv_memory: int | None, device: torch.device) -> None:
    if kv_memory is not None and kv_memory > (there := free_memory(device)):
        raise SettingsError(
            f"kv_memory is {kv_memory / 2**30:.1f}G, and there is {there / 2**30:.1f}G for {device}; ask for less, or for auto"
        )


def _moved(model: Any, device: torch.device) -> Any:
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # Triton and graphs take the current one
    try:
        return model.to(device)
    except torch.OutOfMemoryError:
        raise PairError(
            f"the target does not fit into the memory of {device}; choose a smaller one, or --weights int8"
        ) from None


def _context(config: Any) -> int:
    """The longest text in ids, behind which the rotary factors of all positions would change."""
    context: int = min(config.max_position_embeddings, MAX_APPEND)
    limit = rotary_limit(config) or context
    if limit < context:
        log.warning(
            "the context ends at %d ids, not at %d: there the rotary factors of all positions change", limit, context
        )
    return min(limit, context)
