"""Files of the pair for nodes: what is offered, who waits for which piece, and how fast pieces are sent."""
