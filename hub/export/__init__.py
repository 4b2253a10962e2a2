"""Draft graphs: export through Optimum, fusing, a short head, quantization, and the comparison with transformers."""
