"""How fast ONNX Runtime multiplies by weights in few bits here, and what a layer of a draft takes besides."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafting.onnx_options import session_options
from edge_node.profile.probe import MATRICES, WIDTHS, bytes_of, matrices, matrices_file, weights_of
from shared.errors import brief
from shared.pair import load_pair

log = logging.getLogger(__name__)

_MOST_GRAPHS = 4  # that are run in turn: some 48 MB of weights, more than caches hold
_SHARE = 0.25  # of the free memory that they may take
_COPIES = 3  # of the weights in memory, at most: as given, as the processor likes them, and while these are made
_FATAL = 4  # what is logged: of bits that are not known this module says it in a line of its own
_PASSES = 30
_BUILT_IN, _CONTEXT = "home", 128  # the pair whose draft runs, and the ids that it holds then
_LONGEST_S = 1.5  # seconds after which no further pass begins


def weights_per_s(threads: int, free_memory: float) -> dict[int, float]:
    """Weights a second by which one token is multiplied, by bits.

    What this version of ONNX Runtime does not multiply by is left out: version 1.23, the last for Python 3.10, knows 4 and 8 bits.
    """
    found = {}
    for bits in MATRICES:
        try:
            found[bits] = _rate(bits, threads, free_memory)
        except Exception as error:  # onnxruntime's exceptions share no other base class
            log.info("ONNX Runtime %s does not multiply by %d bits: %s", ort.__version__, bits, brief(error))
    return found


def _rate(bits: int, threads: int, free_memory: float) -> float:
    graphs = max(1, min(_MOST_GRAPHS, int(_SHARE * free_memory / (_COPIES * bytes_of(bits)))))
    rng = np.random.default_rng(bits)
    running = [_Matrices(bits, threads, rng) for _ in range(graphs)]
    return graphs * weights_of(bits) / _best_s([each.run for each in running])


def layer_s(threads: int) -> float:
    """Seconds that a layer takes besides its weights: attention, norms, the meeting of threads.

    They are those of the built-in draft, whose weights are so few that they hardly count.
    """
    draft = load_pair(_BUILT_IN).draft
    assert draft is not None
    drafter = OnnxDrafter(draft.model, threads=threads)
    drafter.feed(range(_CONTEXT))
    return _best_s([lambda: drafter.feed((0,))]) / drafter.layers


class _Matrices:
    """A graph of matrices with weights of its own, which live as long as it does."""

    def __init__(self, bits: int, threads: int, rng: np.random.Generator) -> None:
        tensors = [
            (name, ort.OrtValue.ortvalue_from_numpy(array))
            for matrix in matrices(bits)
            for (name, _, _), array in zip(matrix.tensors(), matrix.random(rng), strict=True)
        ]
        options = session_options(threads)
        self._weights = [value for _, value in tensors]
        options.add_external_initializers([name for name, _ in tensors], self._weights)
        self._session = _session(matrices_file(bits), options)
        self._feeds = {"y0": np.full((1, WIDTHS[0]), 0.5, np.float32)}

    def run(self) -> None:
        """Multiply one token by all of them."""
        self._session.run(None, self._feeds)


def _session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    options.log_severity_level = _FATAL
    return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _best_s(runs: Sequence[Callable[[], object]]) -> float:
    """Seconds of one call of each, the least of some: what else the device does takes time, and nothing gives any back."""
    best = [math.inf] * len(runs)
    until = time.perf_counter() + _LONGEST_S
    for number in range(1 + _PASSES):
        for place, run in enumerate(runs):
            began = time.perf_counter()
            run()
            if number:  # the first pass gets memory from the system
                best[place] = min(best[place], time.perf_counter() - began)
        if number and time.perf_counter() > until:
            break
    return sum(best)
