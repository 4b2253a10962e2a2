"""The target: a causal LM run over a flat batch of rows, its attention, its exit, and the sampling of its logits."""
