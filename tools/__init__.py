"""Tools for maintainers: the built-in pair, benchmarks, the demo."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any tool imports ONNX Runtime; edge_node/drafting says why
