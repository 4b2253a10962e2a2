"""How ONNX Runtime is to run a draft's graph."""

from __future__ import annotations

import os

import onnxruntime as ort

# Bytes from which on two threads are used: at 1.5 MB the second costs a tenth of the time, at 15 MB it saves a third.
_LARGE_GRAPH = 8 * 2**20
_SPIN_US = (
    100  # how long a thread looks for work before it sleeps: longer than the gaps within a run, shorter than a round
)


def threads_for(graph_bytes: int) -> int:
    """The number of threads for a graph of that size, its weights included."""
    return 1 if graph_bytes < _LARGE_GRAPH else min(2, os.cpu_count() or 1)


def session_options(threads: int) -> ort.SessionOptions:
    """Options of a session with so many threads, which wait for each other's work without sleeping while a token is drafted."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    return options
