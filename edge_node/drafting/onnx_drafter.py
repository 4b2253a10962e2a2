"""Drafts blocks of tokens with an ONNX graph made by `hub/export`, on a KV cache that is allocated once.

The graph's attention (GroupQueryAttention) writes K/V into the very buffers it reads: past and present are bound to the
same memory, so a step copies no cache and a rewind is a smaller length. Invariant: positions [0, len(held)) of the
buffers hold the K/V of the ids in `held`; what lies behind them is void.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge_node.drafting.drafter import Guess
from edge_node.drafting.onnx_options import session_options, threads_for
from shared.errors import PairError
from shared.sampling import draw
from shared.sampling_parameters import Sampling
from shared.transcript import common_length

logger = logging.getLogger(__name__)

SOURCE = "model"
Draw = Callable[
    [npt.NDArray[np.float32], Sampling, int], int
]  # `shared.sampling.draw`, or another way to number ids and positions
_CHUNK = 256  # tokens per run while prefilling: bounds the memory of activations
_LEAST_PIECE = 4  # tokens of a run while prefilling; the first, which measures, and the last may be shorter
_PIECE_S = 0.03  # seconds of a run at most: between runs the node looks at what has come
_AT_ONCE = 2  # ids that the next token's run takes in besides: behind an accepted block there are two
_GPU = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider"})
_COLDEST = 1e-6  # the lowest temperature that is divided by: softmax is the same below, and float32 would overflow
_FACTS = ("context", "layers", "kv_heads", "head_dim", "vocab_size")  # metadata of the graph, as sled.NAME


class DraftGraphError(PairError):
    """A file is not a draft graph; the text says what it lacks."""


@dataclass(frozen=True)
class _Feed:
    """A binding for runs of one length; `ids` [1, length] is what it reads."""

    ids: npt.NDArray[np.int64]
    binding: ort.IOBinding


class OnnxDrafter:
    """A draft model with its KV cache for one session.

    `threads` is the number of ONNX Runtime threads, 0 to choose by the size of the graph. `vocab_size` is the size of
    the tokenizer where that is smaller than the graph's: ids past it are never drafted. A block ends behind an id of
    `end_ids`. Raises DraftGraphError when `path` is not a graph made by `hub/export`.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 0,
        vocab_size: int | None = None,
        end_ids: frozenset[int] = frozenset(),
        loaded: ort.InferenceSession | None = None,
    ) -> None:
        """`loaded` is the graph, if it is loaded already."""
        self.path = path
        self._session = loaded or _open(path, threads)
        facts = _facts(self._session, path)
        self.context, self.layers = facts["context"], facts["layers"]
        self.vocab_size = facts["vocab_size"] if vocab_size is None else vocab_size
        if not 0 < self.vocab_size <= facts["vocab_size"]:
            raise DraftGraphError(f"{path} gives logits for {facts['vocab_size']} ids, the tokenizer has {vocab_size}")
        self._end_ids = end_ids
        self._held: list[int] = []
        self._feeds: dict[int, _Feed] = {}
        self._user: list[int] | None = None  # the text of the draft that was at the cache last
        self._piece = 1
        self._prefilled = 0  # ids taken in as pieces of prompts
        self._prefilling_s = 0.0  # seconds that those pieces took

        logits = np.empty((1, facts["vocab_size"]), np.float32)
        self._logits: npt.NDArray[np.float32] = logits[0, : self.vocab_size]
        self._scratch = np.empty_like(self._logits)
        self._last = np.zeros(1, np.int32)
        self._total = np.zeros((), np.int32)
        # Zeros are not resident until they are written: a long context costs no memory that is not used.
        cache_shape = (1, facts["kv_heads"], self.context, facts["head_dim"])
        names = [f"{layer}.{part}" for layer in range(facts["layers"]) for part in ("key", "value")]
        self._caches = [np.zeros(cache_shape, np.float32) for _ in names]
        self.bytes_per_id = len(names) * facts["kv_heads"] * facts["head_dim"] * self._caches[0].itemsize
        caches = dict(zip(names, map(_value, self._caches), strict=True))
        self._inputs = {"seqlens_k": _value(self._last), "total_length": _value(self._total)}
        self._inputs |= {f"past_key_values.{name}": cache for name, cache in caches.items()}
        self._outputs = {"logits": _value(logits)} | {f"present.{name}": cache for name, cache in caches.items()}

    def another(self) -> OnnxDrafter:
        """A drafter with a cache of its own, for another conversation, by the same graph in memory."""
        return OnnxDrafter(self.path, vocab_size=self.vocab_size, end_ids=self._end_ids, loaded=self._session)

    @property
    def held(self) -> tuple[int, ...]:
        """The ids whose K/V the cache holds."""
        return tuple(self._held)

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` held ids. Raises ValueError when fewer are held."""
        if not 0 <= length <= len(self._held):
            raise ValueError(f"cannot rewind to {length}: the cache holds {len(self._held)} ids")
        del self._held[length:]

    def align(self, ids: Sequence[int]) -> None:
        """Hold nothing but a beginning of `ids`, which must not be empty, and not the last of them."""
        self.rewind(min(common_length(self._held, ids), len(ids) - 1))

    @property
    def prefill_s(self) -> float:
        """Seconds that taking in an id of a prompt takes, as measured; 0 before any was."""
        return self._prefilling_s / max(1, self._prefilled)

    def kv(self, length: int) -> npt.NDArray[np.float32]:
        """A copy of the K/V of the first `length` held ids: [2 * layers, kv_heads, length, head_dim]."""
        if not 0 <= length <= len(self._held):
            raise ValueError(f"there are no K/V of {length} ids: the cache holds {len(self._held)}")
        return np.stack([cache[0, :, :length] for cache in self._caches])

    def adopt(self, ids: Sequence[int], kv: npt.NDArray[np.float32]) -> None:
        """Hold `ids` and nothing else, by the K/V that `kv` gave for them. Raises ValueError when they are not as many."""
        _, heads, context, size = self._caches[0].shape
        if len(ids) > context:
            raise ValueError(f"{len(ids)} ids do not fit the draft's context of {context}")
        parts = kv.reshape(len(self._caches), heads, len(ids), size)
        self._held, self._user = list(ids), None
        for cache, part in zip(self._caches, parts, strict=True):
            cache[0, :, : len(ids)] = part

    def draft(self, ids: Sequence[int], sampling: Sampling, by: Draw = draw) -> Iterator[Guess | None]:
        """See `Drafter`; `by` draws the tokens."""
        if not ids:
            raise ValueError("a draft needs at least one committed id")
        return self._guesses(list(ids), sampling, by)

    def _guesses(self, text: list[int], sampling: Sampling, by: Draw) -> Iterator[Guess | None]:
        while len(text) < self.context:
            if self._user is not text:
                self._user = text
                self.align(text)
            missing = text[len(self._held) :]
            if len(missing) > _AT_ONCE:
                self._feed_piece(missing[:-1])
                yield None
                continue
            guess = self._guess(self.feed(missing), sampling, len(text), by)
            text.append(guess.token)
            yield guess
            if guess.token in self._end_ids:
                break

    def _feed_piece(self, ids: Sequence[int]) -> None:
        """Feed the first of `ids`, as many as take about _PIECE_S, or a few: one alone takes a large model half as long."""
        piece = ids[: self._piece]
        started = time.perf_counter()
        self.feed(piece)
        elapsed = time.perf_counter() - started
        self._prefilled += len(piece)
        self._prefilling_s += elapsed
        if elapsed > _PIECE_S:
            self._piece //= 2
        elif len(piece) == self._piece and elapsed < _PIECE_S * 0.6:  # twice as many take less than twice as long
            self._piece *= 2
        self._piece = min(max(self._piece, _LEAST_PIECE), _CHUNK)

    def _guess(self, logits: npt.NDArray[np.float32], sampling: Sampling, position: int, by: Draw) -> Guess:
        token = by(logits, sampling, position)
        confidence = self._confidence(token, sampling.temperature)
        runner_up = None
        logits[token] = -np.inf
        if logits.max() > -np.inf:
            runner_up = by(logits, sampling, position)
        return Guess(token, confidence, SOURCE, runner_up)

    def feed(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Append `ids` to the cache; return the logits [vocab_size] behind the last, in a buffer that the next call fills.

        Raises ValueError when they do not fit the context.
        """
        if len(self._held) + len(ids) > self.context:
            raise ValueError(f"{len(ids)} more ids do not fit the draft's context of {self.context}")
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            feed = self._feeds.get(len(chunk)) or self._bind(len(chunk))
            feed.ids[0] = chunk
            total = len(self._held) + len(chunk)
            self._last[0] = total - 1
            self._total[()] = total
            self._session.run_with_iobinding(feed.binding)
            self._held.extend(chunk)
        return self._logits

    def _confidence(self, token: int, temperature: float) -> float:
        """softmax(logits / T)[token], before any filter; with T = 1 in place of 0."""
        weights = np.subtract(self._logits, self._logits.max(), out=self._scratch)
        if temperature not in (0.0, 1.0):
            weights /= max(temperature, _COLDEST)
        np.exp(weights, out=weights)
        return float(weights[token] / weights.sum())

    def _bind(self, length: int) -> _Feed:
        feed = _Feed(np.empty((1, length), np.int64), self._session.io_binding())
        feed.binding.bind_ortvalue_input("input_ids", _value(feed.ids))
        for name, value in self._inputs.items():
            feed.binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            feed.binding.bind_ortvalue_output(name, value)
        self._feeds[length] = feed
        return feed


def _value(array: npt.NDArray[np.generic]) -> ort.OrtValue:
    """Make an OrtValue on the array's own memory."""
    return ort.OrtValue.ortvalue_from_numpy(array)


def _open(path: Path, threads: int) -> ort.InferenceSession:
    if not path.is_file():
        raise DraftGraphError(f"there is no draft graph at {path}")
    options = session_options(threads or threads_for(path.stat().st_size))
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no other base class
        raise DraftGraphError(f"ONNX Runtime cannot load {path}: {error}") from error
    unused = _GPU.intersection(ort.get_available_providers())
    if unused:
        logger.warning(
            "ONNX Runtime has %s here, but drafts are computed on the CPU: their K/V cache is written in place there",
            ", ".join(sorted(unused)),
        )
    logger.info("%s runs on %s, threads: %d", path, session.get_providers()[0], options.intra_op_num_threads)
    return session


def _facts(session: ort.InferenceSession, path: Path) -> dict[str, int]:
    """Read the numbers that the graph carries; raise DraftGraphError naming all that a draft graph has and this lacks."""
    metadata = session.get_modelmeta().custom_metadata_map
    texts = {name: metadata.get(f"sled.{name}", "") for name in _FACTS}
    facts = {name: int(text) if text.isdecimal() else 0 for name, text in texts.items()}
    missing = [f"metadata sled.{name}" for name, number in facts.items() if number == 0]
    inputs = {"input_ids", "seqlens_k", "total_length"}
    outputs = {"logits"}
    for layer in range(facts["layers"]):
        inputs |= {f"past_key_values.{layer}.key", f"past_key_values.{layer}.value"}
        outputs |= {f"present.{layer}.key", f"present.{layer}.value"}
    missing += [f"input {name}" for name in sorted(inputs - {i.name for i in session.get_inputs()})]
    missing += [f"output {name}" for name in sorted(outputs - {o.name for o in session.get_outputs()})]
    if missing:
        raise DraftGraphError(f"{path} is no draft graph of SLED; it lacks: {', '.join(missing)}")
    return facts
