"""The chat in a terminal: `talk` has its loop, the others what a person types and sees."""
