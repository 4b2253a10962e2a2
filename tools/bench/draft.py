"""How fast a draft model is on this machine, token by token; beside it llama.cpp on the same weights, where it is installed.

The draft is exported as anyone would (`tools.export`), runs in the node's own drafter, and takes the likeliest token each time.
llama.cpp gets the same checkpoint in as many bits and the same ids; a wrong conversion would show in its tokens. Both are measured in
turn on the same machine, so the ratio is the median over pairs of runs that follow each other.

    tokens_per_s       rows of precision, threads, context, head (the ids that are drafted: all, or a quarter as by `tools.export
                       --head`), tokens_per_s, prefill_tokens_per_s, and for llama.cpp, whose head always has all,
                       llama_cpp_tokens_per_s, llama_cpp_ratio (ours over theirs) and same_tokens; null without it
    llama_cpp_ratio    the smallest of the rows with all ids; llama_cpp_ratio_short_head: of the others
    us_by_operator     rows of precision, threads, context, and microseconds per token by operator with the whole head, as ONNX
                       Runtime's profiler has them; profiling adds a few for every node
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafting.onnx_options import session_options
from hub.export.export import export_draft
from tools.bench.llama import LlamaCpp, is_installed, write_gguf
from tools.bench.report import progress, show, show_rows
from tools.bench.site import FOLDER
from tools.rig.shapes import SHAPES, shape_pair

CONTEXTS = (128, 1024)
_SHORT_HEAD = 4  # a short head has one in so many ids
_TOKENS = 24  # tokens of a run, behind the context
_REST_S = 0.03  # seconds between runs: threads that wait for work spin for a while


class Precision(str, Enum):
    """Of the matrices; the head has 8 bits always."""

    INT4 = "int4"
    INT8 = "int8"

    @property
    def bits(self) -> int:
        """How many a number has, without its share of a scale."""
        return int(self.value.removeprefix("int"))


class Decoder(Protocol):
    """A model with a K/V cache that rewinds."""

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` ids."""

    def feed(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Append ids; return the logits [vocab] behind the last."""


@dataclass
class _Runs:
    """What one decoder did at one context; `seconds` are of runs of _TOKENS tokens."""

    decoder: Decoder
    context: int
    prefill_s: float = 0.0
    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def prefill(self, ids: Sequence[int]) -> None:
        """Feed all but the last of `ids`, which leaves `context` ids in the cache, and decode once to warm up."""
        self.decoder.rewind(0)
        started = time.perf_counter()
        self.decoder.feed(ids[:-1])
        self.prefill_s = time.perf_counter() - started
        self.decode(ids[-1])
        self.seconds.clear()

    def decode(self, token: int) -> None:
        """Decode behind the context and `token`, which comes first."""
        self.decoder.rewind(self.context)
        self.tokens = []
        time.sleep(_REST_S)
        started = time.perf_counter()
        for _ in range(_TOKENS):
            token = int(self.decoder.feed((token,)).argmax())
            self.tokens.append(token)
        self.seconds.append(time.perf_counter() - started)

    @property
    def rate(self) -> float:
        """Tokens per second, of the median run."""
        return _TOKENS / statistics.median(self.seconds)


def run(shape: str, threads: Sequence[int], precisions: Sequence[Precision], pairs: int, as_json: bool) -> None:
    """Print the figures above."""
    checkpoint = Path(shape_pair(shape, "float32", FOLDER).target)
    vocab = SHAPES[shape]["vocab_size"]
    rows: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    combinations = len(precisions) * len(threads) * len(CONTEXTS)
    with tempfile.TemporaryDirectory() as name, progress() as bars:
        task = bars.add_task("exporting", total=combinations)
        for precision in precisions:
            bars.update(task, description=f"exporting {precision.value}")
            graphs = {head: Path(name) / f"{precision.value}-{head}.onnx" for head in (vocab, vocab // _SHORT_HEAD)}
            for head, graph in graphs.items():
                export_draft(checkpoint, graph, bits=precision.bits, head=range(head) if head < vocab else None)
            gguf = Path(name) / f"{precision.value}.gguf"
            if is_installed():
                write_gguf(checkpoint, precision.bits, gguf)
            for count in threads:
                bars.update(task, description=f"{precision.value}, threads {count}")
                drafters = {head: OnnxDrafter(graph, threads=count) for head, graph in graphs.items()}
                with _llama_cpp(gguf if is_installed() else None, count) as llama:
                    for context in CONTEXTS:
                        at = {"precision": precision.value, "threads": count, "context": context}
                        rows += [at | row for row in _measure(drafters, llama, context, pairs)]
                        bars.advance(task)
                for context in CONTEXTS:
                    profiles.append({"precision": precision.value, "threads": count, "context": context})
                    profiles[-1] |= _profile(graphs[vocab], count, context)
    _report(shape, vocab, rows, profiles, as_json)


@contextmanager
def _llama_cpp(gguf: Path | None, threads: int) -> Iterator[Decoder | None]:
    """llama.cpp's decoder, when there is a file for it."""
    llama = LlamaCpp(gguf, threads=threads, context=max(CONTEXTS) + 2 * _TOKENS) if gguf is not None else None
    yield llama
    if llama is not None:
        llama.close()


def _ids(context: int) -> list[int]:
    """`context` + 1 ids."""
    return [int(i) for i in np.random.default_rng(context).integers(1, 1000, size=context + 1)]


def _measure(drafters: Mapping[int, Decoder], llama: Decoder | None, context: int, pairs: int) -> list[dict[str, Any]]:
    """A row for each of our drafters, by the size of its head; all run in turn."""
    ids = _ids(context)
    ours = {head: _Runs(drafter, context) for head, drafter in drafters.items()}
    theirs = None if llama is None else _Runs(llama, context)
    everyone = [*ours.values(), *([theirs] if theirs else [])]
    for runs in everyone:
        runs.prefill(ids)
    for _ in range(pairs):
        for runs in everyone:
            runs.decode(ids[-1])
    return [{"head": head} | _row(runs, theirs) for head, runs in ours.items()]


def _row(ours: _Runs, theirs: _Runs | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "tokens_per_s": round(ours.rate, 1),
        "prefill_tokens_per_s": round(ours.context / ours.prefill_s),
        "llama_cpp_tokens_per_s": None,
        "llama_cpp_prefill_tokens_per_s": None,
        "llama_cpp_ratio": None,
        "same_tokens": None,
    }
    if theirs is not None:
        row["llama_cpp_tokens_per_s"] = round(theirs.rate, 1)
        row["llama_cpp_prefill_tokens_per_s"] = round(theirs.context / theirs.prefill_s)
        ratios = [b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)]
        row["llama_cpp_ratio"] = round(statistics.median(ratios), 3)
        row["same_tokens"] = ours.tokens == theirs.tokens
    return row


class _Profiled(OnnxDrafter):
    """A drafter whose session writes down what each node takes."""

    def __init__(self, path: Path, threads: int) -> None:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(path.with_suffix(""))
        super().__init__(path, loaded=ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]))

    def operators(self, runs: int) -> dict[str, float]:
        """Microseconds per run by operator, over the last `runs`; ends the profile."""
        events = json.loads(Path(self._session.end_profiling()).read_text())
        started = sorted(event["ts"] for event in events if event["name"] == "model_run")[-runs]
        spent: Counter[str] = Counter()
        for event in events:
            if event["ts"] >= started and event["name"].endswith("_kernel_time"):
                spent[event["args"]["op_name"]] += event["dur"]
        return {name: round(total / runs, 1) for name, total in spent.most_common()}


def _profile(graph: Path, threads: int, context: int) -> dict[str, float]:
    runs = _Runs(drafter := _Profiled(graph, threads), context)
    runs.prefill(_ids(context))
    return drafter.operators(_TOKENS)


def _report(shape: str, vocab: int, rows: list[dict[str, Any]], profiles: list[dict[str, Any]], as_json: bool) -> None:
    columns = ("bits", "threads", "context", "head", "tok/s", "prefill", "llama.cpp", "prefill", "ratio", "same")
    show_rows(f"draft of shape {shape}", columns, [list(row.values()) for row in rows])
    names = [f"{p['precision']}\n{p['threads']}, {p['context']}" for p in profiles]
    operators = [name for name in profiles[0] if name not in {"precision", "threads", "context"}]
    table = [[operator, *(round(profile.get(operator, 0)) for profile in profiles)] for operator in operators]
    show_rows("µs per token by operator; threads, context", ("", *names), table)
    ratios = [(row["llama_cpp_ratio"], row["head"]) for row in rows if row["llama_cpp_ratio"] is not None]
    figures: dict[str, Any] = {
        "shape": shape,
        "onnxruntime": ort.__version__,
        "llama_cpp_ratio": min((ratio for ratio, head in ratios if head == vocab), default=None),
        "llama_cpp_ratio_short_head": min((ratio for ratio, head in ratios if head < vocab), default=None),
    }
    show("draft", figures, as_json, {"tokens_per_s": rows, "us_by_operator": profiles})
