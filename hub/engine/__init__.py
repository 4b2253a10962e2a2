"""The hub's loop: what came in, what goes into the next forward, what goes out."""
