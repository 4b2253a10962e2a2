"""Frames that nobody should send, on every topic of hub and node, while healthy sessions run."""
