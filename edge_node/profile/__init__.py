"""What this device can do for a draft, as measured: how fast ONNX Runtime multiplies, and what a node of a graph takes."""
