"""What this device can do for a draft, as measured: how fast ONNX Runtime multiplies, and what a node of a graph takes."""

import edge_node.drafting  # noqa: F401 - before ONNX Runtime is imported: it keeps that from reporting to its maker
