"""A real model through a real hub: whether its answers are the same in whatever way a node decodes."""
